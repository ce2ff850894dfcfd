"""Real connections of UDP and TCP in one process: clients in one namespace, all else in another.

Every address that farms_text gives is local where the balancer is, so one machine is the balancer
and all backends. Clients come from another namespace (prerouting) or are processes of the machine
itself (output). A connection costs a tenth of a millisecond.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import selectors
import socket
import struct
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from namespaces import Elsewhere

from nftlbc.explain.outcome import Delivered, Outcome, Packet, Refused

MASQUERADED = {4: "10.9.9.9", 6: "2001:db8:9::9"}
_HERE = ("10.0.0.0/8", "198.18.0.0/15", "203.0.113.0/24", "2001:db8::/32")
_CLIENTS = ("172.16.0.0/12", "fd00::/16")
_SETTINGS = {
    "ipv4/icmp_ratelimit": "0",
    "ipv4/icmp_ratemask": "0",
    "ipv6/icmp/ratelimit": "0",
    # Else the kernel tells no more than a thousand a second, of the whole namespace.
    "ipv6/icmp/ratemask": "\n",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/all/accept_local": "1",
}
_IPV6_FREEBIND = 78
_AT_ONCE = 50
"""Looks without a pause: it is nearly always there."""
_PATIENCE = 5.0
"""Seconds for what takes a tenth of a millisecond: a machine may be busy."""


class Arrived(NamedTuple):
    """Where a connection ended, and whom the server saw."""

    address: str
    port: int
    source: str


Answer = Arrived | Literal["refused", "silent"]


class Ground:
    """The two namespaces; this process stays in the balancer's."""

    def __init__(self) -> None:
        self.clients = Elsewhere()
        for name, value in _SETTINGS.items():
            Path("/proc/sys/net", name).write_text(value)
        _ip("link set lo up")
        for address in MASQUERADED.values():
            _ip(f"address add {address}/{128 if ':' in address else 32} dev lo")
        for net in _HERE:
            _ip(f"route add local {net} dev lo")
        _ip(f"link add there type veth peer name here netns {self.clients.path}")
        _ip("link set there up")
        _ip("address add 192.0.2.1/30 dev there")
        _ip("address add fd01::1/64 dev there nodad")
        with self.clients.visited():
            _ip("link set lo up")
            _ip("link set here up")
            _ip("address add 192.0.2.2/30 dev here")
            _ip("address add fd01::2/64 dev here nodad")
            for net in _CLIENTS:
                _ip(f"route add local {net} dev lo")
            _ip("route add default via 192.0.2.1")
            _ip("-6 route add default via fd01::1")
        for net, via in zip(_CLIENTS, ("192.0.2.2", "fd01::2"), strict=True):
            _ip(f"route add {net} via {via}")
        self._numbers = itertools.count(1)

    @staticmethod
    def client(number: int, family: int) -> str:
        """The address of one of 2^18 clients."""
        if family == 4:
            return str(ipaddress.IPv4Address("172.16.0.0") + number)
        return str(ipaddress.IPv6Address("fd00::") + (number << 88 | number))

    @contextlib.contextmanager
    def serving(self, ports: Collection[tuple[str, int]]) -> Iterator[Servers]:
        """Servers of (protocol, port) at every address."""
        with contextlib.ExitStack() as ends:
            ready = ends.enter_context(selectors.DefaultSelector())
            for protocol, port in sorted(ports):
                for family in (socket.AF_INET, socket.AF_INET6):
                    server = ends.enter_context(_server(protocol, family, port))
                    ready.register(server, selectors.EVENT_READ, protocol)
            yield Servers(self, ready, self._numbers)


class Servers:
    def __init__(
        self, ground: Ground, ready: selectors.BaseSelector, numbers: Iterator[int]
    ) -> None:
        self._ground = ground
        self._ready = ready
        self._numbers = numbers

    def send(self, packet: Packet) -> Answer:
        """What becomes of a connection's first packet."""
        six = ":" in packet.source
        kind = socket.SOCK_DGRAM if packet.protocol == "udp" else socket.SOCK_STREAM
        family = socket.AF_INET6 if six else socket.AF_INET
        where = (
            self._ground.clients.visited()
            if packet.hook == "prerouting"
            else (contextlib.nullcontext())
        )
        with where:
            client = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        with client:
            if six:
                client.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            client.bind((packet.source, packet.source_port))
            if packet.protocol == "udp":
                return self._datagram(client, packet)
            return self._connection(client, packet)

    def _datagram(self, client: socket.socket, packet: Packet) -> Answer:
        word = struct.pack("!Q", next(self._numbers))
        try:
            client.connect((packet.destination, packet.port))
            client.send(word)
        except PermissionError:
            return "refused"  # the kernel refuses its own processes at once
        for server in self._arriving(client):
            if server is None:
                return "refused"
            data, ancillary, _, seen = server.recvmsg(64, 256)
            if data == word:
                raw = ancillary[0][2]
                raw = raw[8:12] if server.family == socket.AF_INET else raw[:16]
                address = socket.inet_ntop(server.family, raw)
                return Arrived(address, server.getsockname()[1], seen[0])
        return "silent"

    def _connection(self, client: socket.socket, packet: Packet) -> Answer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.connect_ex((packet.destination, packet.port))
        for server in self._arriving(client):
            if server is None:
                return "refused"
            accepted, seen = server.accept()
            with accepted:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return Arrived(*accepted.getsockname()[:2], seen[0])
        return "silent"

    def _arriving(self, client: socket.socket) -> Iterator[socket.socket | None]:
        """The servers at which something is; None: the client was told of an error."""
        until = time.monotonic() + _PATIENCE
        for turn in itertools.count():
            found = [key.fileobj for key, _ in self._ready.select(0)]
            yield from found  # type: ignore[misc]
            if not found:
                if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    yield None
                if turn > _AT_ONCE:
                    time.sleep(0.0002)
            if time.monotonic() > until:
                return


def _server(protocol: str, family: int, port: int) -> socket.socket:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    server = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        server.listen(64)
    return server


def _ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True)


def as_told(packet: Packet, outcome: Outcome) -> Answer:
    """How the servers tell of an outcome. Sources are replaced on the way out alone, and what
    comes from elsewhere ends here."""
    if isinstance(outcome, Refused):
        return "refused"
    if not isinstance(outcome, Delivered):
        return Arrived(packet.destination, packet.port, packet.source)
    source = packet.source
    if packet.hook == "output" and outcome.source != "kept":
        masqueraded = outcome.source == "masqueraded"
        source = MASQUERADED[packet.family] if masqueraded else outcome.source
    return Arrived(outcome.address, outcome.port, source)
