"""The farms' ``on-change`` commands, called in the background: one that takes its time, or hangs,
keeps nobody waiting but those of its own farm, which are called in their order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from nftlbc import on_change
from nftlbc.farms import Farm
from nftlbc.probe.judging import Event

GRACE = 0.5
"""Seconds for those that run when the service ends."""


class Commands:
    def __init__(self, tell: Callable[[list[Event]], None]) -> None:
        self._tell = tell
        self._last: dict[str, asyncio.Task[None]] = {}

    def call(self, before: Farm, after: Farm) -> None:
        """For what changed between two states of a farm."""
        some = list(on_change.events(before, after)) if after.on_change else []
        if some:
            earlier = self._last.get(after.name)
            task = asyncio.create_task(self._called(after, some, earlier))
            self._last[after.name] = task
            task.add_done_callback(lambda done: self._ended(after.name, done))

    def _ended(self, farm: str, task: asyncio.Task[None]) -> None:
        if self._last.get(farm) is task:
            del self._last[farm]

    async def _called(
        self, farm: Farm, some: Sequence[on_change.Event], earlier: asyncio.Task[None] | None
    ) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        for each in some:
            wrong = await _run(farm.on_change, each)
            if wrong is not None:
                text = f"on-change of farm {farm.name}: {farm.on_change[0]} {wrong}"
                self._tell([Event("error", farm.name, "", text)])
                if "deadline" in wrong:
                    return

    async def close(self) -> None:
        """Those that still run after a moment are killed."""
        left = set(self._last.values())
        if left:
            _, late = await asyncio.wait(left, timeout=GRACE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=GRACE)


async def _run(command: Sequence[str], event: on_change.Event) -> str | None:
    """What went wrong."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, **on_change.surroundings(event), start_new_session=True
        )
    except OSError as problem:
        return on_change.unstartable(problem)
    try:
        return on_change.ending(await asyncio.wait_for(process.wait(), on_change.DEADLINE))
    except BaseException as ended:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if isinstance(ended, asyncio.TimeoutError):
            return on_change.OVERDUE
        raise
