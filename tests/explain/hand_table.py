"""A table made by hand, small enough to know by heart: what each farm of it does, its name says.

It uses every statement and every kind of map that the model has.
"""

from __future__ import annotations

from nftlbc.farms import Family
from nftlbc.table.model import (
    BACKEND_BITS,
    NO_PRIORITY,
    OURS,
    REPLACE_SOURCE,
    AddToMark,
    Chain,
    Counter,
    Destination,
    Dnat,
    Field,
    Forget,
    Goto,
    Hash,
    Hook,
    Jump,
    Lookup,
    Map,
    Masquerade,
    MatchMark,
    MatchProtocol,
    MatchSet,
    MatchTranslated,
    Reject,
    Remember,
    Rule,
    SetMark,
    SetPriority,
    Snat,
    Statement,
    Table,
    VerdictMap,
)

SEED = 0x6E66746C
ALL = MatchProtocol(("tcp", "udp", "sctp"))
PRIORITY = Field("meta priority")
MARK = Field("ct mark")
CLIENT4 = (PRIORITY, Field("ip saddr"))
CLIENT6 = (PRIORITY, Field("th dport"), Field("ip6 saddr", 64))
HASHED = Hash(
    (Field("th dport"), Field("th sport"), Field("ip daddr"), Field("ip saddr", 24)),
    0x7FFFFFFE,
    7,
    1,
)
LISTENER4 = (Field("ip daddr"), Field("meta l4proto"), Field("th dport"))
LISTENER6 = (Field("ip6 daddr"), Field("meta l4proto"), Field("th dport"))
TRIPLE4 = "type ipv4_addr . inet_proto . inet_service"
TRIPLE6 = "type ipv6_addr . inet_proto . inet_service"

# Each farm's number is ten times its backends' first mark, less the flag.
TURN, RANDOM, HASH4, HASH6, OWN, SNAT, HAIRPIN, LONG, DEAD, SHORT = range(1, 11)

LONG_SIZE = 6
"""Room for fewer clients than come."""


def mark(farm: int, backend: int) -> int:
    return OURS | farm << 4 | backend


def address(farm: int, backend: int) -> str:
    return f"10.1.{farm}.{backend}"


def listener(farm: int) -> str:
    return f"10.3.0.{farm}"


def deliver(family: Family, mask: int | None = None) -> tuple[Rule, ...]:
    return (
        (SetPriority(NO_PRIORITY),),
        (ALL, Dnat(family, f"backends{family}", with_port=True, mask=mask)),
    )


def asked(mask: int | None = None) -> Rule:
    return (ALL, Dnat(4, "addresses4", with_port=False, mask=mask))


def stick(map: str, key: tuple[Field, ...], timeout: int, to: str) -> tuple[Rule, ...]:
    return ((SetMark(Lookup(map, key)), Remember(map, key, timeout), Jump(to)),)


def farm(
    name: str, number: int, draw: Counter | Hash, serve: str, *before: Rule, then: str = "goto"
) -> Chain:
    last: Statement = Goto(serve) if then == "goto" else Jump(serve)
    choose = (SetPriority(number), SetMark(draw), Jump("pick"))
    return Chain(f"farm-{name}", (*before, choose, (last,), (Goto("refuse"),)), about=(name,))


SHARED = (
    Chain("refuse", ((MatchProtocol(("tcp",)), Reject(tcp_reset=True)), (Reject(),))),
    Chain("pick", ((SetMark(Lookup("slots", (MARK,))),),)),
    Chain("deliver4", deliver(4)),
    Chain("deliver6", deliver(6)),
    Chain("asked4", ((SetPriority(NO_PRIORITY),), asked())),
    Chain(
        "own4",
        (
            (AddToMark(REPLACE_SOURCE),),
            (SetPriority(NO_PRIORITY),),
            (
                ALL,
                MatchSet("own4", LISTENER4),
                Dnat(4, "addresses4", False, BACKEND_BITS, Lookup("ports4", LISTENER4)),
            ),
            asked(BACKEND_BITS),
        ),
    ),
    Chain("replace4", ((AddToMark(REPLACE_SOURCE),), *deliver(4, BACKEND_BITS))),
    Chain(
        "hairpin4",
        (
            (MatchSet("hairpins4", CLIENT4), AddToMark(REPLACE_SOURCE)),
            *deliver(4, BACKEND_BITS),
        ),
    ),
    Chain("stick4", stick("sticky4", CLIENT4, 60_000, "deliver4")),
    Chain(
        "learn4",
        (
            (Forget("sticky4", CLIENT4),),
            (Remember("sticky4", CLIENT4, 60_000),),
            (Jump("deliver4"),),
        ),
    ),
    Chain("stick6", stick("sticky6", CLIENT6, 1_500, "deliver6")),
    Chain(
        "learn6",
        (
            (Forget("sticky6", CLIENT6),),
            (Remember("sticky6", CLIENT6, 1_500),),
            (Jump("deliver6"),),
        ),
    ),
    Chain(
        "stick-long",
        (
            (
                SetPriority(HASHED),
                SetMark(Lookup("sticky-long", (PRIORITY,))),
                Remember("sticky-long", (PRIORITY,), 60_000),
                SetPriority(LONG),
                Jump("deliver4"),
            ),
        ),
    ),
    Chain(
        "learn-long",
        (
            (SetPriority(HASHED), Forget("sticky-long", (PRIORITY,))),
            (SetPriority(HASHED), Remember("sticky-long", (PRIORITY,), 60_000)),
            (SetPriority(LONG), Jump("deliver4")),
        ),
    ),
)

FARMS = (
    farm(
        "turn",
        TURN,
        Counter("inc", 4, 100),
        "learn4",
        (SetPriority(TURN), Jump("stick4")),
        then="jump",
    ),
    farm("random", RANDOM, Counter("random", 3, 200), "asked4", then="jump"),
    farm("hash4", HASH4, Hash((Field("ip saddr"),), 31, SEED, 300), "deliver4", then="jump"),
    farm(
        "hash6",
        HASH6,
        Hash((Field("th dport"), Field("ip6 daddr", 48), Field("ip6 saddr", 96)), 31, SEED, 400),
        "learn6",
        (SetPriority(HASH6), Jump("stick6")),
        then="jump",
    ),
    farm("own", OWN, Counter("inc", 2, 500), "own4", then="jump"),
    farm("snat", SNAT, Counter("inc", 2, 600), "replace4", then="jump"),
    farm("hairpin", HAIRPIN, Hash((Field("th sport"),), 7, SEED, 700), "hairpin4", then="jump"),
    farm(
        "long",
        LONG,
        Counter("inc", 3, 800),
        "learn-long",
        (SetPriority(LONG), Jump("stick-long")),
        then="jump",
    ),
    farm("dead", DEAD, Counter("inc", 2, 900), "deliver4", then="jump"),
    farm("short", SHORT, Counter("inc", 2, 1000), "deliver4", then="jump"),
    Chain("farm-empty", ((Goto("refuse"),),), about=("empty",)),
)

LISTEN: tuple[Rule, ...] = (
    (VerdictMap("services4", LISTENER4),),
    (VerdictMap("ranges4", LISTENER4),),
    (VerdictMap("services6", LISTENER6),),
)

BASE = (
    Chain("source", ((Snat(4, "snat4", BACKEND_BITS),), (Masquerade(),))),
    Chain("prerouting", LISTEN, Hook("prerouting", -100)),
    Chain("output", LISTEN, Hook("output", -100)),
    Chain(
        "postrouting",
        (
            (
                MatchTranslated(),
                MatchMark(OURS | REPLACE_SOURCE, OURS | REPLACE_SOURCE),
                Goto("source"),
            ),
        ),
        Hook("postrouting", 100),
    ),
)


def _order(farm: int, start: int, order: list[int]) -> dict[int, int]:
    return {start + slot: mark(farm, backend) for slot, backend in enumerate(order)}


def _service(farm: int, name: str, *protocols: str) -> dict[tuple[str, str, int], str]:
    return {(listener(farm), each, 80): f"farm-{name}" for each in protocols}


def _to(farm: int, name: str, *backends: int, port: int | None = 8080) -> dict[int, Destination]:
    return {mark(farm, n): Destination(address(farm, n), port, f"{name}/b{n}") for n in backends}


MAPS = (
    Map(
        "slots", "typeof ct mark", "ct mark", 1024,
        sections={
            "turn": _order(TURN, 100, [1, 2, 1, 3]),
            "random": _order(RANDOM, 200, [1, 2, 2]),
            "hash4": _order(HASH4, 300, [n % 4 + 1 for n in range(31)]),
            "hash6": _order(HASH6, 400, [n % 3 + 1 for n in range(31)]),
            "own": _order(OWN, 500, [1, 2]),
            "snat": _order(SNAT, 600, [1, 2]),
            "hairpin": _order(HAIRPIN, 700, [1, 2, 1, 2, 1, 2, 1]),
            "long": _order(LONG, 800, [1, 2, 3]),
            "dead": _order(DEAD, 900, [1, 2]),
            "short": _order(SHORT, 1000, [1]),
        },
    ),
    Map(
        "backends4", "type mark", "ipv4_addr . inet_service", 1024, counter=True,
        sections={
            "turn": _to(TURN, "turn", 1, 2, 3, 4),
            "hash4": _to(HASH4, "hash4", 1, 2, 3, 4),
            "snat": _to(SNAT, "snat", 1, 2),
            "hairpin": _to(HAIRPIN, "hairpin", 1, 2),
            "long": _to(LONG, "long", 1, 2, 3),
            "dead": _to(DEAD, "dead", 2),
            "short": _to(SHORT, "short", 1),
        },
    ),
    Map(
        "backends6", "type mark", "ipv6_addr . inet_service", 1024, counter=True,
        sections={
            "hash6": {
                mark(HASH6, n): Destination(f"2001:db8:1::{n}", 8080, f"hash6/b{n}") for n in (1, 2, 3)
            }
        },
    ),
    Map(
        "addresses4", "type mark", "ipv4_addr", 1024, counter=True,
        sections={"random": _to(RANDOM, "random", 1, 2, port=None), "own": _to(OWN, "own", 1, 2, port=None)},
    ),
    Map(
        "services4", TRIPLE4, "verdict", 1024,
        sections={
            "turn": _service(TURN, "turn", "tcp", "udp", "sctp"),
            "hash4": _service(HASH4, "hash4", "tcp", "udp"),
            "own": _service(OWN, "own", "udp"),
            "snat": _service(SNAT, "snat", "udp"),
            "hairpin": _service(HAIRPIN, "hairpin", "udp"),
            "long": _service(LONG, "long", "udp"),
            "dead": _service(DEAD, "dead", "tcp", "udp"),
            "short": _service(SHORT, "short", "udp"),
            "empty": _service(99, "empty", "tcp", "udp"),
        },
    ),
    Map(
        "services6", TRIPLE6, "verdict", 1024,
        sections={"hash6": {("2001:db8:3::4", each, 53): "farm-hash6" for each in ("tcp", "udp")}},
    ),
    Map(
        "ranges4", TRIPLE4, "verdict", flags=("interval",),
        sections={
            "random": {
                (listener(RANDOM), "udp", (8000, 8099)): "farm-random",
                (listener(RANDOM), "udp", (9000, 9001)): "farm-random",
            },
            "own": {(listener(OWN), "udp", (443, 450)): "farm-own"},
        },
    ),
    Map("own4", TRIPLE4, None, flags=("interval",), sections={"own": {(listener(OWN), "udp", (443, 450)): None}}),
    Map(
        "ports4", TRIPLE4, "inet_service", flags=("interval",),
        sections={"own": {(listener(OWN), "udp", (443, 450)): 8443}},
    ),
    Map("snat4", "type mark", "ipv4_addr", 1024, sections={"snat": {mark(SNAT, n): "10.9.9.10" for n in (1, 2)}}),
    Map(
        "hairpins4", "typeof meta priority . ip saddr", None, 1024,
        sections={"hairpin": {(HAIRPIN, address(HAIRPIN, n)): None for n in (1, 2)}},
    ),
    Map("sticky4", "typeof meta priority . ip saddr", "ct mark", 1024, ("dynamic", "timeout")),
    Map("sticky6", "typeof meta priority . th dport . ip6 saddr", "ct mark", 1024, ("dynamic", "timeout")),
    Map("sticky-long", "typeof meta priority", "ct mark", LONG_SIZE, ("dynamic", "timeout")),
)  # fmt: skip

TABLE = Table(MAPS, (*SHARED, *FARMS, *BASE))
