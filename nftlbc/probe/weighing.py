"""When weights move in the loop: once for each set of new figures, so that no figure is used twice.

A weight that is moved again by what was measured before its last move swings: simulated with one of
four backends four times slower, at three quarters of their capacity and over five minutes, weights
of ``least-response`` that moved with each check, by the median of the last three, came to a mean of
1.6 s; moved by three new answers each time, to 0.15 s (the same of equal weights: 2.5 s and more).
Lengths of queues printed for ``custom``: 0.2 s when moved by each, 0.1 s by the mean of three.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from nftlbc.farms import DYNAMIC_SCHEDULERS, Farm
from nftlbc.probe.asking import SAMPLES, Series
from nftlbc.probe.loads import MEASURE
from nftlbc.probe.result import Result
from nftlbc.probe.target import Target, Use

AVERAGED: Final = {"snmp": 60.0}
"""Seconds over which a kind of check's figures are averages already: hrProcessorLoad and laLoad.1
are of a minute. Weights that move sooner swing (simulated: 5.4 s with rounds of 2 s, 0.18 s with
rounds of a minute)."""


@dataclass(slots=True)
class _Farm:
    """One whose weights follow what its checks tell."""

    pause: float = 0.0
    """Seconds, at least, between two rounds."""
    of: dict[Target, str] = field(default_factory=dict)
    """Whom its checks ask: names of backends."""
    new: dict[Target, int] = field(default_factory=dict)
    """Results since the last round."""
    last: float = 0.0
    """When that was."""


class Weighing:
    def __init__(self) -> None:
        self._farms: dict[str, _Farm] = {}
        self._recent: dict[Target, deque[Result]] = {}
        self._uses: dict[Target, list[Use]] = {}

    def lay_out(self, uses: Mapping[Target, list[Use]]) -> None:
        """After the file or the table has changed: what is asked for whom."""
        before, recent = self._farms, self._recent
        self._farms, self._recent, self._uses = {}, {}, {}
        for target, some in uses.items():
            for use in some:
                scheduler = use.farm.balance.scheduler
                if not _tells(target, scheduler):
                    continue
                self._uses.setdefault(target, []).append(use)
                self._recent[target] = recent.get(target) or deque(maxlen=SAMPLES)
                farm = self._farms.get(use.farm.name)
                if farm is None:
                    farm = self._farms[use.farm.name] = _Farm()
                    if (known := before.get(use.farm.name)) is not None:
                        farm.last = known.last
                farm.pause = max(farm.pause, AVERAGED.get(target.check.kind, 0.0))
                known = before.get(use.farm.name)
                farm.of[target] = use.backend.name
                farm.new[target] = known.new.get(target, 0) if known is not None else 0

    def heard(self, target: Target, result: Result) -> None:
        """A check has ended, well or not."""
        recent = self._recent.get(target)
        if recent is None:
            return
        recent.append(result)
        for use in self._uses[target]:
            self._farms[use.farm.name].new[target] += 1

    def due(self, farms: Iterable[Farm]) -> list[Farm]:
        """Those of some farms whose weights may move now; their rounds begin anew."""
        now = time.monotonic()
        return [each for each in farms if self._is_due(each, now)]

    def _is_due(self, farm: Farm, now: float) -> bool:
        if farm.balance.scheduler not in DYNAMIC_SCHEDULERS:
            return _away(farm)  # its slow start goes by the clock
        if farm.balance.scheduler == "least-connections":
            return True
        known = self._farms.get(farm.name)
        if known is None:
            return _away(farm)  # nothing tells its figures any more
        # Who is down takes its time to say nothing, and has no weight that would move.
        takers = {each.name for each in farm.backends if each.takes_new}
        new = [number for target, number in known.new.items() if known.of[target] in takers]
        if not new or min(new) < SAMPLES or now - known.last < known.pause:
            return False
        known.last = now
        known.new = dict.fromkeys(known.new, 0)
        return True

    def series(self, farms: Iterable[Farm]) -> tuple[dict[Target, list[Use]], dict[Target, Series]]:
        """What the checks of some farms told of late, and for whom."""
        names = {each.name for each in farms}
        uses = {
            target: [use for use in some if use.farm.name in names]
            for target, some in self._uses.items()
            if any(use.farm.name in names for use in some)
        }
        return uses, {target: Series(list(self._recent[target])) for target in uses}


def _tells(target: Target, scheduler: str) -> bool:
    return scheduler == "least-response" or target.check.kind in MEASURE.get(scheduler, ())


def _away(farm: Farm) -> bool:
    """Whether some live weight is not the configured one."""
    measured = [each.remembered.measured for each in farm.backends]
    return any(each is not None and each.weight != 1 for each in measured)
