"""probe as a service: each check at its own interval, and what follows from it at once."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from nftlbc.farms import Farm
from nftlbc.nft import conntrack
from nftlbc.nft.conntrack import Open
from nftlbc.nft.program import NftError
from nftlbc.plan.recall import Recalled
from nftlbc.probe import engine, judging, loads, weights
from nftlbc.probe.asking import (
    PAUSE,
    Series,
    is_down,
    repeats,
    together,
    with_checks,
)
from nftlbc.probe.attempt import Shared
from nftlbc.probe.farms_file import FarmsFile
from nftlbc.probe.judging import Event, Outcome
from nftlbc.probe.notify import notify, watchdog
from nftlbc.probe.target import Target, Use, targets
from nftlbc.probe.turns import Turns
from nftlbc.probe.watching import Watched
from nftlbc.probe.weighing import Weighing
from nftlbc.table.numbers import known_as

JITTER: Final = 0.1
"""Checks are made up to a tenth of their interval sooner, lest they come in bursts."""
_GATHER: Final = 0.003
"""Seconds in which what fails together is put into one transaction."""
_FLUSH: Final = 60.0
"""Seconds after which averages and counts are written to the table, where nothing else was."""
_AFRESH: Final = 600.0
"""Seconds after which files of authorities and secrets are read again."""
_COUNTING: Final = 10
"""Counting connections takes at most one part of so many of the time."""
Tell = Callable[[Sequence[Event]], None]


def run(file: str, every: float, *, hold: bool, tell: Tell) -> None:
    """Runs until SIGTERM or SIGINT. Raises NftError where there is no table to begin with."""
    asyncio.run(_Loop(file, every, hold, tell).run())


@dataclass(slots=True)
class _Asked:
    """One target."""

    target: Target
    uses: list[Use]
    interval: float
    series: Series | None = None
    doubtful: bool = False
    """Its last answer was none."""


@dataclass(slots=True)
class _Backend:
    """What the checks of one backend said since it was judged."""

    asked: list[tuple[Use, _Asked]] = field(default_factory=list)
    fresh: set[Target] = field(default_factory=set)


class _Loop:
    def __init__(self, file: str, every: float, hold: bool, tell: Tell) -> None:
        self._file = FarmsFile(file)
        self._every, self._hold, self._tell = every, hold, tell
        self._asked: dict[Target, _Asked] = {}
        self._backends: dict[tuple[str, str], _Backend] = {}
        self._due: list[tuple[float, int, Target]] = []
        self._number = itertools.count()
        self._pending: dict[tuple[str, str], Outcome] = {}
        self._work = asyncio.Event()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._reload = False
        self._busy = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._unwritten: set[str] = set()
        self._written = self._shared_since = time.monotonic()
        self._shared = Shared()
        self._weighing = Weighing()
        self._turns: list[Turns[_Asked]] = []
        self._count_after = 0.0
        self._random = random.Random()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._watched = await asyncio.to_thread(Watched)
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
            loop.add_reader(self._watched.fileno(), self._wake.set)
            await self._read_file(first=True)
            parts = [
                asyncio.create_task(part)
                for part in (self._schedule(), self._judge(), self._tick())
            ]
            stop = asyncio.create_task(self._stop.wait())
            notify(f"READY=1\nSTATUS=checking {len(self._backends)} backends")
            done, _ = await asyncio.wait([stop, *parts], return_when=asyncio.FIRST_COMPLETED)
            notify("STOPPING=1")
            checks = [task for turns in self._turns for task in turns.running]
            await self._end([stop, *parts, *checks, *self._running])
            for part in done - {stop}:
                part.result()
            await self._flush()
        finally:
            loop.remove_reader(self._watched.fileno())
            self._watched.close()
            self._shared.close()

    def _hang_up(self) -> None:
        self._reload = True
        self._wake.set()

    @staticmethod
    async def _end(tasks: Iterable[asyncio.Task[object]]) -> None:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)

    # What is asked, and when.

    async def _read_file(self, *, first: bool = False) -> None:
        farms, problem = await asyncio.to_thread(self._file.read)
        if problem is not None:
            if first:
                raise NftError(*problem)
            self._say([Event("error", "", "", f"{problem[0]}; the checks stay as they were")])
            return
        self._watched.remember(with_checks(self._watched.farms.values(), farms))
        self._lay_out()

    def _lay_out(self) -> None:
        """Who is asked what, after the file or the table has changed; series go on."""
        before, self._asked, self._backends = self._asked, {}, {}
        begin = time.monotonic()
        for target, uses in targets(self._watched.farms.values()).items():
            interval = min(use.check.interval for use in uses) / 1000
            asked = before.get(target)
            if asked is None:
                asked = _Asked(target, uses, interval)
                # The first round is spread over one interval, and begins at once.
                wait = self._random.uniform(0, min(interval, 5.0)) if len(before) else 0.0
                self._put(target, begin + wait)
            else:
                asked.uses, asked.interval = uses, interval
            self._asked[target] = asked
            for use in uses:
                name = use.farm.name, use.backend.name
                self._backends.setdefault(name, _Backend()).asked.append((use, asked))
        self._weighing.lay_out({target: each.uses for target, each in self._asked.items()})

    def _put(self, target: Target, when: float) -> None:
        heapq.heappush(self._due, (when, next(self._number), target))
        self._work.set()

    async def _schedule(self) -> None:
        turns = {kind: Turns(most, self._one) for kind, most in engine.DEAR.items()}
        plain = Turns(engine.CONCURRENCY, self._one)
        self._turns = [plain, *turns.values()]
        begun = 0
        while True:
            self._work.clear()
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, target = heapq.heappop(self._due)
                asked = self._asked.get(target)
                if asked is not None:  # else nobody wants to know any more
                    # Where too many are due at once, those that are asked often go first.
                    turns.get(target.check.kind, plain).add(asked, asked.interval)
                    begun += 1
                    if begun % engine.STRIDE == 0:
                        await asyncio.sleep(0)
            wait = self._due[0][0] - time.monotonic() if self._due else None
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._work.wait(), wait)

    async def _one(self, asked: _Asked) -> None:
        await self._ask(asked)
        # Never later than its interval: a death must be noticed within it.
        wait = asked.interval * (1 - self._random.uniform(0, JITTER))
        self._put(asked.target, time.monotonic() + wait)

    async def _ask(self, asked: _Asked) -> None:
        series = Series()
        while True:
            result = await engine.ask(asked.target, self._shared)
            series.results.append(result)
            self._weighing.heard(asked.target, result)
            asked.doubtful = not result.passed and result.silent
            if result.passed or len(series.results) >= repeats(self._uses(asked)):
                break
            await asyncio.sleep(PAUSE)
        asked.series = series
        for use in asked.uses:
            self._heard((use.farm.name, use.backend.name), asked.target)

    def _uses(self, asked: _Asked) -> list[Use]:
        """With what is known of the backends by now."""
        return [self._now(use) for use in asked.uses]

    def _now(self, use: Use) -> Use:
        farm = self._watched.farms.get(use.farm.name, use.farm)
        for each in farm.backends:
            if (each.address, each.port) == (use.backend.address, use.backend.port):
                return Use(farm, each, use.check)
        return use

    def _heard(self, name: tuple[str, str], target: Target) -> None:
        """A backend is judged at once when a check fails; when it is down, and so needs several
        successes, once all its checks have been made anew."""
        backend = self._backends.get(name)
        if backend is None:
            return
        backend.fresh.add(target)
        several = [(self._now(use), asked.series) for use, asked in backend.asked]
        made = [(use, series) for use, series in several if series is not None]
        if len(made) < len(several):
            return
        outcome = together(made)
        down = any(is_down(use) for use, _ in made)
        if outcome.passed and down and len(backend.fresh) < len(backend.asked):
            return
        backend.fresh.clear()
        self._pending[name] = outcome
        self._wake.set()

    # What follows.

    async def _judge(self) -> None:
        """Takes what was heard, and changes of the table by others, as soon as they come."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            self._wake.clear()
            async with self._busy:
                await self._guarded(self._catch_up())
                await self._guarded(self._apply_pending())

    async def _guarded(self, work: object) -> None:
        """What the kernel refuses now it may grant at the next tick."""
        try:
            await work  # type: ignore[misc]
        except NftError as refusal:
            self._say([Event("error", "", "", refusal.message)])

    async def _catch_up(self) -> None:
        if self._reload:
            self._reload = False
            await self._read_file()
        if self._watched.disturbed():
            gone = await asyncio.to_thread(self._watched.refresh)
            if gone:
                self._say([Event("error", "", "", "the table was gone, and is put back")])
            farms = await asyncio.to_thread(self._file.farms)
            self._watched.remember(with_checks(self._watched.farms.values(), farms))
            self._lay_out()

    async def _apply_pending(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        held = self._suspicious(pending)
        by_farm: dict[str, dict[str, Outcome]] = {}
        for (farm, backend), outcome in pending.items():
            by_farm.setdefault(farm, {})[backend] = outcome
        now, events, changed = int(time.time()), [], []
        for name, some in by_farm.items():
            before = self._watched.farms.get(name)
            if before is None:
                continue
            after, told = judging.judge(before, some, now, held)
            events += told
            if after != before:
                changed.append(after)
        await self._commit(changed, events, held)

    def _suspicious(self, pending: dict[tuple[str, str], Outcome]) -> bool:
        """Whether so much is silent at once that the balancer's own network is in doubt."""
        if not self._hold or not any(not each.passed and each.silent for each in pending.values()):
            return False
        up: dict[str, bool] = {}
        lasted = False
        for (farm, name), backend in self._backends.items():
            uses = [(self._now(use), asked) for use, asked in backend.asked]
            if any(is_down(use) for use, _ in uses):
                continue
            for use, asked in uses:
                address = use.backend.address
                up[address] = up.get(address, True) and asked.doubtful
                check = use.backend.remembered.check
                rows = check.row if check is not None else 0
                lasted = lasted or ((farm, name) in pending and rows >= judging.HOLD_ROUNDS - 1)
        silent = sum(up.values())
        return len(up) >= judging.HOLD_FROM and silent * 2 > len(up) and not lasted

    async def _commit(self, farms: Sequence[Farm], events: list[Event], held: bool) -> None:
        """Changes the table where a state or a slot changes; else the records wait."""
        if held:
            text = "more than half of the machines fell silent at once: states are kept, for now"
            events.insert(0, Event("held", "", "", text))
        before = dict(self._watched.farms)
        urgent = [
            each for each in farms if each.moving or _states(each) != _states(before[each.name])
        ]
        waiting = [each for each in farms if each not in urgent]
        self._watched.remember(waiting)
        self._unwritten.update(each.name for each in waiting)
        if urgent:
            _, settled = await asyncio.to_thread(self._watched.change, urgent)
            self._unwritten.difference_update(each.name for each in urgent)
            events += [Event("settled", "", "", line) for line in settled.lines()]
        self._say(events)
        self._call_commands(before, [each for each in urgent if each.on_change])

    def _say(self, events: Sequence[Event]) -> None:
        if events:
            self._tell(events)

    def _call_commands(self, before: dict[str, Farm], farms: Sequence[Farm]) -> None:
        """In the background: a page that takes seconds must not keep the next backend waiting."""
        from nftlbc import on_change

        for farm in farms:
            some = list(on_change.events(before[farm.name], farm))
            if some:
                task = asyncio.create_task(self._called(farm, some))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _called(self, farm: Farm, some: Sequence[object]) -> None:
        from nftlbc import on_change

        def call() -> list[str]:
            return list(on_change.call(farm.on_change, some))  # type: ignore[arg-type]

        for problem in await asyncio.to_thread(call):
            self._say([Event("error", farm.name, "", problem)])

    # What is done from time to time.

    async def _tick(self) -> None:
        alive = watchdog()
        every = min(self._every, alive / 3) if alive else self._every
        while True:
            await asyncio.sleep(every)
            notify("WATCHDOG=1")
            if await asyncio.to_thread(self._file.changed):
                self._hang_up()
            async with self._busy:
                # Its notifications may have been lost; the table itself can't be.
                await self._guarded(self._catch_up())
                await self._guarded(self._weigh())
                if time.monotonic() - self._written > _FLUSH:
                    await self._guarded(self._flush())
            if time.monotonic() - self._shared_since > _AFRESH:
                old, self._shared = self._shared, Shared()
                self._shared_since = time.monotonic()
                asyncio.get_running_loop().call_later(60, old.close)

    async def _weigh(self) -> None:
        moving = [farm for farm in self._watched.farms.values() if farm.moving]
        connections = await self._connections(moving)
        due = [
            farm
            for farm in self._weighing.due(moving)
            # else not counted in this tick
            if connections is not None or farm.balance.scheduler != "least-connections"
        ]
        if not due:
            return
        numbers = self._watched.running.numbers.marks
        marks = {
            farm.name: {
                each.name: numbers[known_as(farm.name, each.address, each.port)]
                for each in farm.backends
            }
            for farm in due
            if farm.balance.scheduler == "least-connections"
        }
        uses, found = self._weighing.series(due)
        measured = loads.figures(Recalled(tuple(due), marks), uses, found, connections)
        now = int(time.time())
        weighed = [weights.weigh(farm, measured.get(farm.name, {}), now) for farm in due]
        changed = [after for before, after in zip(due, weighed, strict=True) if after != before]
        if changed:
            self._unwritten.update(await asyncio.to_thread(self._watched.weigh, changed))

    async def _connections(self, farms: Sequence[Farm]) -> Open | None:
        if not loads.counts_connections(farms) or time.monotonic() < self._count_after:
            return None
        begin = time.monotonic()
        try:
            return await asyncio.to_thread(conntrack.count)
        except NftError:
            return None
        finally:
            took = time.monotonic() - begin
            self._count_after = begin + took * _COUNTING

    async def _flush(self) -> None:
        """Writes the records that waited."""
        self._written = time.monotonic()
        names = self._unwritten & self._watched.farms.keys()
        self._unwritten = set()
        if names:
            some = [self._watched.farms[name] for name in sorted(names)]
            await asyncio.to_thread(self._watched.change, some)


def _states(farm: Farm) -> list[object]:
    return [(each.standing, each.remembered.cut) for each in farm.backends]
