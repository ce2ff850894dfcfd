"""The shared chains: what farms have in common is written once, however many they are.

A *way* is how a pool's connections are delivered; a *memory* is how its clients are remembered.
Each rule that binds a map makes every later rule dearer to load, so that these chains are a few
for each way and memory, never one for each farm.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from nftlbc.farms import Family, Key, Milliseconds, Protocol
from nftlbc.table.model import (
    BACKEND_BITS,
    NO_PRIORITY,
    REPLACE_SOURCE,
    AddToMark,
    Chain,
    Dnat,
    Drop,
    Field,
    FieldName,
    Forget,
    Goto,
    Hash,
    Jump,
    Lookup,
    MatchProtocol,
    MatchSet,
    MatchTranslated,
    Reject,
    Remember,
    Rule,
    SetMark,
    SetPriority,
    Statement,
)
from nftlbc.table.model import Key as Fields

SEED = 0x6E66_746C
"""Of every jhash. Pinned: without a seed nft draws one, and clients would move at every load."""
_HASHED_KEYS = 0x7FFF_FFFE
_PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp", "sctp")
_KEY_ORDER = ("destination-port", "source-port", "destination-ip", "source-ip")
PRIORITY = Field("meta priority")
MARK = Field("ct mark")


@dataclass(frozen=True, slots=True)
class Names:
    """The maps that the shared chains of one family look into."""

    slots: str
    backends: str
    addresses: str
    own: str
    ports: str
    hairpins: str


@dataclass(frozen=True, slots=True)
class Way:
    """How connections are delivered to the backends of a pool."""

    family: Family
    source: Literal["keep", "replace", "hairpin"]
    """``hairpin`` replaces it where the client is itself a backend of the farm."""
    fixed: bool
    """Some backends have a port."""
    asked: bool
    """Some backends have none and get the port that the client asked for."""
    own: bool
    """Some listeners have a backend port of their own."""

    @property
    def name(self) -> str:
        """``4``, ``4-replace``, ``6-own-fixed``...: the end of its chains' names."""
        parts = [str(self.family)]
        if self.source != "keep":
            parts.append(self.source)
        if self.own:
            parts.append("own")
        if self.asked:
            parts.append("mixed" if self.fixed else "asked")
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Memory:
    """How the clients of a pool are remembered."""

    way: Way
    map: str
    key: Fields
    timeout: Milliseconds
    label: str
    """Ends the names of its chains; tells it from all others."""
    hashed: Hash | None = None
    """The key is too long even without the farm's number: its hash stands in its place, in a map
    of the farm's own."""
    farm: int = NO_PRIORITY
    """For a hashed key: the farm's number, put back after the lookup."""


@functools.lru_cache(maxsize=1024)
def fields(keys: tuple[Key, ...], family: Family) -> Fields:
    """The packet's fields that a client is known by, in the one order that every nft takes.

    Ports come before addresses and the source last: nft 1.0.6 and older abort on other orders.
    """
    ip = "ip" if family == 4 else "ip6"
    names: dict[str, FieldName] = {
        "destination-port": "th dport",
        "source-port": "th sport",
        "destination-ip": "ip daddr" if ip == "ip" else "ip6 daddr",
        "source-ip": "ip saddr" if ip == "ip" else "ip6 saddr",
    }
    ordered = sorted(keys, key=lambda key: _KEY_ORDER.index(key.field))
    return tuple(Field(names[key.field], key.bits(family)) for key in ordered)


@functools.lru_cache(maxsize=1024)
def sticky_name(keys: tuple[Key, ...], family: Family | None = None) -> str:
    """The keys as they stand in the name of a sticky map, whatever they are cut to; with a
    family, in those of its chains, which do the cutting: ``source-ip-24.destination-port``."""
    cut = {key.field: key.bits(family) if family else None for key in keys}
    return ".".join(
        field if cut[field] is None else f"{field}-{cut[field]}"
        for field in reversed(_KEY_ORDER)
        if field in cut
    )


@functools.lru_cache(maxsize=1024)
def too_long(key: Fields) -> bool:
    """More than 16 bytes: nft up to 1.0.6 keeps no more for the key of an ``update`` or
    ``delete``. What it then puts over the key's end is the mark, so that nobody is found again,
    or it aborts (assertion ``dreg < ctx->reg_low``)."""
    return sum(16 if field.name.startswith("ip6") else 4 for field in key) > 16


def hashed(key: Fields, farm: int) -> Hash:
    return Hash(key, _HASHED_KEYS, farm, offset=1)


def triple(family: Family) -> Fields:
    """What a listener is known by."""
    address: FieldName = "ip daddr" if family == 4 else "ip6 daddr"
    return (Field(address), Field("meta l4proto"), Field("th dport"))


def pick(names: Names) -> Chain:
    return Chain("pick", ((SetMark(Lookup(names.slots, (MARK,))),),))


def tracking() -> Chain:
    """Nobody goes there. With no rule about connections in any table the kernel stops tracking
    them, and all that are open are reset: so when the last backend of all went down."""
    about = ("Keeps connection tracking on where no other rule asks for it.",)
    return Chain("tracking", ((MatchTranslated(),),), about=about)


def refuse() -> Chain:
    return Chain("refuse", ((MatchProtocol(("tcp",)), Reject(tcp_reset=True)), (Reject(),)))


def chains_of(way: Way, names: Names) -> list[Chain]:
    """``deliver``: to the backend of the mark, or back to the caller where it is gone; and
    ``serve``: to that backend or to nobody, never on to the balancer's own sockets.

    Whoever has a slot has an element, so nobody gets past ``deliver`` there but a packet that is
    on its way through the rules while a transaction changes the elements (0.4 us wide: of 184 000
    connections a second, 18 in 274 reloads). Refusing it would cost a connection; dropped, it
    comes again after a second and meets the new ones.
    """
    family = way.family
    source: FieldName = "ip saddr" if family == 4 else "ip6 saddr"
    rules: list[Rule] = []
    mask = None if way.source == "keep" else BACKEND_BITS
    if way.source == "hairpin":
        client = MatchSet(names.hairpins, (PRIORITY, Field(source)))
        rules.append((client, AddToMark(REPLACE_SOURCE)))
    elif way.source == "replace":
        rules.append((AddToMark(REPLACE_SOURCE),))
    rules.append((SetPriority(NO_PRIORITY),))
    transport = MatchProtocol(_PROTOCOLS)
    if way.own:
        listener = triple(family)
        port = Lookup(names.ports, listener)
        own = Dnat(family, names.addresses, with_port=False, mask=mask, port=port)
        rules.append((transport, MatchSet(names.own, listener), own))
    if way.fixed:
        rules.append((transport, Dnat(family, names.backends, with_port=True, mask=mask)))
    if way.asked:
        rules.append((transport, Dnat(family, names.addresses, with_port=False, mask=mask)))
    deliver = Chain(f"deliver{way.name}", tuple(rules))
    serve = Chain(f"serve{way.name}", ((Jump(deliver.name),), (Drop(),)))
    return [deliver, serve]


def memory_chains(memory: Memory) -> list[Chain]:
    """``stick``: a known client to its backend, or back to the caller where that is gone; and
    ``learn``: remember the backend of the mark, and serve.

    ``update`` refreshes an element but does not overwrite it, so what was there is deleted first;
    each stands in a rule of its own because a full map ends the rule, and must not end more.
    """
    deliver, serve = f"deliver{memory.way.name}", f"serve{memory.way.name}"
    before: tuple[Statement, ...] = ()
    after: tuple[Statement, ...] = ()
    if memory.hashed is not None:
        before = (SetPriority(memory.hashed),)
        after = (SetPriority(memory.farm),)
    known = SetMark(Lookup(memory.map, memory.key))
    remember = Remember(memory.map, memory.key, memory.timeout)
    forget = Forget(memory.map, memory.key)
    return [
        Chain(f"stick{memory.label}", ((*before, known, remember, *after, Jump(deliver)),)),
        Chain(
            f"learn{memory.label}",
            ((*before, forget), (*before, remember), (*after, Goto(serve))),
        ),
    ]
