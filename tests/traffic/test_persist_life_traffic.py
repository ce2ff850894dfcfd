"""Sticky entries in time: how they are refreshed, expire, move, and fill their map."""

from __future__ import annotations

import time

import pytest
from farms import VIP, VIP6, Balancer, balancing

pytestmark = pytest.mark.kernel


def test_an_entry_is_refreshed_by_use_and_expires_without() -> None:
    text = f"""
farm web {{
    listen {VIP}, {VIP6} tcp port 80
    persist source-ip for 1500ms
    backend a  10.0.0.1 port 8080
    backend b  10.0.0.2 port 8080
    backend a6 2001:db8:1::1 port 8080
    backend b6 2001:db8:1::2 port 8080
}}
farm hashed {{
    listen {VIP}, {VIP6} tcp port 81
    persist source-ip, destination-ip, source-port, destination-port for 1500ms
    backend a  10.0.0.1 port 8080
    backend b  10.0.0.2 port 8080
    backend a6 2001:db8:1::1 port 8080
    backend b6 2001:db8:1::2 port 8080
}}
"""
    places = [(VIP, 80), (VIP6, 80), (VIP, 81), (VIP6, 81)]

    def visit(lb: Balancer) -> list[str]:
        answers = [lb.ask(1, to, port, source_port=25000)[0] for to, port in places]
        return lb.named(answers)

    with balancing(text) as lb:
        start = time.monotonic()
        assert visit(lb) == ["a", "a6", "a", "a6"]
        # Beyond the time of the first entry, but never unused for long.
        while time.monotonic() < start + 2:
            time.sleep(0.2)
            assert visit(lb) == ["a", "a6", "a", "a6"]
        assert lb.sticky() == 4
        deadline = time.monotonic() + 10
        while lb.sticky() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert visit(lb) == ["b", "b6", "b", "b6"]


WAYS = {
    80: "persist source-ip",
    81: "persist source-ip\n    forward masquerade",
    82: "persist source-ip size 100\n    forward snat to 10.9.9.9, 2001:db8:9::9",
    83: "persist source-ip\n    hairpin",
    84: "persist source-ip, source-port, destination-ip, destination-port",
    85: "persist source-ip, source-port, destination-ip, destination-port\n    hairpin",
    86: "persist source-ip",
    87: "persist source-ip/30/126, destination-port for 2h",
}


def _ways(state: str = "") -> str:
    farms = []
    for port, lines in WAYS.items():
        to = f"port {port} to 8080" if port == 86 else f"port {port}"
        backends = [f"{name} 10.0.0.{n} port 8080" for n, name in enumerate("abcd", 1)]
        backends += [f"{name}6 2001:db8:1::{n} port 8080" for n, name in enumerate("abcd", 1)]
        backends = [b + (state if b.startswith("b") else "") for b in backends]
        text = "".join(f"    backend {backend}\n" for backend in backends)
        farms.append(f"farm f{port} {{\n    listen {VIP}, {VIP6} tcp {to}\n    {lines}\n{text}}}\n")
    return "".join(farms)


def test_a_client_whose_backend_is_gone_moves_once_and_stays() -> None:
    with balancing(_ways()) as lb:
        before = _all(lb)
        for (port, family), names in before.items():
            turn = [f"{name}{'6' if family == 6 else ''}" for name in "abcd"]
            assert names == turn * 3, port
        assert _all(lb) == before
        lb.load(_ways(" state down"))
        moved = _all(lb)
        for where, names in moved.items():
            dead = "b6" if where[1] == 6 else "b"
            for old, new in zip(before[where], names, strict=True):
                assert new != dead and (new == old or old == dead), where
            # Re-homed evenly, not all to one.
            found = [n for n, old in zip(names, before[where], strict=True) if old == dead]
            assert len(set(found)) == 3, where
        # It stays with the new one: at the next connection, and when the old one is back.
        assert _all(lb) == moved
        lb.load(_ways())
        assert _all(lb) == moved


def _all(lb: Balancer) -> dict[tuple[int, int], list[str]]:
    """Twelve clients' backends at each farm, by port and family."""
    found = {}
    for port in WAYS:
        for family, to in ((4, VIP), (6, VIP6)):
            # Four apart: they differ in the first 30 (126) bits too.
            sources = [lb.client(4 * number, family) for number in range(12)]
            answers = [
                lb.ask(1, to, port, source=source, source_port=26000)[0] for source in sources
            ]
            found[port, family] = lb.named(answers)
    return found


def test_a_full_map_never_costs_a_connection() -> None:
    def text(state: str = "") -> str:
        return f"""
farm web {{
    listen {VIP} tcp port 80
    persist source-ip size 4
    backend a 10.0.0.1 port 8080{state}
    backend b 10.0.0.2 port 8080
    backend c 10.0.0.3 port 8080
}}
farm hashed {{
    listen {VIP} tcp port 81
    persist source-ip, destination-ip, source-port, destination-port size 4
    backend a 10.0.0.1 port 8080{state}
    backend b 10.0.0.2 port 8080
    backend c 10.0.0.3 port 8080
}}
"""

    with balancing(text()) as lb:
        for port in (80, 81):
            clients = [lb.client(number) for number in range(30)]

            def visit(clients: list[str] = clients, port: int = port) -> list[str]:
                answers = [lb.ask(1, VIP, port, source=c, source_port=27000)[0] for c in clients]
                return lb.named(answers)

            assert visit() == list("abc") * 10
            again = visit()
            assert again[:4] == list("abca")
            # The others are nobody's: the round robin goes on with them.
            assert again[4:] == (list("abc") * 10)[:26]
        assert lb.sticky() == 8
        lb.load(text(" state down"))
        for port in (80, 81):
            names = lb.named(lb.ask(60, VIP, port, parallel=16))
            assert set(names) <= {"b", "c"}
            names = lb.named(lb.ask_from(clients, port=port, parallel=16))
            assert set(names) == {"b", "c"}
