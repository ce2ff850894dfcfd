"""The backends: one process that answers on every address of the servers' namespace.

It listens on the wildcard address and learns from each connection or datagram which
backend was meant, so that 2 000 backends cost no more than two.
"""

import errno
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from nftlbc.sandbox.channel import Channel
from nftlbc.sandbox.descriptors import allow_many_descriptors
from nftlbc.sandbox.identity import identity_line
from nftlbc.sandbox.outages import SCTP_MARK
from nftlbc.sandbox.packet_info import answer_from, arrived_at, ask_for_arrivals
from nftlbc.sandbox.request import Family
from nftlbc.sandbox.sctp import answer_init

# One event loop turn takes at most so many connections from one listener.
_ACCEPT_AT_ONCE = 64
_BACKLOG = 4096
_RECEIVE_BUFFER = 4 << 20
# <asm-generic/socket.h>; Python has no name for it.
_SO_RCVBUFFORCE = 33

_Handler: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class ServeBackends:
    """The job: open every port in every family, answer "ready", serve for ever."""

    families: tuple[Family, ...]
    tcp_ports: tuple[int, ...]
    udp_ports: tuple[int, ...]
    sctp_ports: tuple[int, ...]

    def perform(self, channel: Channel) -> None:
        allow_many_descriptors()
        servers = _Servers()
        for family in self.families:
            for port in self.tcp_ports:
                servers.listen_tcp(family, port)
            for port in self.udp_ports:
                servers.listen_udp(family, port)
            if self.sctp_ports:
                servers.listen_sctp(family, frozenset(self.sctp_ports))
        channel.send("ready")
        servers.serve(channel)


class _Servers:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, _Handler] = {}
        self._spare = os.dup(self._poll.fileno())

    def serve(self, channel: Channel) -> None:
        """Until the channel is closed."""
        self._poll.register(channel, select.EPOLLIN)
        parent = channel.fileno()
        handlers = self._handlers
        while True:
            for fd, _ in self._poll.poll():
                if fd == parent:
                    return
                handlers[fd]()

    def listen_tcp(self, family: Family, port: int) -> None:
        listener = _bound(family, socket.SOCK_STREAM, port)
        listener.listen(_BACKLOG)
        self._watch(listener, lambda: self._accept(listener))

    def listen_udp(self, family: Family, port: int) -> None:
        sock = _bound(family, socket.SOCK_DGRAM, port)
        _widen(sock)
        ask_for_arrivals(sock)
        self._watch(sock, lambda: _answer_datagrams(sock, port))

    def listen_sctp(self, family: Family, ports: frozenset[int]) -> None:
        sock = socket.socket(_FAMILIES[family], socket.SOCK_RAW, socket.IPPROTO_SCTP)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, SCTP_MARK)
        _widen(sock)
        ask_for_arrivals(sock)
        self._watch(sock, lambda: _answer_inits(sock, family, ports))

    def _watch(self, sock: socket.socket, handler: _Handler) -> None:
        self._handlers[sock.fileno()] = handler
        self._poll.register(sock, select.EPOLLIN)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                connection, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EMFILE:
                    self._turn_away(listener)
                continue  # else it was reset before it could be accepted
            try:
                local = connection.getsockname()
                connection.setblocking(False)
                connection.send(identity_line(local, peer))
            except OSError:
                connection.close()
                continue
            self._watch(connection, self._talk(connection, local, peer))

    def _turn_away(self, listener: socket.socket) -> None:
        """Out of descriptors: close one connection, rather than leave all waiting."""
        os.close(self._spare)
        with suppress(OSError):
            listener.accept()[0].close()
        self._spare = os.dup(self._poll.fileno())

    def _talk(
        self,
        connection: socket.socket,
        local: tuple[object, ...],
        peer: tuple[object, ...],
    ) -> _Handler:
        def handler() -> None:
            try:
                said = connection.recv(4096)
                if said:
                    connection.send(identity_line(local, peer, said.rstrip(b"\n")))
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            del self._handlers[connection.fileno()]
            connection.close()

        return handler


def _answer_datagrams(sock: socket.socket, port: int) -> None:
    while True:
        try:
            said, ancillary, _, peer = sock.recvmsg(512, 128)
            backend = arrived_at(ancillary)
            line = identity_line((backend, port), peer, said.rstrip(b"\n"))
            sock.sendmsg([line], answer_from(backend), 0, peer)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error for an earlier answer, or no route back


def _answer_inits(sock: socket.socket, family: Family, ports: frozenset[int]) -> None:
    while True:
        try:
            packet, ancillary, _, peer = sock.recvmsg(2048, 128)
            if family == 4:
                packet = packet[(packet[0] & 15) * 4 :]
            backend = arrived_at(ancillary)
            answer = answer_init(packet, backend, peer[0], ports)
            if answer:
                sock.sendmsg([answer], answer_from(backend), 0, (peer[0], 0))
        except BlockingIOError:
            return
        except OSError:
            continue


_FAMILIES: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6}


def _bound(family: Family, kind: socket.SocketKind, port: int) -> socket.socket:
    sock = socket.socket(_FAMILIES[family], kind)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("", port))
    return sock


def _widen(sock: socket.socket) -> None:
    """Room for some thousands of datagrams, where the kernel lets us have it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
