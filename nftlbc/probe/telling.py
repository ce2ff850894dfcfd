"""What probe says: a line for each change, for people, the journal or programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from nftlbc.diagnostics import printable
from nftlbc.farms import Backend, Farm
from nftlbc.probe.asking import Series, is_down
from nftlbc.probe.judging import Event
from nftlbc.probe.once import Run
from nftlbc.probe.target import Use

_PRIORITY: Final = {"down": 4, "quorum": 3, "held": 3, "warning": 4, "error": 3}
"""Of the journal: 3 error, 4 warning; all else is 5, notice."""


_WORDLESS: Final = ("quorum", "quorum-met", "held", "error", "settled")
"""Kinds whose texts say it all."""


def journal() -> bool:
    """Standard output goes to the journal, which takes priorities as ``<N>`` before a line."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        here = os.fstat(1)
    except OSError:
        return False
    return stream == f"{here.st_dev}:{here.st_ino}"


def line(event: Event, *, priorities: bool = False) -> str:
    """``web/app2 down: tcp 10.0.0.12:8080 connection refused, 3 of 3``."""
    who = f"{event.farm}/{event.backend}" if event.backend else event.farm
    word = "" if event.kind in _WORDLESS else f" {event.kind}"
    text = printable(f"{who}{word}: {event.text}" if who else event.text)
    return f"<{_PRIORITY.get(event.kind, 5)}>{text}" if priorities else text


def as_json(event: Event, now: float) -> str:
    """One object on a line: ``time``, ``kind``, ``farm``, ``backend``, ``text``."""
    document = {"time": round(now, 3), **event._asdict()}
    return json.dumps(document, ensure_ascii=False)


def explained(run: Run) -> Iterator[str]:
    """Every check's result and time, then every weight's arithmetic."""
    by_backend: dict[tuple[str, str], list[tuple[Use, Series | None]]] = {}
    for target, uses in run.uses.items():
        for use in uses:
            key = use.farm.name, use.backend.name
            by_backend.setdefault(key, []).append((use, run.found.get(target)))
    before = {farm.name: farm for farm in run.before}
    for farm in run.decision.farms:
        if not farm.checks and not farm.moving:
            yield f"farm {farm.name}: no check"
            continue
        yield f"farm {farm.name}: balance {farm.balance}"
        old = {each.name: each for each in before[farm.name].backends}
        for backend in farm.backends:
            yield f"    {backend.name}  {backend}: {_state(backend)}"
            for use, series in by_backend.get((farm.name, backend.name), ()):
                yield f"        {_series(use, series)}"
            yield from _weight(farm, old[backend.name], backend, run.decision.figures)


def _state(backend: Backend) -> str:
    check = backend.remembered.check
    if check is None:
        return backend.standing
    row = f", {check.row} in a row say otherwise" if check.row else ""
    flaps = f", flapped {check.flaps} times" if check.flaps else ""
    return f"{backend.standing} (checks: {check.state}{row}{flaps})"


def _series(use: Use, series: Series | None) -> str:
    if series is None:
        return f"{use.check.kind}: not asked in time"
    times = ", ".join(f"{result.seconds * 1000:.1f} ms" for result in series.results)
    outcome = printable(series.last.why)
    needed = ""
    if is_down(use):
        needed = f"; rise {use.check.rise}"
    elif not series.last.passed:
        needed = f"; {len(series.results)} of fall {use.check.fall}"
    figure = f"; figure {series.last.figure:g}" if series.last.figure is not None else ""
    return f"{outcome}: {times}{figure}{needed}"


def _weight(
    farm: Farm, old: Backend, new: Backend, figures: Mapping[str, Mapping[str, float | None]]
) -> Iterator[str]:
    measured = new.remembered.measured
    if measured is None:
        return
    before = old.remembered.measured
    was = before.weight if before else 1.0
    now = figures.get(farm.name, {}).get(new.name)
    if now is not None:
        average = f"load {now:.4g} now, {before.load:.4g} before" if before else f"load {now:.4g}"
        average += f" -> {measured.load:.4g}"
    elif farm.slow_start:
        average = "slow start"
    else:
        average = f"no figure, {measured.missing} in a row"
    live = f"{was * old.weight:.4g} -> {measured.weight * new.weight:.4g}"
    yield f"        {average}; weight {live} (configured {new.weight})"


def summary(run: Run) -> str:
    """``42 of 43 backends pass their checks; 2 slots move``."""
    found: dict[str, Any] = {}
    for target, uses in run.uses.items():
        series = run.found.get(target)
        for use in uses:
            key = f"{use.farm.name}/{use.backend.name}"
            found[key] = found.get(key, True) and series is not None and series.last.passed
    passing = sum(found.values())
    return f"{passing} of {len(found)} backend{'' if len(found) == 1 else 's'} pass their checks"
