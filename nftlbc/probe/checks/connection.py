"""A connection, TCP or UDP, with or without TLS, from which not more than so much is read.

Sockets themselves and not asyncio's streams: nothing reads ahead, nothing lives on when it is
closed, and a closed TCP connection is reset, so that no check leaves one in TIME_WAIT (a minute
here, two in the connection tracking of the machines between).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Final

from nftlbc.farms import Address
from nftlbc.probe.attempt import Attempt
from nftlbc.probe.result import Failure
from nftlbc.probe.target import Target

MOST: Final = 128 * 1024
"""Bytes that are read of one connection, TLS's own included."""
_CHUNK: Final = 16 * 1024
_RESET: Final = struct.pack("ii", 1, 0)
_BIND_ADDRESS_NO_PORT: Final = 24
"""linux/in.h: the port is chosen when it is known whereto, so that one is enough for many."""


class Connection:
    __slots__ = ("_attempt", "_from_tls", "_left", "_loop", "_sock", "_tls", "_to_tls")

    def __init__(self, sock: socket.socket, attempt: Attempt) -> None:
        self._sock = sock
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._left = MOST
        self._tls: ssl.SSLObject | None = None

    async def send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._from_tls.read()
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self) -> bytes:
        """What has come, at least one byte; nothing at the end."""
        if self._tls is None:
            return await self._read()
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as problem:
                raise tls_failure(problem) from None

    async def line(self, most: int) -> bytes:
        """The text up to the end of a line, or of what is sent."""
        found = b""
        while b"\n" not in found and len(found) <= most:
            more = await self.receive()
            if not more:
                break
            found += more
        if b"\n" not in found[: most + 1] and len(found) > most:
            raise Failure("too-much", f"a line of more than {most} characters")
        return found

    async def handshake(self, context: ssl.SSLContext, name: str | None) -> ssl.SSLObject:
        """TLS from now on. Raises ssl.SSLError."""
        self._to_tls, self._from_tls = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._to_tls, self._from_tls, server_hostname=name)
        try:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await self._feed()
        except ssl.SSLError:
            # The server may know why: its certificate was refused.
            with contextlib.suppress(ConnectionError):
                await self._flush()
            raise
        await self._flush()
        self._tls = tls
        return tls

    async def _flush(self) -> None:
        if data := self._from_tls.read():
            await self._loop.sock_sendall(self._sock, data)

    async def _feed(self) -> None:
        await self._flush()
        if data := await self._read():
            self._to_tls.write(data)
        else:
            raise Failure("closed", "connection closed within TLS")

    async def _read(self) -> bytes:
        if self._left <= 0:
            raise Failure("too-much", f"more than {MOST // 1024} KiB came")
        data = await self._loop.sock_recv(self._sock, _CHUNK)
        self._attempt.heard = True
        self._left -= len(data)
        return data


def tls_failure(problem: ssl.SSLError) -> Failure:
    if isinstance(problem, ssl.SSLCertVerificationError):
        text = str(problem.verify_message).rstrip(".")
        return Failure("certificate", f"certificate: {text}")
    return Failure("tls", f"TLS: {(problem.reason or 'error').lower().replace('_', ' ')}")


@contextlib.asynccontextmanager
async def connected(
    target: Target, attempt: Attempt, kind: socket.SocketKind = socket.SOCK_STREAM
) -> AsyncIterator[Connection]:
    """Connected to the target. Raises OSError."""
    sock = opened(target.address, target.check.source, kind)
    try:
        if kind == socket.SOCK_STREAM:
            attempt.step = "no connection"
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (target.address, target.port))
        if kind == socket.SOCK_STREAM:
            attempt.heard = True
        attempt.step = "no answer"
        yield Connection(sock, attempt)
    finally:
        sock.close()


def opened(address: Address, source: Address | None, kind: socket.SocketKind) -> socket.socket:
    """A socket for the address, from the source of the same family."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if source is not None and (":" in source) == (":" in address):
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
    except OSError:
        sock.close()
        raise
    return sock
