"""Where connections arrive, on which port, and whose address the backends see."""

from __future__ import annotations

import sys

import pytest
from farms import VIP, VIP6, Balancer, balancing

from nftlbc.sandbox import Answer, Protocol

pytestmark = pytest.mark.kernel

PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp", "sctp")
SNAT, SNAT6 = "10.9.9.9", "2001:db8:9::9"
BACKENDS = """
    backend a  10.0.0.1{port}
    backend b  10.0.0.2{port}
    backend a6 2001:db8:1::1{port}
    backend b6 2001:db8:1::2{port}
"""


def farm(name: str, listen: str, *lines: str, port: str = " port 8080") -> str:
    more = "".join(f"    {line}\n" for line in lines)
    return f"""
farm {name} {{
    listen {VIP}, {VIP6} tcp, udp, sctp port {listen}
{more}{BACKENDS.format(port=port)}}}
"""


def _sides(lb: Balancer) -> tuple[tuple[int, str, str, str], ...]:
    """Of each family: listener, a client's address, and the balancer's towards the servers."""
    return (
        (4, VIP, lb.client(7), lb.box.balancer_address()),
        (6, VIP6, lb.client(7, 6), lb.box.balancer_address(6)),
    )


def _seen(answers: list[Answer]) -> set[str | None]:
    assert {answer.outcome for answer in answers} == {"answered"}
    return {answer.seen for answer in answers}


FORWARDS = (
    farm("d", "80", "forward dnat")
    + farm("m", "81", "forward masquerade")
    + farm("s", "82", f"forward snat to {SNAT}, {SNAT6}")
    + farm("dp", "83", "forward dnat", "persist source-ip")
    + farm("mp", "84", "forward masquerade", "persist source-ip")
    + farm("sp", "85", f"forward snat to {SNAT}, {SNAT6}", "persist source-ip")
    + farm("h", "86", "hairpin")
    + farm("hp", "87", "hairpin", "persist source-ip, source-port, destination-ip", port="")
)


def test_dnat_keeps_the_clients_address_and_the_others_replace_it() -> None:
    with balancing(FORWARDS) as lb:
        for family, vip, client, balancer in _sides(lb):
            snat = SNAT if family == 4 else SNAT6
            expected = [client, balancer, snat, client, balancer, snat, client, client]
            for number, address in enumerate(expected):
                for protocol in PROTOCOLS:
                    answers = lb.ask(4, vip, 80 + number, protocol, source=client)
                    assert _seen(answers) == {address}, (number, protocol)


def test_the_balancers_own_processes_are_clients() -> None:
    with balancing(FORWARDS) as lb:
        for family, vip, _, balancer in _sides(lb):
            snat = SNAT if family == 4 else SNAT6
            # A process that connects to an address of its own machine has it as its source.
            expected = [vip, balancer, snat, vip, balancer, snat, vip, vip]
            for number, address in enumerate(expected):
                for protocol in PROTOCOLS[:2]:
                    answers = lb.ask(4, vip, 80 + number, protocol, host="balancer")
                    assert _seen(answers) == {address}, (number, protocol)
            names = set(lb.named(lb.ask(4, vip, 80, host="balancer")))
            assert names == ({"a", "b"} if family == 4 else {"a6", "b6"})
            # With an address that it chooses itself, too.
            assert _seen(lb.ask(4, vip, 80, host="balancer", source=balancer)) == {balancer}


def test_backends_reach_their_own_farm_by_hairpin() -> None:
    with balancing(FORWARDS) as lb:
        for family, vip, client, balancer in _sides(lb):
            own = "10.0.0.1" if family == 4 else "2001:db8:1::1"
            other = "10.0.0.2" if family == 4 else "2001:db8:1::2"
            for port, protocol in ((86, "tcp"), (86, "udp"), (87, "tcp"), (87, "udp")):
                for source in (own, other):
                    answers = [
                        lb.ask(1, vip, port, protocol, host="servers", source=source)[0]  # type: ignore[arg-type]
                        for _ in range(4)
                    ]
                    assert _seen(answers) == {balancer}
                    # Itself among them, which would never work with its own address.
                    assert {answer.backend for answer in answers} == {own, other}
                # Everybody else keeps the address.
                assert _seen(lb.ask(2, vip, port, protocol, source=client)) == {client}  # type: ignore[arg-type]


PORTS = (
    farm("kept", "1000-1009", port="")
    + farm("fixed", "2000-2009", port=" port 8080")
    + f"""
farm own {{
    listen {VIP}, {VIP6} tcp, udp, sctp port 3000 to 3333
    listen {VIP}, {VIP6} tcp, udp, sctp port 3100-3109 to 3444
    listen {VIP}, {VIP6} tcp, udp, sctp port 3200, 3201-3203
{BACKENDS.format(port="")}}}
farm own-and-fixed {{
    listen {VIP}, {VIP6} tcp, udp, sctp port 4000 to 4444
    listen {VIP}, {VIP6} tcp, udp, sctp port 4001-4002
{BACKENDS.format(port=" port 8080")}}}
farm mixed {{
    listen {VIP}, {VIP6} tcp, udp, sctp port 5000-5001
    listen {VIP}, {VIP6} tcp, udp, sctp port 5002 to 5555
    backend a  10.0.0.1
    backend b  10.0.0.2 port 8080
    backend a6 2001:db8:1::1
    backend b6 2001:db8:1::2 port 8080
}}
"""
)

ARRIVE: dict[int, tuple[int, int]] = {
    1000: (1000, 1000),
    1004: (1004, 1004),
    1009: (1009, 1009),
    2000: (8080, 8080),
    2009: (8080, 8080),
    3000: (3333, 3333),
    3100: (3444, 3444),
    3105: (3444, 3444),
    3109: (3444, 3444),
    3200: (3200, 3200),
    3203: (3203, 3203),
    4000: (4444, 4444),
    4001: (8080, 8080),
    5000: (5000, 8080),
    5001: (5001, 8080),
    5002: (5555, 5555),
}
"""The port that a client asks for, and where it arrives at the first and at the second backend."""


def test_ports_are_the_listeners_then_the_backends_then_the_clients() -> None:
    with balancing(PORTS) as lb:
        for _, vip, client, _ in _sides(lb):
            for asked, arrive in ARRIVE.items():
                for protocol in PROTOCOLS:
                    answers = lb.ask(2, vip, asked, protocol, source=client)
                    found = sorted((str(answer.backend), answer.backend_port) for answer in answers)
                    assert tuple(port for _, port in found) == arrive, (asked, protocol)
            # One beside a range is nobody's.
            for asked in (999, 1010, 3110, 3204, 5003):
                assert lb.named(lb.ask(1, vip, asked, source=client)) == ["refused"]


def test_listeners_of_one_address_are_told_apart_by_protocol() -> None:
    text = f"""
farm web {{
    listen {VIP} tcp port 443
    listen {VIP6} udp port 443
    backend t  10.0.0.1 port 443
    backend u6 2001:db8:1::1 port 443
}}
farm quic {{
    listen {VIP} udp port 443
    listen {VIP6} tcp port 443
    backend u  10.0.0.2 port 443
    backend t6 2001:db8:1::2 port 443
}}
"""
    with balancing(text) as lb:
        for vip, protocol, name in (
            (VIP, "tcp", "t"),
            (VIP, "udp", "u"),
            (VIP6, "tcp", "t6"),
            (VIP6, "udp", "u6"),
        ):
            assert lb.named(lb.ask(2, vip, 443, protocol)) == [name] * 2  # type: ignore[arg-type]


_FROM_ONE_PORT = """
import socket, sys
address, *ports = sys.argv[1:]
held = []
for port in ports:
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.settimeout(5)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("", 30000))
    client.connect((address, int(port)))
    print(client.recv(1024).split()[:2])
    held.append(client)
"""


def test_one_client_may_have_connections_of_one_port_to_several_listeners() -> None:
    """All end at one backend's port: all but one get another source port, and none fails."""
    with balancing(farm("f", "80-83").replace("    backend b", "    # backend b")) as lb:
        for vip in (VIP, VIP6):
            program = (sys.executable, "-c", _FROM_ONE_PORT, vip, "80", "81", "82", "83")
            done = lb.box.run("clients", program)
            assert (done.returncode, len(done.stdout.splitlines())) == (0, 4), done.stderr
