"""Backups and the quorum, draining and weight 0, and a farm in which nobody is up."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from farms import VIP, VIP6, Balancer, balancing

from nftlbc.sandbox import Protocol

pytestmark = pytest.mark.kernel

PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp", "sctp")


def quorum(states: dict[str, str] | None = None, number: int = 2) -> str:
    states = states or {}
    backends = {
        "a": "10.0.0.1 port 8080 weight 2",
        "b": "10.0.0.2 port 8080",
        "c": "10.0.0.3 port 8080",
        "s": "10.0.0.8 port 8080 weight 3 backup",
        "t": "10.0.0.9 port 8080 backup",
        "a6": "2001:db8:1::1 port 8080",
        "b6": "2001:db8:1::2 port 8080",
        "s6": "2001:db8:1::8 port 8080 backup",
    }
    lines = "".join(
        f"    backend {name} {rest}{' ' + states[name] if name in states else ''}\n"
        for name, rest in backends.items()
    )
    return f"farm web {{\n    listen {VIP}, {VIP6} tcp port 80\n    quorum {number}\n{lines}}}\n"


DOWN, DRAIN = "state down", "state drain"


def test_backups_step_in_below_the_quorum_and_leave_at_it() -> None:
    with balancing(quorum()) as lb:
        _shares(lb, a=2, b=1, c=1)
        lb.load(quorum({"a": DOWN}))
        _shares(lb, b=1, c=1)
        lb.load(quorum({"a": DRAIN}))
        _shares(lb, b=1, c=1)
        for away in (DOWN, DRAIN):
            lb.load(quorum({"b": away, "c": away}))
            _shares(lb, a=2, s=3, t=1)
        lb.load(quorum({"b": DOWN, "c": DOWN, "s": DOWN}))
        _shares(lb, a=2, t=1)
        lb.load(quorum({"a": DOWN, "b": DRAIN, "c": DOWN}))
        _shares(lb, s=3, t=1)
        lb.load(quorum({"a": DOWN, "b": DOWN}).replace("8080 weight 3 backup", "8080 backup"))
        _shares(lb, c=1, s=1, t=1)
        lb.load(quorum({"a": DOWN, "b": DOWN}, number=1))
        _shares(lb, c=1)
        lb.load(quorum())
        _shares(lb, a=2, b=1, c=1)


def test_each_family_counts_its_own_quorum() -> None:
    with balancing(quorum({"a6": DOWN})) as lb:
        assert lb.counted(lb.ask(8)) == {"a": 4, "b": 2, "c": 2}
        assert lb.counted(lb.ask(8, VIP6)) == {"b6": 4, "s6": 4}
        lb.load(quorum({"b": DOWN, "c": DOWN}))
        assert lb.counted(lb.ask(12)) == {"a": 4, "s": 6, "t": 2}
        assert lb.counted(lb.ask(8, VIP6)) == {"a6": 4, "b6": 4}


def _shares(lb: Balancer, **weights: int) -> None:
    answers = lb.ask(5 * sum(weights.values()))
    assert lb.counted(answers) == {name: 5 * weight for name, weight in weights.items()}


def sticky(state: str = "", all_of_them: str = "") -> str:
    return f"""
farm web {{
    listen {VIP}, {VIP6} tcp, udp port 80
    persist source-ip
    backend a  10.0.0.1 port 8080 {state}
    backend b  10.0.0.2 port 8080 {all_of_them}
    backend c  10.0.0.3 port 8080 {all_of_them}
    backend a6 2001:db8:1::1 port 8080 {state}
    backend b6 2001:db8:1::2 port 8080 {all_of_them}
    backend c6 2001:db8:1::3 port 8080 {all_of_them}
}}
"""


@pytest.mark.parametrize("state", [DRAIN, "weight 0"])
def test_draining_keeps_known_clients_and_takes_no_new_ones(state: str) -> None:
    with balancing(sticky()) as lb:
        for family, vip in ((4, VIP), (6, VIP6)):
            lb.load(sticky())
            known = [lb.client(number, family) for number in range(9)]
            new = [lb.client(number, family) for number in range(100, 120)]
            names = [name + ("6" if family == 6 else "") for name in "abc"]
            assert lb.named(lb.ask_from(known, vip)) == names * 3
            lb.load(sticky(state))
            assert lb.named(lb.ask_from(known, vip)) == names * 3
            assert lb.named(lb.ask_from(known, vip, 80, "udp")) == names * 3
            assert lb.named(lb.ask_from(new, vip)) == names[1:] * 10
            # With all of them draining, those who are known are served all the same.
            lb.load(sticky(state, state))
            assert lb.named(lb.ask_from(known, vip)) == names * 3
            newer = [lb.client(number, family) for number in range(200, 203)]
            assert lb.named(lb.ask_from(newer, vip)) == ["refused"] * 3


def nobody(state: str) -> str:
    """Farms of every kind with nobody to take a new client; and one that has somebody."""
    backends = f"""
    backend a  10.0.0.1 port 8080 {state}
    backend b  10.0.0.2 {state}
    backend a6 2001:db8:1::1 port 8080 {state}
    backend b6 2001:db8:1::2 {state}
"""
    lines = {
        81: "",
        82: "persist source-ip",
        83: "forward masquerade",
        84: "balance hash source-ip",
        85: "balance consistent source-ip slots 101",
        86: "hairpin",
        87: "persist source-ip, source-port, destination-ip, destination-port",
        88: "forward snat to 10.9.9.9, 2001:db8:9::9",
    }
    farms = "".join(
        f"farm z{port} {{\n    listen {VIP}, {VIP6} tcp, udp, sctp port {port}\n"
        f"    {line}\n{backends}}}\n"
        for port, line in lines.items()
    )
    return f"""
farm alive {{
    listen {VIP}, {VIP6} tcp, udp, sctp port 80
    backend c  10.0.0.1 port 8080
    backend c6 2001:db8:1::1 port 8080
}}
farm half {{
    listen {VIP}, {VIP6} tcp, udp, sctp port 89 to 8080
    backend d  10.0.0.3
    backend d6 2001:db8:1::3 {state}
}}
farm zown {{
    listen {VIP}, {VIP6} tcp, udp, sctp port 90-91 to 8080
{backends}}}
{farms}
"""


@pytest.mark.parametrize("state", [DOWN, DRAIN, "weight 0"])
def test_a_farm_with_nobody_up_refuses_at_once_and_lets_nobody_through(state: str) -> None:
    with balancing(nobody(state)) as lb, _server(lb, 80, 82, 87, 89, 91, 99):
        for vip in (VIP, VIP6):
            for protocol in PROTOCOLS:
                assert lb.ask(1, vip, 80, protocol)[0].backend_port == 8080
                for port in range(81, 92):
                    if (vip, port) == (VIP, 89):
                        assert lb.named(lb.ask(1, vip, 89, protocol)) == ["d"]
                        continue
                    _refused(lb, vip, port, protocol)
            # The balancer's own server is where it was, beside the farms.
            assert lb.named(lb.ask(1, vip, 99)) == ["balancer"]


_WITNESS = """
table inet witness {
    counter resets { }
    counter messages { }
    chain leaving {
        type filter hook output priority 0; policy accept;
        oifname "to-clients" tcp flags & rst == rst counter name resets
        oifname "to-clients" icmp type destination-unreachable counter name messages
        oifname "to-clients" icmpv6 type destination-unreachable counter name messages
    }
}
"""


def test_tcp_is_refused_by_a_reset_and_the_rest_by_icmp() -> None:
    with balancing(nobody(DOWN), before=_WITNESS) as lb:
        for vip in (VIP, VIP6):
            for protocol, expected in (("tcp", (3, 0)), ("udp", (0, 3)), ("sctp", (0, 3))):
                lb.nft("reset", "counters", "table", "inet", "witness")
                lb.ask(3, vip, 81, protocol)  # type: ignore[arg-type]
                listing = lb.nft("list", "counters", "table", "inet", "witness")
                counted = tuple(int(part.split()[0]) for part in listing.split("packets ")[1:])
                assert counted == expected, (vip, protocol)


def _refused(lb: Balancer, vip: str, port: int, protocol: Protocol) -> None:
    answers = lb.ask(3, vip, port, protocol)
    if protocol != "sctp":
        answers += lb.ask(3, vip, port, protocol, host="balancer")
    assert lb.named(answers) == ["refused"] * len(answers), (vip, port, protocol)
    # A lost SYN is sent again after a second: this was told, not found out by waiting.
    assert max(answer.seconds for answer in answers) < 0.9


def test_a_process_of_the_balancer_is_refused_whatever_its_own_port() -> None:
    """Here it is a listener's port too, so that the reset looks like a client."""
    text = f"""
farm range {{
    listen {VIP}, {VIP6} tcp port 25000-25001
    backend a  10.0.0.1 weight 0
    backend a6 2001:db8:1::1 weight 0
}}
"""
    with balancing(text) as lb:
        for vip in (VIP, VIP6):
            answers = lb.ask(1, vip, 25000, host="balancer", source=vip, source_port=25001)
            assert lb.named(answers) == ["refused"]


@pytest.mark.parametrize("state", [DOWN, DRAIN])
def test_nobody_is_let_through_where_no_farm_has_anybody(state: str) -> None:
    """Not even then may the kernel leave connection tracking, and with it our chains, aside."""
    text = f"""
farm web {{
    listen {VIP}, {VIP6} tcp port 80
    backend a  10.0.0.1 {state}
    backend a6 2001:db8:1::1 {state}
}}
"""
    with balancing(text) as lb, _server(lb, 80, 99):
        for vip in (VIP, VIP6):
            _refused(lb, vip, 80, "tcp")


_SERVER = """
import selectors, socket, sys
line = b"balancer 0 nobody 0\\n"
selector = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            server = socket.socket(family, kind)
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            server.bind(("", port))
            if kind == socket.SOCK_STREAM:
                server.listen(64)
            selector.register(server, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj.type == socket.SOCK_STREAM:
            connection, _ = key.fileobj.accept()
            connection.send(line)
            connection.close()
        else:
            said, peer = key.fileobj.recvfrom(512)
            key.fileobj.sendto(line.rstrip() + b" " + said.rstrip() + b"\\n", peer)
"""


@contextmanager
def _server(lb: Balancer, *ports: int) -> Iterator[None]:
    """A server of the balancer's own, on all its addresses."""
    server = lb.box.start_command("balancer", (sys.executable, "-c", _SERVER, *map(str, ports)))
    try:
        deadline = time.monotonic() + 20
        while lb.named(lb.ask(1, VIP6, ports[-1])) != ["balancer"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        server.stop()
