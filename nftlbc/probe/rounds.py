"""Who is asked when, and what the answers mean for each backend: every check at its own interval,
jittered, and a check of one thing once however many farms share it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from nftlbc.farms import Farm
from nftlbc.probe import engine, judging, packages
from nftlbc.probe.asking import PAUSE, Series, is_down, repeats, together
from nftlbc.probe.attempt import Shared
from nftlbc.probe.judging import Event, Outcome
from nftlbc.probe.target import Target, Use, targets
from nftlbc.probe.turns import Turns
from nftlbc.probe.weighing import Weighing

JITTER: Final = 0.1
"""Checks are made up to a tenth of their interval sooner, lest they come in bursts."""
OPINIONS: Final = 32
"""Machines that are asked at once when one falls silent: is it that one, or our own network?"""
_FIRST: Final = 5.0
"""Seconds over which the first checks of what is new are spread, at most."""

_LONGEST: Final = 3600.0
"""Seconds until it is looked after what is due, though nothing is."""

_WELL: Final = Outcome(True)
Name = tuple[str, str]
"""Farm and backend."""


@dataclass(slots=True, eq=False)
class Asked:
    """One target."""

    target: Target
    uses: list[Use]
    interval: float
    due: float = 0.0
    """When it is asked next; 0: it is being asked."""
    series: Series | None = None
    doubtful: bool = False
    """Its last answer was none."""
    began: float = 0.0
    """Its last series."""
    heard: float = 0.0
    """When its last answer came, or was given up."""
    warning: str | None = None


@dataclass(slots=True)
class _Backend:
    """What the checks of one backend said since it was judged."""

    asked: list[tuple[Use, Asked]] = field(default_factory=list)
    fresh: set[Target] = field(default_factory=set)

    def same(self, other: _Backend) -> bool:
        """Whether the same is asked."""
        ours = {asked.target for _, asked in self.asked}
        return ours == {asked.target for _, asked in other.asked}


class Rounds:
    """farms: as they are by now, by name. heard: takes what the checks of a backend came to; None:
    it is as well as it is known to be."""

    def __init__(
        self,
        farms: Callable[[], Mapping[str, Farm]],
        heard: Callable[[Name, Outcome | None], None],
        tell: Callable[[list[Event]], None],
        *,
        opinions: bool,
    ) -> None:
        self._farms, self._heard, self._tell, self._opinions = farms, heard, tell, opinions
        self.asked: dict[Target, Asked] = {}
        self._backends: dict[Name, _Backend] = {}
        self._due: list[tuple[float, int, Asked]] = []
        self._number = itertools.count()
        self._work = asyncio.Event()
        self._random = random.Random()
        self._opinions_after = 0.0
        self.shared = Shared()
        self.weighing = Weighing()

    def __len__(self) -> int:
        return len(self._backends)

    def lay_out(self) -> set[Name]:
        """After the file or the table has changed; what is asked as before goes on. Who is asked
        otherwise than before, or no longer: what was heard of them is no answer to what is asked
        now."""
        before, self.asked = self.asked, {}
        old, self._backends = self._backends, {}
        begin = time.monotonic()
        for target, uses in packages.askable(targets(self._farms().values())).items():
            interval = min(use.check.interval for use in uses) / 1000
            asked = before.get(target)
            if asked is None:
                asked = Asked(target, uses, interval)
                wait = self._random.uniform(0, min(interval, _FIRST)) if before else 0.0
                self._put(asked, begin + wait)
            else:
                asked.uses, asked.interval = uses, interval
                if asked.due > begin + interval * (1 + JITTER):
                    self._put(asked, begin + self._random.uniform(0, interval))
            self.asked[target] = asked
            for use in uses:
                name = use.farm.name, use.backend.name
                self._backends.setdefault(name, _Backend()).asked.append((use, asked))
        self.weighing.lay_out({target: each.uses for target, each in self.asked.items()})
        new = self._backends
        return {name for name, each in old.items() if name not in new or not each.same(new[name])}

    def _put(self, asked: Asked, when: float) -> None:
        asked.due = when  # what else of it is in the heap no longer counts
        heapq.heappush(self._due, (when, next(self._number), asked))
        if self._due[0][2] is asked:
            self._work.set()

    async def run(self) -> None:
        """Asks, for ever; cancelled, it leaves nothing behind."""
        plain = Turns(engine.files(engine.CONCURRENCY), self._one)
        dear = {kind: Turns(most, self._one) for kind, most in engine.DEAR.items()}
        loop = asyncio.get_running_loop()
        begun = 0
        try:
            while True:
                self._work.clear()
                while self._due and self._due[0][0] <= time.monotonic():
                    when, _, asked = heapq.heappop(self._due)
                    # Else nobody wants to know any more, or it was put elsewhere.
                    if self.asked.get(asked.target) is asked and asked.due == when:
                        asked.due = 0.0
                        # Where too many are due at once, those that are asked often go first.
                        dear.get(asked.target.check.kind, plain).add(asked, asked.interval)
                        begun += 1
                        if begun % engine.STRIDE == 0:
                            await asyncio.sleep(0)
                # Not wait_for: before Python 3.12 it keeps a cancellation to itself that comes
                # together with work.
                wait = self._due[0][0] - time.monotonic() if self._due else math.inf
                alarm = loop.call_later(min(wait, _LONGEST), self._work.set)
                await self._work.wait()
                alarm.cancel()
        finally:
            running = {task for turns in (plain, *dear.values()) for task in turns.running}
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=5)

    async def _one(self, asked: Asked) -> None:
        try:
            await self._ask(asked)
        finally:
            # Never later than its interval: a death must be noticed within it.
            wait = asked.interval * (1 - self._random.uniform(0, JITTER))
            self._put(asked, time.monotonic() + wait)

    async def _ask(self, asked: Asked) -> None:
        series = Series()
        asked.began = time.monotonic()
        while True:
            result = await engine.ask(asked.target, self.shared)
            series.results.append(result)
            self.weighing.heard(asked.target, result)
            asked.doubtful = not result.passed and result.silent
            asked.heard = time.monotonic()
            if result.passed or len(series.results) >= repeats(
                self._now(use) for use in asked.uses
            ):
                break
            if asked.doubtful:
                self._ask_others()
            await asyncio.sleep(PAUSE)
        if self.asked.get(asked.target) is not asked:
            return  # nobody wants to know any more
        asked.series = series
        if result.warning != asked.warning:
            asked.warning = result.warning
            if result.warning:
                text = f"{asked.target}: {result.warning}"
                self._tell([Event("warning", *_name(use), text) for use in asked.uses])
        for use in asked.uses:
            self._answered(_name(use), asked.target)

    def _ask_others(self) -> None:
        """Some machines before their time, so that it is known when the first one has failed as
        often as it may whether they are silent too."""
        now = time.monotonic()
        if not self._opinions or now < self._opinions_after:
            return
        self._opinions_after = now + 1.0
        machines = {each.target.address: each for each in self.asked.values()}
        if len(machines) >= judging.HOLD_FROM:
            some = self._random.sample(list(machines.values()), min(OPINIONS, len(machines)))
            for each in some:
                if each.due > now:
                    self._put(each, now)

    def _now(self, use: Use) -> Use:
        """With what is known of the backend by now."""
        farm = self._farms().get(use.farm.name, use.farm)
        for each in farm.backends:
            if (each.address, each.port) == (use.backend.address, use.backend.port):
                return Use(farm, each, use.check)
        return use

    def _answered(self, name: Name, target: Target) -> None:
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
        well = all(use.backend.remembered.check is None for use, _ in made)
        self._heard(name, None if well and outcome == _WELL else outcome)

    def suspicious(self, pending: Mapping[Name, Outcome]) -> bool:
        """Whether so much is silent at once that the balancer's own network is in doubt: more than
        half of the machines that were asked since the first of these began to fail."""
        since, held = math.inf, False
        for name, outcome in pending.items():
            if outcome.passed or not outcome.silent or name not in self._backends:
                continue
            for use, asked in self._backends[name].asked:
                check = self._now(use).backend.remembered.check
                if check is not None and check.state != "down":
                    held = held or check.row > 0
                    if check.row >= judging.HOLD_ROUNDS - 1:
                        return False  # it has lasted
                if asked.doubtful:
                    since = min(since, asked.began)
        fresh = [each for each in self.asked.values() if each.heard >= since]
        if not held:
            # A few that fall silent among very many are judged at once.
            silent = {each.target.address for each in fresh if each.doubtful}
            if len(silent) * 2 <= judging.HOLD_FROM:
                return False
        up: dict[str, bool] = {}
        for asked in fresh:
            if any(not is_down(self._now(use)) for use in asked.uses):
                address = asked.target.address
                up[address] = up.get(address, True) and asked.doubtful
        return (held or len(up) >= judging.HOLD_FROM) and sum(up.values()) * 2 > len(up)


def _name(use: Use) -> Name:
    return use.farm.name, use.backend.name
