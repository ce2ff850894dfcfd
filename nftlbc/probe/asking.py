"""Asking all targets once: a check that fails is repeated at once, as often as its ``fall`` says,
and what it found is put together for each backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from nftlbc.farms import Farm
from nftlbc.probe.judging import Event, Outcome
from nftlbc.probe.result import Result
from nftlbc.probe.target import Target, Use
from nftlbc.states import NOTHING

PAUSE: Final = 0.01
"""Seconds before a failed check is repeated: short, since a backend that is dead gets clients
until the last of them has failed."""
SAMPLES: Final = 3
"""Answers of which ``least-response`` takes the median time."""
_NAMED: Final = 5
Uses = Mapping[Target, Sequence[Use]]
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Series:
    """What one target answered, one time after the other."""

    results: list[Result] = field(default_factory=list)

    @property
    def last(self) -> Result:
        return self.results[-1]

    def failed(self, fall: int) -> bool:
        """The first ``fall`` results are failures."""
        return len(self.results) >= fall and not any(r.passed for r in self.results[:fall])

    @property
    def seconds(self) -> list[float]:
        """Of the answers that were right, or had not come when their time was over: a backend
        that is too busy to answer must not count as one that nothing is known of."""
        return [each.seconds for each in self.results if each.passed or each.word == "timeout"]


def repeats(uses: Iterable[Use]) -> int:
    """How often a target that fails is asked: by the largest ``fall`` of those that are up."""
    return max((use.check.fall for use in uses if not is_down(use)), default=1)


def samples(uses: Iterable[Use]) -> int:
    """How many answers are wanted of a target that is well."""
    measured = any(use.farm.balance.scheduler == "least-response" for use in uses)
    return SAMPLES if measured else 1


def is_down(use: Use) -> bool:
    return use.backend.remembered.failed


async def ask_all(
    uses: Uses, deadline: float, progress: Progress | None = None
) -> dict[Target, Series]:
    """Asks every target. Whoever has no series was not reached before the deadline (seconds), or
    not as often as it takes to call it down."""
    from nftlbc.probe import engine

    end = time.monotonic() + deadline
    found: dict[Target, Series] = {}
    asked, again = 0, list(uses)
    wanted = {target: (repeats(some), samples(some)) for target, some in uses.items()}
    while again and (left := end - time.monotonic()) > 0:
        if asked:
            await asyncio.sleep(min(PAUSE, left))
        results = await engine.run(again, deadline=left)
        asked += len(again)
        for target, result in results.items():
            found.setdefault(target, Series()).results.append(result)
        again = [target for target in again if _once_more(found.get(target), *wanted[target])]
        if progress is not None:
            progress(asked, asked + len(again))
    doubtful = {target for target in again if target in found and not found[target].last.passed}
    return {target: series for target, series in found.items() if target not in doubtful}


def _once_more(series: Series | None, fall: int, answers: int) -> bool:
    if series is None:
        return False
    if not series.last.passed:
        return series.failed(len(series.results)) and len(series.results) < fall
    return len(series.seconds) < answers


def outcomes(
    uses: Uses, found: Mapping[Target, Series]
) -> tuple[dict[str, dict[str, Outcome]], list[Event]]:
    """By farm and backend what the checks say, those whose every check was made; and warnings."""
    parts: dict[tuple[str, str], list[tuple[Use, Target, Series | None]]] = {}
    for target, some in uses.items():
        series = found.get(target)
        for use in some:
            parts.setdefault((use.farm.name, use.backend.name), []).append((use, target, series))
    result: dict[str, dict[str, Outcome]] = {}
    warnings = []
    for (farm, backend), several in parts.items():
        if all(series is not None for _, _, series in several):
            outcome = together([(use, series) for use, _, series in several if series is not None])
            result.setdefault(farm, {})[backend] = outcome
            warnings += [
                Event("warning", farm, backend, f"{target}: {series.last.warning}")
                for _, target, series in several
                if series is not None and series.last.warning
            ]
    return result, warnings


def together(several: Sequence[tuple[Use, Series]]) -> Outcome:
    """Of one backend: all its checks have to pass."""
    failures = []
    for use, series in several:
        if not series.last.passed and (is_down(use) or series.failed(use.check.fall)):
            failures.append((use, series))
    if failures:
        use, series = failures[0]
        times = f", {use.check.fall} of {use.check.fall}" if not is_down(use) else ""
        silent = all(each.last.silent for _, each in failures)
        return Outcome(False, series.last.why + times, series.last.word, silent)
    drains = any(series.last.order == "drain" for _, series in several)
    return Outcome(True, drains=drains)


def with_checks(known: Iterable[Farm], file: Iterable[Farm]) -> tuple[Farm, ...]:
    """The farms of a running table with what it does not know of them: checks and commands, by
    name, from the file. Where the file has no checks any more, what they found goes too."""
    by_name = {farm.name: farm for farm in file}
    return tuple(
        _unchecked(replace(farm, checks=written.checks, on_change=written.on_change))
        if (written := by_name.get(farm.name))
        else farm
        for farm in known
    )


def not_applied(known: Iterable[str], file: Iterable[Farm]) -> str:
    """What to tell of farms that nobody checks since the running table has not got them; empty:
    there are none.

    known: the names of those that it has.
    """
    there = set(known)
    names = [farm.name for farm in file if farm.checks and farm.name not in there]
    if not names:
        return ""
    one = len(names) == 1
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    some = f"farm{'' if one else 's'} {', '.join(names[:_NAMED])}{more}"
    it = "it" if one else "them"
    return f"{some}: not in the table, and not checked: nftlbc apply loads {it}"


def _unchecked(farm: Farm) -> Farm:
    """Without the findings of checks that it has no more: nobody would ever bring it back."""
    if farm.checks or not any(each.remembered.check for each in farm.backends):
        return farm
    backends = []
    for each in farm.backends:
        record = replace(each.remembered, check=None)
        backends.append(replace(each, remembered=NOTHING if record == NOTHING else record))
    return replace(farm, backends=tuple(backends))
