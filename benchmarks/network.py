"""Clients, a balancer and servers in network namespaces, with the load maker on both ends.

    clients 198.18.0.0/15 ── veth ── balancer, 203.0.0.0/8 ── veth ── servers 10.0.0.0/8

Every address of a network is there (a local route to all of it), so that 100 000 backends are one
listening socket. ``nftlbc.sandbox`` is not used: its servers are processes of their own, and here
nothing may run that is not measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import commands, farms

SOURCE = Path(__file__).with_name("load.c")
_CLIENTS = """
ip link set lo up
ip addr add 192.0.2.1/30 dev out
ip link set out up
ip route add local 198.18.0.0/15 dev lo
ip route add default via 192.0.2.2
"""
_BALANCER = """
ip link set lo up
ip addr add 192.0.2.2/30 dev clients
ip link set clients up
ip addr add 192.0.2.5/30 dev servers
ip link set servers up
ip route add 198.18.0.0/15 via 192.0.2.1
ip route add 10.0.0.0/8 via 192.0.2.6
ip route add local 203.0.0.0/8 dev lo
echo 1 > /proc/sys/net/ipv4/ip_forward
"""
_SERVERS = """
ip link set lo up
ip addr add 192.0.2.6/30 dev in
ip link set in up
ip route add local 10.0.0.0/8 dev lo
ip route add default via 192.0.2.5
"""
# First packets end at the servers' door: what a server does with them is nobody's part here.
_DOOR = """
table inet door {
    chain in {
        type filter hook prerouting priority -300
        tcp flags & (syn | ack) == syn counter drop
    }
}
"""


def compiled(folder: Path) -> Path:
    """The load maker, made by this machine's C compiler."""
    program = folder / "load"
    subprocess.run(["cc", "-O2", "-Wall", "-o", str(program), str(SOURCE)], check=True)
    return program


class Network:
    """What to write before a command to run it at each of the three places."""

    def __init__(self, clients: list[str], balancer: list[str], servers: list[str]) -> None:
        self.clients, self.balancer, self.servers = clients, balancer, servers

    def nft(self, script: str, inside: Sequence[str] | None = None) -> None:
        """Loads a script at the balancer."""
        command = [*(inside or self.balancer), "nft", "-f", "-"]
        subprocess.run(command, input=script, text=True, check=True)

    @contextlib.contextmanager
    def door_shut(self) -> Iterator[list[int]]:
        """Drops what would open a connection at the servers.

        The list has, afterwards, how many came.
        """
        arrived: list[int] = []
        self.nft(_DOOR, self.servers)
        try:
            yield arrived
            listed = commands.output([*self.servers, "nft", "list", "table", "inet", "door"])
            arrived.append(int(listed.split("packets ")[1].split()[0]))
        finally:
            self.nft("delete table inet door", self.servers)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    with contextlib.ExitStack() as stack:
        clients, balancer, servers = [stack.enter_context(commands.namespace()) for _ in range(3)]
        for inside, name, peer, other in (
            (clients, "out", balancer, "clients"),
            (servers, "in", balancer, "servers"),
        ):
            there = peer[1].removeprefix("--net=").split("/")[2]
            command = ["ip", "link", "add", name, "type", "veth", "peer", "name", other]
            subprocess.run([*inside, *command, "netns", there], check=True)
        for inside, script in ((clients, _CLIENTS), (balancer, _BALANCER), (servers, _SERVERS)):
            subprocess.run([*inside, "sh", "-ec", script], check=True)
        yield Network(clients, balancer, servers)


class Load:
    """The load maker: orders to it, and its answers (see load.c)."""

    def __init__(self, program: Path, where: Network, targets: Path) -> None:
        paths = [
            inside[1].removeprefix("--net=")
            for inside in (where.clients, where.balancer, where.servers)
        ]
        processor = max(os.sched_getaffinity(0))
        arguments = [str(program), *paths, str(farms.PORT), str(processor), str(targets)]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def order(self, *words: object) -> dict[str, Any]:
        """One order; raises SystemExit where the load maker ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the load maker has ended")
        found: dict[str, Any] = json.loads(answer)
        return found
