"""One request on its way: how each protocol sets out, and how it takes what comes back."""

import errno
import os
import socket
import struct
from abc import ABC, abstractmethod
from collections import defaultdict
from contextlib import suppress
from time import perf_counter

from nftlbc.sandbox import sctp
from nftlbc.sandbox.identity import read_identity
from nftlbc.sandbox.request import Answer, Outcome, Request

# <linux/in.h>, <linux/in6.h>: Python has no names for these.
_IP_RECVERR = 11
_IPV6_RECVERR = 25

_CLOSE_BY_RESET = struct.pack("ii", 1, 0)
_CLOSE_IN_ORDER = struct.pack("ii", 0, 0)

_FIRST_PORT, _PORTS = 1024, 65536 - 1024

_OUTCOMES: dict[int, Outcome] = {
    errno.ECONNREFUSED: "refused",
    errno.EPERM: "refused",
    errno.EACCES: "refused",
    # ICMP protocol unreachable, of IPv4 and of IPv6: the host is there and says no.
    errno.ENOPROTOOPT: "refused",
    errno.EPROTO: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "silent",
}


class SourcePorts:
    """Source ports, none of an address twice before all 64 512 have been used.

    The kernel would pick one used before much sooner (UDP: at random). As long as conntrack
    knows the old flow (UDP 30 s, a TCP connection that was not answered 120 s), the new one
    goes where the old one went: beside a dead backend, 1 206 of 20 000 connections were seen
    to go there out of turn, and no round robin could be checked exactly.
    """

    def __init__(self, used: int = 0) -> None:
        self._used: defaultdict[tuple[str, str | None], int] = defaultdict(lambda: used)

    def next(self, request: Request) -> int:
        key = (request.protocol, request.source)
        used = self._used[key]
        self._used[key] = used + 1
        return _FIRST_PORT + used % _PORTS

    def bind(self, request: Request, sock: socket.socket) -> None:
        """Give a socket the request's source, and a port that is not in use."""
        address = request.source or ""
        if request.source_port:
            sock.bind((address, request.source_port))
            return
        for _ in range(_PORTS):
            try:
                sock.bind((address, self.next(request)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class Flight(ABC):
    """A request that has set out; `socket` becomes readable when there is news."""

    def __init__(self, request: Request, sock: socket.socket, start: float) -> None:
        self.request = request
        self.socket = sock
        self.start = start

    @abstractmethod
    def read(self) -> Answer | None:
        """The answer, if what has come in is one."""

    def conclude(self, outcome: Outcome, error: str = "") -> Answer:
        return Answer(self.request, outcome, seconds=perf_counter() - self.start, error=error)

    def fail(self, error: OSError) -> Answer:
        """The answer that an errno stands for."""
        return _failed(self.request, self.start, error)

    def answered(self, line: bytes, said: bytes) -> Answer | None:
        """What a backend's line says; None when it repeats something other than `said`."""
        seconds = perf_counter() - self.start
        try:
            backend, backend_port, seen, seen_port, repeated = read_identity(line)
        except ValueError:
            return self.conclude("failed", "no backend's answer")
        if repeated != said:
            return None
        return Answer(self.request, "answered", backend, backend_port, seen, seen_port, seconds)


class Conversation(Flight):
    """TCP or UDP: what can be held and spoken on again.

    number: its name while it is held; None before and when it is not.
    is_stream: TCP, which ends with the first error; a UDP flow outlives any.
    """

    def __init__(self, request: Request, sock: socket.socket, start: float) -> None:
        super().__init__(request, sock, start)
        self.number: int | None = None
        self.is_stream = request.protocol == "tcp"
        self._line = b""
        # What the backend must repeat; nothing for the first line of a TCP connection, which
        # comes unasked.
        self._said = b""
        self._times = 0

    def say(self, text: bytes) -> None:
        """Speak, or (b"") only listen. Raises OSError where it has ended already."""
        self.start = perf_counter()
        self._line = b""
        self._said = b""
        if text:
            # Counted, lest a late answer to the same words is taken for this one's.
            self._times += 1
            self._said = b"%s %d" % (text, self._times)
            self.socket.send(self._said + b"\n")

    def read(self) -> Answer | None:
        try:
            data = self.socket.recv(1024)
        except BlockingIOError:
            return None
        except OSError as error:
            return self.fail(error)
        if self.is_stream:
            if not data:
                return self.conclude("reset", "EOF")
            data = self._line = self._line + data
        if not data.endswith(b"\n"):
            return None
        self._line = b""
        return self.answered(data[:-1].rpartition(b"\n")[2], self._said)

    def hang_up(self, *, reset: bool) -> None:
        """Close it, a TCP connection with RST or with FIN."""
        if self.is_stream:
            linger = _CLOSE_BY_RESET if reset else _CLOSE_IN_ORDER
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()


class Init(Flight):
    """SCTP: one INIT from a raw socket, known again by its initiate tag."""

    def __init__(
        self, request: Request, sock: socket.socket, start: float, source_port: int, tag: int
    ) -> None:
        super().__init__(request, sock, start)
        self._source_port = source_port
        self._tag = tag

    def read(self) -> Answer | None:
        try:
            packet = self.socket.recv(2048)
        except BlockingIOError:
            return None
        except OSError as error:
            return self.fail(error) if self._is_about_us() else None
        if self.socket.family == socket.AF_INET:
            packet = packet[(packet[0] & 15) * 4 :]
        reply = sctp.read_reply(packet, self._source_port, self.request.port, self._tag)
        if reply is None:
            return None
        if reply.line is None:
            return self.conclude("refused", "ABORT")
        return self.answered(reply.line, b"")

    def _is_about_us(self) -> bool:
        """An ICMP error reaches every raw socket between two addresses, with a quotation."""
        with suppress(OSError):
            while True:
                quoted, _, _, _ = self.socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
                if sctp.is_init_of(quoted, self._tag):
                    return True
        return False


def set_out(request: Request, ports: SourcePorts) -> Flight | Answer:
    """Send the request off; an Answer if it ends at once."""
    start = perf_counter()
    sock = None
    try:
        sock = _socket(request)
        if request.protocol == "tcp":
            return _connect(request, sock, start, ports)
        if request.protocol == "udp":
            return _send_datagram(request, sock, start, ports)
        return _send_init(request, sock, start, ports)
    except OSError as error:
        if sock is not None:
            sock.close()
        return _failed(request, start, error)


_KINDS = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "sctp": (socket.SOCK_RAW, socket.IPPROTO_SCTP),
}


def _socket(request: Request) -> socket.socket:
    family = socket.AF_INET6 if ":" in request.address else socket.AF_INET
    kind, number = _KINDS[request.protocol]
    return socket.socket(family, kind | socket.SOCK_NONBLOCK, number)


def _connect(request: Request, sock: socket.socket, start: float, ports: SourcePorts) -> Flight:
    # No TIME_WAIT holds the port then, and conntrack forgets after 10 s, not 120.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
    ports.bind(request, sock)
    number = sock.connect_ex((request.address, request.port))
    if number == errno.EINPROGRESS:
        # Over veth, an ICMP error may come while connect() still owns the socket: the
        # kernel keeps it as a soft error and sends the SYN again, a second later.
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    return Conversation(request, sock, start)


def _send_datagram(
    request: Request, sock: socket.socket, start: float, ports: SourcePorts
) -> Flight:
    _ask_for_errors(sock)
    ports.bind(request, sock)
    sock.connect((request.address, request.port))
    conversation = Conversation(request, sock, start)
    conversation.say(b"first")
    return conversation


def _send_init(request: Request, sock: socket.socket, start: float, ports: SourcePorts) -> Flight:
    _ask_for_errors(sock)
    if request.source is not None:
        sock.bind((request.source, 0))
    sock.connect((request.address, 0))
    source_port = request.source_port or ports.next(request)
    tag = int.from_bytes(os.urandom(4), "big") or 1
    sock.send(sctp.init(source_port, request.port, tag))
    return Init(request, sock, start, source_port, tag)


def _ask_for_errors(sock: socket.socket) -> None:
    """Without this, UDP and raw sockets are told of a closed port, but not of a host or a
    network that cannot be reached."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def _failed(request: Request, start: float, error: OSError) -> Answer:
    number = error.errno or 0
    return Answer(
        request,
        _OUTCOMES.get(number, "failed"),
        seconds=perf_counter() - start,
        error=errno.errorcode.get(number, str(number)),
    )
