"""``check tcp``: a connection is accepted."""

from __future__ import annotations

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.checks.connection import connected
from nftlbc.probe.result import Finding
from nftlbc.probe.target import Target


async def check(target: Target, attempt: Attempt) -> Finding:
    async with connected(target, attempt):
        return Finding("connected")
