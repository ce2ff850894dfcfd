"""``check udp``: an answer to a datagram."""

from __future__ import annotations

import socket

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.checks.connection import connected
from nftlbc.probe.result import Finding
from nftlbc.probe.target import Target


async def check(target: Target, attempt: Attempt) -> Finding:
    options = dict(target.check.options)
    # A character of the farms file is a byte: \xHH stands for any.
    wanted = str(options.get("expect", "")).encode("latin-1")
    async with connected(target, attempt, socket.SOCK_DGRAM) as connection:
        await connection.send(str(options["send"]).encode("latin-1"))
        answer = await connection.receive()
    if wanted not in answer:
        return Finding("another answer than expected", "answer", passed=False)
    return Finding(f"{len(answer)} bytes came back")
