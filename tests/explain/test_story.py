"""What a person is told, for farms and the table that is built from them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nftlbc.explain import tell
from nftlbc.explain.outcome import Sticky
from nftlbc.explain.question import packet
from nftlbc.explain.record import as_json
from nftlbc.explain.story import Story, story
from nftlbc.farms import (
    Backend,
    Balance,
    Farm,
    Forward,
    Key,
    Listener,
    Persistence,
    Protocol,
)
from nftlbc.table.build import build


def listener(address: str, port: int, protocol: Protocol = "tcp", **more: int) -> Listener:
    return Listener(address, protocol, port, more.get("last", port), more.get("to"))


WEB = Farm(
    "web",
    (
        listener("203.0.113.10", 80),
        listener("203.0.113.10", 443, to=8443),
        listener("203.0.113.10", 8000, last=8099),
        listener("2001:db8::10", 80),
    ),
    (
        Backend("app1", "10.0.0.11", 8080, weight=3),
        Backend("app2", "10.0.0.12", 8080),
        Backend("app3", "10.0.0.13", 8080, state="down"),
        Backend("app4", "10.0.0.14", 8080, state="drain"),
        Backend("app5", "10.0.0.15", 8080, weight=0),
        Backend("spare", "10.0.0.20", 8080, backup=True),
        Backend("six", "2001:db8:1::1", 8080),
    ),
    persistence=Persistence((Key("source-ip"),)),
)
CACHE = Farm(
    "cache",
    (listener("203.0.113.60", 3128),),
    tuple(Backend(f"c{n}", f"10.0.6.{n}") for n in range(1, 4)),
    balance=Balance("consistent", (Key("source-ip", 24),), 101),
    forward=Forward("masquerade"),
)
PORTS = Farm(
    "ports",
    (listener("203.0.113.70", 53, "udp"),),
    (Backend("p1", "10.0.7.1", 53), Backend("p2", "10.0.7.2", 53)),
    balance=Balance("hash", (Key("source-ip"), Key("source-port"))),
    forward=Forward("snat", ("10.9.9.9",)),
)
DOWN = Farm(
    "down",
    (listener("203.0.113.80", 25), listener("203.0.113.80", 25, "udp")),
    (Backend("d1", "10.0.8.1", 25, state="down"),),
)
LOW = Farm(
    "low",
    (listener("203.0.113.90", 80),),
    (
        Backend("l1", "10.0.9.1", 80),
        Backend("l2", "10.0.9.2", 80, state="down"),
        Backend("l3", "10.0.9.3", 80, backup=True),
    ),
    quorum=2,
    hairpin=True,
    balance=Balance("random"),
)
FARMS = (WEB, CACHE, PORTS, DOWN, LOW)
TABLE = build(FARMS)


def told(source: str, target: str, sticky: Sticky | None = None) -> list[str]:
    asked, mistakes = packet(source, target)
    assert asked is not None, mistakes
    return tell(FARMS, TABLE, asked, sticky=sticky)


def storied(source: str, target: str) -> Story:
    asked, _ = packet(source, target)
    assert asked is not None
    return story(FARMS, TABLE, asked)


def test_round_robin_with_everything() -> None:
    assert told("198.51.100.7", "203.0.113.10:443/tcp") == [
        "from      198.51.100.7, any port",
        "to        203.0.113.10:443/tcp",
        "listener  203.0.113.10:443/tcp of farm web, IPv4",
        "persist   source-ip 198.51.100.7 for 5m: not known yet",
        "balance   round-robin: one of these, in turn",
        "            app1  10.0.0.11:8443  3/4  75.0%",
        "            app2  10.0.0.12:8443  1/4  25.0%",
        "port      8443, the listener's own",
        "source    kept: the backend sees 198.51.100.7",
        "without   app3: down",
        "          app4: draining: its known clients stay, new ones go elsewhere",
        "          app5: weight 0: its known clients stay, new ones go elsewhere",
        "          spare: a backup: the quorum of 1 is met, 2 take new clients",
    ]


def test_one_backend_of_a_family() -> None:
    assert told("2001:db8::7", "[2001:db8::10]:80")[2:] == [
        "listener  [2001:db8::10]:80/tcp of farm web, IPv6",
        "persist   source-ip 2001:db8::7 for 5m: not known yet",
        "balance   round-robin: there is no other backend",
        "backend   six, [2001:db8:1::1]:8080",
        "port      8080, the backend's",
        "source    kept: the backend sees 2001:db8::7",
    ]


def sticky_map() -> str:
    return next(
        each.name for each in TABLE.maps if each.dynamic and each.name.startswith("sticky4")
    )


def known_client(backend: str) -> Sticky:
    """What the kernel remembers once the client was given the backend, with the farm's number."""
    from nftlbc.explain.interpreter import Interpreter
    from nftlbc.table.model import Destination

    sticky: Sticky = {}
    asked, _ = packet("198.51.100.7:1", "203.0.113.10:80")
    assert asked is not None
    Interpreter(TABLE).walk(asked, sticky=sticky, draw=lambda _: 0)
    marks = {
        data.name: mark
        for each in TABLE.maps
        for mark, data in each.elements.items()
        if isinstance(data, Destination)
    }
    entries = sticky[sticky_map()]
    for key in entries:
        entries[key] = marks.get(f"web/{backend}", 0x8000_0001)  # type: ignore[assignment]
    return sticky


def test_a_known_client() -> None:
    lines = told("198.51.100.7", "203.0.113.10:8050", known_client("app4"))
    assert lines[2:7] == [
        "listener  203.0.113.10:8000-8099/tcp of farm web, IPv4",
        "persist   source-ip 198.51.100.7 for 5m",
        "sticky    known as a client of app4",
        "backend   app4, 10.0.0.14:8080",
        "port      8080, the backend's",
    ]


def test_a_known_client_of_a_backend_that_is_gone() -> None:
    lines = told("198.51.100.7", "203.0.113.10:80", known_client("nobody"))
    assert lines[3] == (
        "persist   source-ip 198.51.100.7 for 5m: "
        "known, but its backend is gone: another one is chosen and remembered"
    )
    assert lines[4] == "balance   round-robin: one of these, in turn"


def test_consistent_hashing_and_masquerade() -> None:
    lines = told("198.51.100.7", "203.0.113.60:3128")
    assert lines[3].startswith("balance   consistent source-ip/24 198.51.100.0: slot ")
    assert lines[3].endswith(" of 101")
    assert lines[4].startswith("backend   c")
    assert lines[4].endswith(":3128")
    assert lines[5:] == [
        "port      3128, the one that was asked for",
        "source    masqueraded: the backend sees the balancer's address in place of 198.51.100.7",
    ]
    # Its whole network goes there, by the slot that the table holds.
    assert told("198.51.100.99", "203.0.113.60:3128")[3:5] == lines[3:5]
    assert len({told(f"198.51.{n}.7", "203.0.113.60:3128")[4] for n in range(30)}) == 3


def test_a_hash_of_the_clients_port() -> None:
    assert told("198.51.100.7", "203.0.113.70:53/udp")[3:] == [
        "balance   hash source-ip 198.51.100.7, source-port not told: "
        "it depends on the client's port: one of these",
        "            p1  10.0.7.1:53  1/2  50.0%",
        "            p2  10.0.7.2:53  1/2  50.0%",
        "port      53, the backend's",
        "source    10.9.9.9 in place of 198.51.100.7 (snat)",
    ]
    lines = told("198.51.100.7:4711", "203.0.113.70:53/udp")
    assert lines[0] == "from      198.51.100.7:4711"
    assert lines[3].startswith("balance   hash source-ip 198.51.100.7, source-port 4711: slot ")


def test_nobody_is_up() -> None:
    assert told("198.51.100.7", "203.0.113.80:25")[3:] == [
        "refused   at once, with a TCP reset: no IPv4 backend of farm down takes new clients",
        "quorum    1 is missed: nobody takes new clients",
        "without   d1: down",
    ]
    assert "ICMP" in told("198.51.100.7", "203.0.113.80:25/udp")[3]


def test_a_missed_quorum_and_hairpin() -> None:
    lines = told("10.0.9.1", "203.0.113.90:80")
    assert lines[3:] == [
        "balance   random: one of these",
        "            l1  10.0.9.1:80  1/2  50.0%",
        "            l3  10.0.9.3:80  1/2  50.0%",
        "port      80, the backend's",
        "source    masqueraded: 10.0.9.1 is itself a backend of farm low (hairpin)",
        "quorum    2 is missed: l3 steps in",
        "without   l2: down",
    ]
    assert told("198.51.100.7", "203.0.113.90:80")[7].startswith("source    kept")


def test_the_balancer_itself() -> None:
    assert told("203.0.113.90", "203.0.113.90:80")[0] == (
        "from      203.0.113.90, any port, the balancer itself"
    )


@pytest.mark.parametrize(
    ("target", "near"),
    [
        (
            "203.0.113.10:81",
            [
                "near      203.0.113.10:80/tcp of farm web: another port",
                "          203.0.113.10:443/tcp of farm web: another port",
                "          203.0.113.10:8000-8099/tcp of farm web: another port",
            ],
        ),
        (
            "203.0.113.60:3128/udp",
            ["near      203.0.113.60:3128/tcp of farm cache: another protocol"],
        ),
        ("203.0.113.61:3128", ["near      203.0.113.60:3128/tcp of farm cache: another address"]),
        ("192.0.2.1:9", []),
    ],
)
def test_no_listener(target: str, near: list[str]) -> None:
    lines = told("198.51.100.7", target)
    assert lines[2] == "no farm   listens there: nftlbc leaves the connection alone"
    assert lines[3:] == near


def test_many_near_ones_are_counted() -> None:
    many = replace(WEB, listeners=tuple(listener("203.0.113.10", port) for port in range(1, 20)))
    asked, _ = packet("198.51.100.7", "203.0.113.10:22")
    assert asked is not None
    lines = tell((many,), build((many,)), asked)
    assert lines[3] == "near      203.0.113.10:19/tcp of farm web: another port"
    assert lines[-1] == "          and 14 more"


def test_json_of_a_spread() -> None:
    record = json.loads(json.dumps(as_json(storied("198.51.100.7", "203.0.113.10:80"))))
    assert record["outcome"] == "spread"
    assert record["farm"] == "web"
    assert record["family"] == 4
    assert record["listener"] == {"listener": "203.0.113.10:80/tcp"}
    assert record["persist"]["client"] == "new"
    assert record["balance"] == {"scheduler": "round-robin", "keys": [], "slot": None, "slots": 4}
    assert [(each["backend"], each["share"], each["exact"]) for each in record["shares"]] == [
        ("app1", 0.75, "3/4"),
        ("app2", 0.25, "1/4"),
    ]
    assert [each["backend"] for each in record["without"]] == ["app3", "app4", "app5", "spare"]
    assert record["steps"][0]["step"] == "entered"


def test_json_of_one_backend_of_a_refusal_and_of_no_listener() -> None:
    record = json.loads(json.dumps(as_json(storied("198.51.100.7", "203.0.113.60:3128"))))
    assert record["outcome"] == "delivered"
    (share,) = record["shares"]
    assert share["share"] == 1
    assert share["source"] == "masqueraded"
    assert share["port_of"] == "client"
    assert record["balance"]["keys"] == [
        {"key": "source-ip", "value": "198.51.100.0", "prefix": 24}
    ]
    refused = as_json(storied("198.51.100.7", "203.0.113.80:25"))
    assert refused["outcome"] == "refused"
    assert refused["shares"][0]["refused"] == "tcp reset"
    nothing = as_json(storied("198.51.100.7", "203.0.113.60:3129"))
    assert nothing["outcome"] == "none"
    assert nothing["near"][0]["differs"] == "port"
