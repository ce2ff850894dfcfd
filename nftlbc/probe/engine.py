"""Many checks at once, each with a deadline, and all with one."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from nftlbc.diagnostics import printable
from nftlbc.probe import checks
from nftlbc.probe.attempt import Attempt, Shared
from nftlbc.probe.result import MOST_WHY, MOST_WORD, Failure, Finding, Result, of_error
from nftlbc.probe.target import Target
from nftlbc.states import word

CONCURRENCY: Final = 2_000
"""Checks in progress at once."""
DEAR: Final = {"exec": 32, "snmp": 32}
"""Kinds that cost more than a socket, and how many of each at once."""
_SPARE_FILES: Final = 64
_MOST_FILES: Final = 65_536
STRIDE: Final = 16
"""Checks that begin before those in progress are looked after. So there are no more in progress
than answers are waited for, and the time of one that answers is its own, not that of the others:
with 2 000 begun at once the median of TCP checks was 683 ms instead of 16."""
_LATE: Final = 0.05
"""Seconds that an alarm may be late before the delay is made good."""


async def run(
    targets: Iterable[Target], *, concurrency: int = CONCURRENCY, deadline: float = 60.0
) -> dict[Target, Result]:
    """The results of all that were done before the deadline (seconds from now).

    Who is missing there is not known to be well or ill. Nothing is left behind: no task, no
    socket, no child.
    """
    loop = asyncio.get_running_loop()
    most = min(concurrency, files(concurrency))
    found: dict[Target, Result] = {}
    pools: dict[str, list[Target]] = {}
    for target in dict.fromkeys(targets):
        kind = target.check.kind
        pools.setdefault(kind if kind in DEAR else "", []).append(target)
    shared, running = Shared(), set[asyncio.Task[Any]]()
    for kind, pool in pools.items():
        limit = min(most, DEAR.get(kind, most))
        running.add(loop.create_task(_all(pool, limit, shared, found)))
    try:
        if running:
            await asyncio.wait(running, timeout=deadline)
    finally:
        await _end(running)
        shared.close()
    for task in running:
        if task.done() and not task.cancelled():
            task.result()
    return found


async def _all(
    targets: list[Target], most: int, shared: Shared, found: dict[Target, Result]
) -> None:
    loop = asyncio.get_running_loop()
    free = asyncio.Semaphore(most)
    running: set[asyncio.Task[None]] = set()

    async def one(target: Target) -> None:
        found[target] = await ask(target, shared)

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        free.release()

    try:
        for number, target in enumerate(targets):
            await free.acquire()
            task = loop.create_task(one(target))
            running.add(task)
            task.add_done_callback(ended)
            if number % STRIDE == 0:
                await asyncio.sleep(0)
        if running:
            await asyncio.wait(set(running))
    finally:
        await _end(running)


async def _end(running: set[asyncio.Task[Any]]) -> None:
    """Cancels what still runs, and waits until it has cleared up."""
    left = {task for task in running if not task.done()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=5)


async def ask(target: Target, shared: Shared) -> Result:
    """The result of one check, at most its timeout (and a turn of the loop) from now."""
    task = asyncio.current_task()
    assert task is not None
    attempt = Attempt(shared, target.limit)
    begin = time.perf_counter()
    alarm = _Alarm(task, target.limit)
    try:
        finding = await checks.of_kind(target.check.kind)(target, attempt)
    except asyncio.CancelledError:
        if not alarm.rang:
            raise
        alarm.heard(task)
        finding = attempt.overdue()
    except Failure as failure:
        finding = failure.finding
    except OSError as problem:
        finding = of_error(problem)
    except ImportError as problem:
        text = f"needs the Python package {problem.name}"
        finding = Finding(text, "package", passed=False, silent=True)
    except Exception as problem:
        # Only its kind is told: the text might hold what it was given, a secret among it.
        finding = Finding(f"failed with {type(problem).__name__}", "error", passed=False)
    finally:
        alarm.off()
    return _result(target, finding, time.perf_counter() - begin)


def _result(target: Target, finding: Finding, seconds: float) -> Result:
    why = printable(f"{target} {finding.text}")
    return Result(
        finding.passed,
        why if len(why) <= MOST_WHY else f"{why[: MOST_WHY - 1]}…",
        word(finding.word, MOST_WORD),
        seconds,
        finding.silent,
        finding.warning and printable(finding.warning),
        finding.figure,
        finding.order,
    )


class _Alarm:
    """Cancels a task when its time is over.

    An alarm that is late itself (the process was stopped, or another one had the processor) says
    nothing about the backend: the answer may lie there, unread. So the delay is made good once.
    """

    __slots__ = ("_due", "_handle", "_late", "_limit", "_loop", "_task", "rang")

    def __init__(self, task: asyncio.Task[Any], limit: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task, self._limit, self._late, self.rang = task, limit, False, False
        self._due = self._loop.time() + limit
        self._handle = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        late = self._loop.time() - self._due
        if late > _LATE and not self._late:
            self._late = True
            self._handle = self._loop.call_later(min(late, self._limit), self._ring)
            return
        self.rang = True
        self._task.cancel()

    def heard(self, task: asyncio.Task[Any]) -> None:
        """The task is not being cancelled by anybody else (Python 3.11 counts)."""
        if (uncancel := getattr(task, "uncancel", None)) is not None:
            uncancel()

    def off(self) -> None:
        self._handle.cancel()


def files(wanted: int) -> int:
    """How many more files may be opened, after asking for as many as are wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = min(wanted + 2 * _SPARE_FILES + 256, _MOST_FILES)
    if hard != resource.RLIM_INFINITY:
        need = min(need, hard)
    if need > soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
        soft = need
    used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    free = soft if soft != resource.RLIM_INFINITY else _MOST_FILES
    return max(1, free - used - _SPARE_FILES)
