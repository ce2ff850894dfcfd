"""Persistence by every list of keys: what a client is known by, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import combinations, cycle, product

import pytest
from farms import VIP, Balancer, balancing

from nftlbc.sandbox import Request

pytestmark = pytest.mark.kernel

FIELDS = ("source-ip", "source-port", "destination-ip", "destination-port")
KEYS = [
    *(", ".join(keys) for count in range(1, 5) for keys in combinations(FIELDS, count)),
    "source-ip/24/112",
    "source-ip/17/100, destination-port",
    "source-ip/24/112, destination-ip",
    "source-ip, destination-ip/30/126",
    "source-ip/24/112, source-port, destination-ip/30/126, destination-port",
]
FARM = """
farm f{number} {{
    listen 203.0.113.10, 203.0.113.11 tcp port {port}-{next}
    listen 2001:db8::10, 2001:db8::11 tcp port {port}-{next}
    persist {keys}
    backend a  10.0.0.1 port 8080
    backend b  10.0.0.2 port 8080
    backend c  10.0.0.3 port 8080
    backend a6 2001:db8:1::1 port 8080
    backend b6 2001:db8:1::2 port 8080
    backend c6 2001:db8:1::3 port 8080
}}
"""


def _text(options: str = "") -> str:
    return "".join(
        FARM.format(
            number=number, port=1000 + 2 * number, next=1001 + 2 * number, keys=keys
        ).replace(keys + "\n", f"{keys}{options}\n")
        for number, keys in enumerate(KEYS)
    )


@pytest.mark.parametrize("options", ["", " for 90s size 64"])
def test_a_client_is_known_by_its_keys_and_by_nothing_else(options: str) -> None:
    with balancing(_text(options)) as lb:
        for number, keys in enumerate(KEYS):
            for family in (4, 6):
                _check(lb, number, keys, family)


def _check(lb: Balancer, number: int, keys: str, family: int) -> None:
    """All are new to a round robin, so that it is known which backend each key has."""
    suffix = "6" if family == 6 else ""
    turn = cycle([f"a{suffix}", f"b{suffix}", f"c{suffix}"])
    known: dict[tuple[object, ...], str] = {}
    expected = []
    requests = list(_requests(lb, number, family)) * 2
    for asked in requests:
        key = tuple(_known_by(asked, each, family) for each in keys.split(", "))
        if key not in known:
            known[key] = next(turn)
        expected.append(known[key])
    assert lb.named(lb.box.ask(requests)) == expected, (keys, family)


def _requests(lb: Balancer, number: int, family: int) -> Iterator[Request]:
    """Two clients of one network and one of another, all combinations of the rest."""
    for index, address, port, source_port in product(
        (4, 70_000 if family == 6 else 40_000, 5), (0, 1), (0, 1), (20000, 30000)
    ):
        to = f"{'203.0.113.1' if family == 4 else '2001:db8::1'}{address}"
        source = lb.client(index, family)
        yield Request("clients", source, to, 1000 + 2 * number + port, source_port=source_port)


def _known_by(asked: Request, key: str, family: int) -> object:
    """What of a request a key looks at: ``source-ip/24/112``, ``destination-port``."""
    field, *prefixes = key.split("/")
    if field.endswith("-port"):
        return asked.source_port if field == "source-port" else asked.port
    address = asked.source if field == "source-ip" else asked.address
    prefix = prefixes[family == 6] if prefixes else str(32 if family == 4 else 128)
    return ip_network(f"{address}/{prefix}", strict=False)


def test_udp_and_sctp_clients_are_known_too() -> None:
    text = f"""
farm dns {{
    listen {VIP} tcp, udp, sctp port 53
    persist source-ip
    backend a 10.0.0.1
    backend b 10.0.0.2
}}
"""
    with balancing(text) as lb:
        for number, name in enumerate("abab"):
            source = lb.client(number)
            for protocol in ("tcp", "udp", "sctp"):
                assert lb.named(lb.ask(2, VIP, 53, protocol, source=source)) == [name] * 2


def test_farms_do_not_share_what_they_remember() -> None:
    one = """
farm {name} {{
    listen {vip} tcp port {port}
    persist {keys}
    balance round-robin
    backend x 10.0.0.1 port 8080{state}
    backend y 10.0.0.2 port 8080
    backend z 10.0.0.3 port 8080
}}
"""
    # Keys that stand in the map themselves, and some that are too long and are hashed.
    many = "source-ip, source-port, destination-ip, destination-port"

    def text(state: str = "") -> str:
        farms = [("a", 80, "source-ip", state), ("b", 81, "source-ip", "")]
        farms += [("c", 82, many, state), ("d", 83, many, "")]
        return "".join(
            one.format(vip=VIP, name=name, port=port, keys=keys, state=down)
            for name, port, keys, down in farms
        )

    with balancing(text()) as lb:
        for first, second in ((80, 81), (82, 83)):
            clients = [lb.client(number) for number in range(6)]
            assert _visits(lb, clients, first) == list("xyzxyz")
            assert _visits(lb, clients[::-1], second) == list("xyzxyz")
            assert _visits(lb, clients, first) == list("xyzxyz")
            assert _visits(lb, clients, second) == list("zyxzyx")
        lb.load(text(" state down"))
        for first, second in ((80, 81), (82, 83)):
            assert "x" not in _visits(lb, clients, first)
            assert _visits(lb, clients, second) == list("zyxzyx")


def _visits(lb: Balancer, clients: list[str], port: int) -> list[str]:
    requests = [Request("clients", client, VIP, port, source_port=25000) for client in clients]
    return lb.named(lb.box.ask(requests))
