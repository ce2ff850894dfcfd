"""Asking the kernel: one request, and its one answer or its dump."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final

from nftlbc.nft.netlink.messages import (
    ACK,
    BEGIN,
    DONE,
    DUMP,
    END,
    ERROR,
    FAMILY,
    GET_GENERATION,
    HEADER,
    INET,
    INTERRUPTED,
    NEW_GENERATION,
    NF_TABLES,
    REQUEST,
    Malformed,
    Message,
    attributes,
    messages,
    number,
)
from nftlbc.nft.program import NftError

NETLINK_NETFILTER: Final = 12
_FORCE_BUFFER: Final = 33
"""SO_RCVBUFFORCE, which the socket module does not name."""
_LARGEST: Final = 64 * 1024
"""Bytes of one datagram. The kernel fills 32 KiB at most, however large the buffer is."""
_PATIENCE: Final = 10.0
"""Seconds for one datagram; the kernel answers while it is asked."""


class Disturbed(Exception):
    """The table changed while it was read: what was read is of no use."""


def open_socket(groups: int = 0) -> socket.socket:
    """A netlink socket of netfilter's; ``groups``: a mask of what it shall be notified of.

    Raises NftError where the kernel or its rights don't allow it.
    """
    try:
        found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    except OSError as problem:
        raise refused(problem.errno or 0) from None
    try:
        found.bind((0, groups))
    except OSError as problem:
        found.close()
        raise refused(problem.errno or 0) from None
    return found


def enlarge(receiver: socket.socket, size: int) -> None:
    """As much room for what has not been read yet as this process may have, up to ``size``."""
    try:
        receiver.setsockopt(socket.SOL_SOCKET, _FORCE_BUFFER, size)
    except OSError:
        with contextlib.suppress(OSError):
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def receive(receiver: socket.socket) -> bytes:
    """One datagram from the kernel. Raises OSError."""
    while True:
        data, _, flags, sender = receiver.recvmsg(_LARGEST)
        if sender[0] != 0:  # a process may send to the socket of another
            continue
        if flags & socket.MSG_TRUNC:
            raise Malformed(f"a datagram of more than {_LARGEST} bytes")
        return data


def refused(code: int) -> NftError:
    """Why the kernel does not answer."""
    if code in (errno.EPERM, errno.EACCES):
        return NftError(
            "this user may not read the kernel's tables",
            "run it as root, or with the capability CAP_NET_ADMIN",
        )
    if code in (errno.EINVAL, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
        return NftError(
            f"the kernel does not speak nf_tables ({os.strerror(code)})",
            "is this kernel older than 5.10, or built without nf_tables? try: modprobe nf_tables",
        )
    return NftError(f"the kernel's table can't be read: {os.strerror(code)}")


class Connection:
    """A socket to nf_tables. All methods raise NftError where the kernel refuses."""

    def __init__(self) -> None:
        self._socket = open_socket()
        self._socket.settimeout(_PATIENCE)
        self._sequence = 0
        self.interrupted = False
        """During the last dump, something changed in some table."""

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def generation(self) -> int:
        """The number that every change to any table moves."""
        found = self.get(GET_GENERATION, NEW_GENERATION)
        return number(attributes(found or b"").get(1)) or 0

    def wait_for_transactions(self) -> None:
        """Returns when a transaction that is on its way has ended.

        The generation moves at the beginning of the kernel's work on it, and maps with intervals
        change at its end. An empty transaction has to wait for its turn, and changes nothing,
        not even the generation.
        """
        self._sequence += 1
        batch = b"".join(
            HEADER.pack(HEADER.size + FAMILY.size, kind, REQUEST, self._sequence, 0)
            + FAMILY.pack(0, 0, NF_TABLES >> 8)
            for kind in (BEGIN, END)
        )
        try:
            self._socket.send(batch)
        except OSError as problem:
            raise refused(problem.errno or 0) from None

    def get(self, kind: int, answer: int, asked: bytes = b"") -> bytes | None:
        """The attributes of the one object that is asked for; None where there is none."""
        self._send(kind, REQUEST, asked)
        for message in self._received():
            if message.kind == answer:
                return message.payload[FAMILY.size :]
            if message.kind == ERROR:
                code = _code(message)
                if code == errno.ENOENT:
                    return None
                raise refused(code)
        raise Malformed("no answer")

    def dump(self, kind: int, answer: int, asked: bytes) -> list[bytes]:
        """The attributes of all objects of a kind.

        Raises Disturbed where what is dumped went away meanwhile.
        """
        self.interrupted = False
        self._send(kind, REQUEST | DUMP, asked)
        found = []
        for message in self._received():
            self.interrupted = self.interrupted or bool(message.flags & INTERRUPTED)
            if message.kind == answer:
                found.append(message.payload[FAMILY.size :])
            elif message.kind in (DONE, ERROR):
                code = _code(message)
                if code in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    raise Disturbed
                if code:
                    raise refused(code)
                break
        return found

    def datagrams(self, kind: int, asked: bytes, family: int) -> Iterator[bytes]:
        """A dump as it comes in, headers and all. It has no end: the reader sees DONE or ERROR."""
        self._send(kind, REQUEST | DUMP, asked, family)
        while True:
            yield self._datagram()

    def done(self, kind: int, asked: Sequence[tuple[int, bytes]]) -> int:
        """Sends some requests of one kind (family and attributes of each); how many were carried
        out. What is not there is none."""
        self._sequence += 1
        self._write(
            b"".join(self._request(kind, REQUEST | ACK, each, family) for family, each in asked)
        )
        carried = answered = 0
        for message in self._received():
            if message.kind == ERROR:
                code = _code(message)
                if code not in (0, errno.ENOENT):
                    raise refused(code)
                carried += not code
                answered += 1
            if answered == len(asked):
                break
        return carried

    def _send(self, kind: int, flags: int, asked: bytes, family: int = INET) -> None:
        self._sequence += 1
        self._write(self._request(kind, flags, asked, family))

    def _request(self, kind: int, flags: int, asked: bytes, family: int) -> bytes:
        length = HEADER.size + FAMILY.size + len(asked)
        header = HEADER.pack(length, kind, flags, self._sequence, 0)
        return header + FAMILY.pack(family, 0, 0) + asked

    def _write(self, text: bytes) -> None:
        try:
            self._socket.send(text)
        except OSError as problem:
            raise refused(problem.errno or 0) from None

    def _received(self) -> Iterator[Message]:
        while True:
            for message in messages(self._datagram()):
                if message.sequence == self._sequence:
                    yield message

    def _datagram(self) -> bytes:
        try:
            return receive(self._socket)
        except TimeoutError:
            raise NftError(f"the kernel did not answer within {_PATIENCE:g} s") from None
        except OSError as problem:
            raise refused(problem.errno or 0) from None


def _code(message: Message) -> int:
    """The error that ends a dump or is its answer, 0 for none."""
    return -int.from_bytes(message.payload[:4], sys.byteorder, signed=True)
