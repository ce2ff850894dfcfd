"""``check smtp``: a greeting, and an answer to EHLO (RFC 5321, 4.2)."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import Final

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.checks.connection import Connection, connected
from nftlbc.probe.result import Failure, Finding
from nftlbc.probe.target import Target

_REPLY: Final = re.compile(rb"(?:\d{3}-[^\n]*\n)*(\d{3})(?: [^\n]*)?\r?\n")


async def check(target: Target, attempt: Attempt) -> Finding:
    name = dict(target.check.options).get("hello") or socket.gethostname() or "localhost"
    async with connected(target, attempt) as connection:
        attempt.step = "no greeting"
        await _expect(connection, b"220", "greeting")
        attempt.step = "no answer to EHLO"
        await connection.send(f"EHLO {name}\r\n".encode("ascii", "replace"))
        await _expect(connection, b"250", "EHLO")
        with contextlib.suppress(OSError):
            await connection.send(b"QUIT\r\n")
    return Finding("answers EHLO")


async def _expect(connection: Connection, wanted: bytes, what: str) -> None:
    found = b""
    while (reply := _REPLY.match(found)) is None:
        more = await connection.receive()
        if not more:
            raise Failure("closed", f"connection closed: {what}")
        found += more
        # Replies are short; one that is neither done nor begins as it must is none.
        if len(found) > 8192 or not found[:3].isdigit():
            raise Failure("no-smtp", f"no SMTP: {what}")
    if reply[1] != wanted:
        code = reply[1].decode()
        raise Failure(f"smtp-{code}", f"{code} to {what}" if what == "EHLO" else f"{what} {code}")
