"""probe as a service: each check at its own interval, and what follows from it at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Final

from nftlbc.farms import Farm
from nftlbc.nft import conntrack, lock
from nftlbc.nft.conntrack import Open
from nftlbc.nft.program import NftError
from nftlbc.plan import in_use
from nftlbc.plan.recall import Recalled
from nftlbc.plan.settling import Settled
from nftlbc.probe import judging, loads, packages, weights
from nftlbc.probe.afterwards import Afterwards
from nftlbc.probe.asking import not_applied, with_checks
from nftlbc.probe.attempt import Shared
from nftlbc.probe.commands import Commands
from nftlbc.probe.farms_file import FarmsFile, Mistaken
from nftlbc.probe.judging import Event, Outcome
from nftlbc.probe.notify import notify, watchdog
from nftlbc.probe.rounds import Name, Rounds
from nftlbc.probe.watching import Watched
from nftlbc.states import NOT_YET
from nftlbc.table.numbers import known_as

_GATHER: Final = 0.003
"""Seconds in which what fails together is put into one transaction."""
_AGAIN: Final = 1.0
"""Seconds after which what was refused is tried again."""
_REPEAT: Final = 60.0
"""Seconds after which the same trouble is told again."""
_FLUSH: Final = 60.0
"""Seconds after which averages and counts are written to the table, where nothing else was."""
_AFRESH: Final = 600.0
"""Seconds after which files of authorities and secrets are read again."""
_COUNTING: Final = 10
"""Counting connections takes at most one part of so many of the time."""
_ENDING: Final = 0.5
"""Seconds for what is being changed when the service ends."""
Tell = Callable[[Sequence[Event]], None]


def run(file: str, every: float, *, hold: bool, tell: Tell) -> None:
    """Runs until SIGTERM or SIGINT. Raises NftError where there is no table to begin with, and
    Mistaken where the file has mistakes then."""
    with lock.keeping():
        asyncio.run(_Loop(file, every, hold, tell).run())


class _Loop:
    def __init__(self, file: str, every: float, hold: bool, tell: Tell) -> None:
        self._file = FarmsFile(file)
        self._every, self._hold, self._tell = every, hold, tell
        self._pending: dict[Name, Outcome] = {}
        self._not_before = 0.0
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._reload = False
        self._busy = asyncio.Lock()
        self._unwritten: set[str] = set()
        self._unapplied = ""
        """What was told of farms of the file that are not in the table."""
        self._told: dict[str, float] = {}
        self._shared_since = time.monotonic()
        self._written = self._shared_since - _FLUSH  # the first tick tells that checks are made
        self._count_after = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        with _lasting():
            self._watched = await asyncio.to_thread(Watched)
        self._rounds = Rounds(
            lambda: self._watched.farms, self._heard, self._say, opinions=self._hold
        )
        self._commands = Commands(self._say)
        self._afterwards = Afterwards(self._watched.serving, self._settled)
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
            loop.add_reader(self._watched.fileno(), self._wake.set)
            with _lasting():
                await asyncio.to_thread(self._file.read)
                await self._take_over()
            self._say([Event("started", "", "", f"{self._checking()}; Ctrl-C ends it")])
            works = (self._rounds.run(), self._judge(), self._tick(), self._beat())
            parts = [asyncio.create_task(work) for work in works]
            stop = asyncio.create_task(self._stop.wait())
            notify("READY=1")
            done, _ = await asyncio.wait([stop, *parts], return_when=asyncio.FIRST_COMPLETED)
            notify("STOPPING=1")
            await self._end([stop, *parts])
            for part in done - {stop}:
                part.result()
        finally:
            loop.remove_reader(self._watched.fileno())
            self._watched.close()
            self._rounds.shared.close()

    def _checking(self) -> str:
        checked = sum(bool(each.checks) for each in self._watched.farms.values())
        backends, farms = len(self._rounds), f"{checked} farm{'' if checked == 1 else 's'}"
        return f"checking {backends} backend{'' if backends == 1 else 's'} of {farms}"

    async def _end(self, parts: Sequence[asyncio.Task[Any]]) -> None:
        """What is being changed is finished, where nobody else keeps the lock meanwhile."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._busy.acquire(), _ENDING)
        self._watched.leave()
        for part in parts:
            part.cancel()
        settled = asyncio.create_task(self._afterwards.done())
        await asyncio.wait([*parts, settled], timeout=5)
        with contextlib.suppress(NftError, OSError):
            await self._flush()
        await self._commands.close()

    def _hang_up(self) -> None:
        self._reload = True
        self._wake.set()

    async def _take_over(self) -> None:
        """Checks and commands as the file has them, for the farms as the table has them."""
        before = dict(self._watched.farms)
        farms = with_checks(before.values(), self._file.farms())
        unchecked = [each for each in farms if _states(each) != _states(before[each.name])]
        self._watched.remember(farms)
        for name in self._rounds.lay_out():
            self._pending.pop(name, None)
        notify(f"STATUS=checking {len(self._rounds)} backends")
        for each in packages.missing(self._file.farms()):
            self._complain("error", f"{each.message}, and is not made: {each.help}")
        if unchecked:
            await self._change(unchecked)
        unapplied = not_applied(before, self._file.farms())
        if unapplied and unapplied != self._unapplied:
            self._say([Event("warning", "", "", unapplied)])
        self._unapplied = unapplied

    def _heard(self, name: Name, outcome: Outcome | None) -> None:
        if outcome is None:  # as nearly always
            self._pending.pop(name, None)
        else:
            self._pending[name] = outcome
            self._wake.set()

    def _say(self, events: Sequence[Event]) -> None:
        if events:
            self._tell(events)

    def _complain(self, kind: str, text: str) -> None:
        """Once a minute while it lasts."""
        now = time.monotonic()
        self._told = {known: at for known, at in self._told.items() if now - at < _REPEAT}
        if text not in self._told:
            self._told[text] = now
            self._say([Event(kind, "", "", text)])

    # What follows from answers, and from what others do to the table.

    async def _judge(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            self._wake.clear()
            async with self._busy:
                await self._guarded(self._catch_up())
                await self._guarded(self._apply_pending())

    async def _guarded(self, work: Awaitable[None]) -> None:
        """What the system refuses now it may grant at the next tick."""
        try:
            await work
        except (NftError, OSError) as refusal:
            self._complain("error", _words(refusal))

    async def _catch_up(self) -> None:
        disturbed, reload = self._watched.disturbed(), self._reload
        self._reload = False
        if disturbed or reload:
            with _lasting():
                await self._read_again(disturbed, reload)

    async def _read_again(self, disturbed: bool, reload: bool) -> None:
        if reload:
            self._unapplied = ""
            try:
                await asyncio.to_thread(self._file.read)
            except Mistaken as problem:
                text = f"{problem.message}: {problem.remedy}; the checks stay as they were"
                self._say([Event("error", "", "", text)])
                reload = False
        if disturbed and await asyncio.to_thread(self._watched.refresh):
            self._say([Event("error", "", "", "the table was gone, and is put back")])
        await self._take_over()
        if in_use.probed(self._watched.running.kernel) == NOT_YET:  # a table made meanwhile
            self._written = time.monotonic() - _FLUSH
        if reload:
            self._say([Event("started", "", "", f"the farms file was read: {self._checking()}")])

    async def _apply_pending(self) -> None:
        if not self._pending or time.monotonic() < self._not_before:
            return
        pending, self._pending = self._pending, {}
        held = self._hold and self._rounds.suspicious(pending)
        if held:
            text = "more than half of the machines fell silent at once: states are kept, for now"
            self._complain("held", text)
        by_farm: dict[str, dict[str, Outcome]] = {}
        for (farm, backend), outcome in pending.items():
            by_farm.setdefault(farm, {})[backend] = outcome
        now = int(time.time())
        before = dict(self._watched.farms)
        events, urgent, waiting = list[Event](), list[Farm](), list[Farm]()
        for name in by_farm.keys() & before.keys():
            after, told = judging.judge(before[name], by_farm[name], now, held)
            events += told
            if after.moving or _states(after) != _states(before[name]):
                urgent.append(after)
            elif after != before[name]:
                waiting.append(after)
        self._watched.remember(waiting)
        self._unwritten.update(each.name for each in waiting)
        if urgent:
            names = {each.name for each in urgent}
            try:
                await self._change(urgent)
            except (NftError, OSError):
                again = {name: each for name, each in pending.items() if name[0] in names}
                self._pending = {**again, **self._pending}
                self._not_before = time.monotonic() + min(_AGAIN, self._every)
                raise
            self._unwritten -= names
        self._say(events)
        for each in urgent:
            self._commands.call(before[each.name], each)

    async def _change(self, farms: Sequence[Farm]) -> None:
        """Changes the table; what has to follow for connections must not keep the next waiting."""
        plan = await asyncio.to_thread(self._watched.change, farms)
        self._afterwards.add(plan)

    def _settled(self, settled: Settled, names: Collection[str]) -> None:
        # Of several it is counted together: the lines before it say which.
        farm, _, backend = min(names).partition("/") if len(names) == 1 else ("", "", "")
        self._say([Event("settled", farm, backend, line) for line in settled.lines()])
        for problem in settled.problems:
            self._complain("error", _words(problem))

    # What is done from time to time.

    async def _beat(self) -> None:
        """Tells the manager that the loop turns. What it waits for in threads, a lock or nft, has
        deadlines of its own."""
        alive = watchdog()
        while alive:
            notify("WATCHDOG=1")
            await asyncio.sleep(alive / 3)
        await self._stop.wait()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            if await asyncio.to_thread(self._file.changed):
                self._hang_up()
            # Not while anybody waits: it takes seconds where there are a million.
            connections = await self._connections()
            async with self._busy:
                # Its notifications may have been lost; the table itself can't be.
                await self._guarded(self._catch_up())
                await self._guarded(self._apply_pending())
                await self._guarded(self._weigh(connections))
                if time.monotonic() - self._written > _FLUSH:
                    await self._guarded(self._flush())
            if time.monotonic() - self._shared_since > _AFRESH:
                old, self._rounds.shared = self._rounds.shared, Shared()
                self._shared_since = time.monotonic()
                asyncio.get_running_loop().call_later(60, old.close)

    async def _weigh(self, connections: Open | None) -> None:
        moving = [farm for farm in self._watched.farms.values() if farm.moving]
        weighing = self._rounds.weighing
        due = [
            farm
            for farm in weighing.due(moving)
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
        uses, found = weighing.series(due)
        measured = loads.figures(Recalled(tuple(due), marks), uses, found, connections)
        now = int(time.time())
        weighed = [weights.weigh(farm, measured.get(farm.name, {}), now) for farm in due]
        changed = [after for before, after in zip(due, weighed, strict=True) if after != before]
        if changed:
            self._unwritten.update(await asyncio.to_thread(self._watched.weigh, changed))

    async def _connections(self) -> Open | None:
        """None where they are not counted in this tick."""
        farms = self._watched.farms.values()
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
        """Writes the records that waited, and that checks are made."""
        self._written = time.monotonic()
        names = self._unwritten & self._watched.farms.keys()
        if names:
            some = [self._watched.farms[name] for name in sorted(names)]
            await asyncio.to_thread(self._watched.change, some)
        self._unwritten -= names
        if len(self._rounds):
            await asyncio.to_thread(self._watched.probed, int(time.time()))


@contextlib.contextmanager
def _lasting() -> Iterator[None]:
    """What is made meanwhile stays: it is looked through for what refers to itself once, at the
    end, and not again and again, for seconds with 10 000 farms, in which nothing else goes on."""
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def _states(farm: Farm) -> list[object]:
    """What is written at once: also what checks say of one that is held by hand, so that whoever
    puts it back knows it."""
    return [
        (each.standing, each.remembered.cut, check.state if check else "up")
        for each in farm.backends
        for check in [each.remembered.check]
    ]


def _words(problem: NftError | OSError) -> str:
    if isinstance(problem, OSError):
        return f"the system refuses: {problem.strerror or problem}"
    return f"{problem.message}: {problem.remedy}" if problem.remedy else problem.message
