"""A fleet of balancers with one file: the same table, the same choices, connections that go on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from namespaces import Elsewhere, in_namespace

from nftlbc import pipeline
from nftlbc.farms import Backend, Farm, Listener
from nftlbc.nft import kernel
from nftlbc.plan import by_hand, planning

FLEET = Path(__file__).parents[2] / "examples" / "fleet.lb"
VIP, CLIENT, SERVED = "203.0.113.200", "198.51.100.1", "10.0.0.{}"


def farms() -> tuple[Farm, ...]:
    return pipeline.read(os.fspath(FLEET))[0]


def test_three_copies_compile_to_the_same_bytes(tmp_path: Path) -> None:
    """On machines of other names, places, languages and clocks."""
    scripts = set()
    for number, zone in enumerate(("UTC", "Asia/Tokyo", "America/Lima")):
        folder = tmp_path / f"machine {number}"
        folder.mkdir()
        shutil.copy(FLEET, folder / "farms.lb")
        environment = {"TZ": zone, "PYTHONHASHSEED": str(number), "HOME": str(folder)}
        done = subprocess.run(
            [sys.executable, "-m", "nftlbc", "compile", "farms.lb"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(FLEET.parents[1]), **environment},
            capture_output=True,
            check=True,
        )
        scripts.add(done.stdout)
    assert len(scripts) == 1


class Fleet:
    """A client, three balancers and a server that is all backends, each in a namespace.

    The client's router and the servers' are one hop away: ``over`` says which balancer they use.
    """

    def __init__(self) -> None:
        self.nodes = [Elsewhere() for _ in range(3)]
        self.client, self.server = Elsewhere(), Elsewhere()
        with self.server.visited():
            ip("link set lo up")
            ip("address add 10.9.9.9/32 dev lo")
            ip("route add local 10.0.0.0/24 dev lo")
        with self.client.visited():
            ip("link set lo up")
            ip(f"address add {CLIENT}/32 dev lo")
        for number, node in enumerate(self.nodes):
            self._link(self.client, node, f"c{number}", 8 * number, f"{CLIENT}/32")
            self._link(self.server, node, f"s{number}", 8 * number + 4, "10.0.0.0/24")
            with node.visited():
                Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
                # As the example says: a node that comes back has missed a part.
                Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").write_text("1")

    @staticmethod
    def _link(end: Elsewhere, node: Elsewhere, name: str, net: int, there: str) -> None:
        with end.visited():
            ip(f"link add {name} type veth peer name {name} netns {node.path}")
            ip(f"address add 192.0.2.{net + 1}/30 dev {name}")
            ip(f"link set {name} up")
        with node.visited():
            ip(f"address add 192.0.2.{net + 2}/30 dev {name}")
            ip(f"link set {name} up")
            ip(f"route add {there} via 192.0.2.{net + 1}")

    def over(self, number: int) -> None:
        with self.client.visited():
            ip(f"route replace {VIP}/32 via 192.0.2.{8 * number + 2} src {CLIENT}")
        with self.server.visited():
            ip(f"route replace {CLIENT}/32 via 192.0.2.{8 * number + 6}")

    @contextmanager
    def connected(self, ports: range) -> Iterator[dict[int, tuple[socket.socket, socket.socket]]]:
        """A connection from each of the client's ports: both of its ends."""
        with ExitStack() as ends:
            with self.server.visited():
                listening = ends.enter_context(socket.create_server(("", 443)))
            found = {}
            for port in ports:
                with self.client.visited():
                    mine = socket.create_connection((VIP, 443), 5, (CLIENT, port))
                ends.enter_context(mine)
                theirs, seen = listening.accept()
                ends.enter_context(theirs)
                assert seen == (CLIENT, port)
                theirs.settimeout(5)
                found[port] = mine, theirs
            yield found


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True)


def word(one: socket.socket, other: socket.socket, text: bytes) -> None:
    one.sendall(text)
    assert other.recv(64) == text


def homes(fleet: Fleet, ports: range) -> dict[int, str]:
    with fleet.connected(ports) as connections:
        return {port: theirs.getsockname()[0] for port, (_, theirs) in connections.items()}


def histories(fleet: Fleet) -> None:
    """One node was loaded at boot, the others have been through something."""
    [edge] = farms()
    other = Farm("other", (Listener("203.0.113.9", "tcp", 1, 99),), (Backend("x", "10.0.0.9"),))
    more = replace(edge, backends=(*edge.backends, Backend("more", "10.0.0.209")))
    with fleet.nodes[0].visited():
        kernel.load(pipeline.script((edge,)))
    with fleet.nodes[1].visited():
        for some in ((other,), (other, more), (edge, other), (edge,)):
            planning.apply(some)
    with fleet.nodes[2].visited():
        planning.apply((replace(edge, backends=edge.backends[1:]),))
        planning.apply((edge,))
        by_hand.hold(["edge/edge4"], "disable", "test")
        by_hand.hold(["edge/edge4"], None, "test")


@in_namespace
def test_each_client_gets_the_same_backend_on_each_and_its_connections_go_on() -> None:
    fleet = Fleet()
    histories(fleet)
    ports = range(20_000, 20_040)
    found = []
    for number in range(3):
        fleet.over(number)
        found.append(homes(fleet, ports))
    assert found[0] == found[1] == found[2]
    assert set(found[0].values()) == {SERVED.format(number) for number in (201, 202, 203, 204)}
    # A node goes: its connections go on over another one, over the third, and when it is back.
    fleet.over(0)
    with fleet.connected(range(21_000, 21_020)) as connections:
        for number in (0, 1, 2, 0):
            fleet.over(number)
            for mine, theirs in connections.values():
                word(mine, theirs, b"from the client by %d" % number)
                word(theirs, mine, b"from the server by %d" % number)
