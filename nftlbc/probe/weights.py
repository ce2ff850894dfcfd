"""Weights that follow what backends carry: least connections, least response, least CPU, custom;
and slow start. Pure functions.

Each round: e = .5 now + .5 before (the averaged load), and the live weight becomes
w clamp(sqrt(mean e / e), 1/1.25, 1.25), within [.1 W, 4 W] of the configured W; then all are
scaled to the sum of the configured ones. The undamped W / (load + 1) swings from one backend to
the other where rounds are ten seconds or more apart.

Near the mean, w is drawn towards W as well, by 4 % at most: in a pool with nothing to do all loads
are equal whatever the weights, and the next clients would come by those of long ago. Simulated with
four backends of one worker, one of them coming back, at 2 % of what they can serve and rounds of
2 s: it had .8 W again after 78 s with least connections (without that 554 s), 164 s with least
response (240 s); with one backend four times slower, at three quarters, sixteen runs had a mean
response of 109 ms (111) and 153 ms (155).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from statistics import fmean, median
from typing import Final

from nftlbc.farms import DYNAMIC_SCHEDULERS, Backend, Farm
from nftlbc.states import Measured, Seconds
from nftlbc.table.pool import pool_of

LEAST, MOST = 0.1, 4.0
"""Bounds of a live weight, as multiples of the configured one."""
STEP: Final = 1.25
"""No round changes a weight by more than this factor."""
MISSING: Final = 3
"""Rounds for which a backend without a figure counts as the mean of its pool."""
DRIFT: Final = 0.25
"""Afterwards, what is left of the way to its configured weight in each round."""
RESPONSE_FLOOR: Final = 0.020
"""Seconds; below, differences are the network's more than the servers'."""
MOST_CPU: Final = 3.0
AGREED: Final = 0.04
"""A load that differs by less from the mean, relatively, lets the weight return to the configured
one, by what is left of this in each round."""
_INACTIVE: Final = 256
"""As IPVS counts: so many closed connections that linger weigh as much as an open one."""
_FINEST: Final = 1e-9


def of_connections(active: int, inactive: int, weight: int) -> float:
    return (active + inactive / _INACTIVE + 1) / max(weight, 1)


def of_response(seconds: Sequence[float]) -> float | None:
    """The median of the check's times, above a floor; None without one."""
    return RESPONSE_FLOOR + median(seconds) if seconds else None


def of_cpu(load: float) -> float:
    """1: all processors are busy."""
    return min(max(load, 0.0), MOST_CPU)


def weigh(farm: Farm, figures: Mapping[str, float | None], now: Seconds) -> Farm:
    """The farm with its live weights moved on by one round.

    figures: the loads of backends by name, in the unit of the farm's scheduler.
    """
    if not farm.moving:
        return farm
    new: dict[str, Measured] = {}
    dynamic = farm.balance.scheduler in DYNAMIC_SCHEDULERS
    for family in farm.families:
        pool = pool_of(farm, family)
        takers = [pool.backends[number] for number in pool.takers]
        if dynamic:
            new.update(_moved(takers, figures))
        if farm.slow_start:
            new.update(_climbing(farm, takers, new, now))
    backends = tuple(
        replace(each, remembered=replace(each.remembered, measured=new[each.name]))
        if each.name in new
        else each
        for each in farm.backends
    )
    return replace(farm, backends=backends)


def _moved(takers: Sequence[Backend], figures: Mapping[str, float | None]) -> dict[str, Measured]:
    before = {each.name: each.remembered.measured or Measured(1.0, 0.0) for each in takers}
    loads: dict[str, float] = {}
    for name, known in before.items():
        figure = figures.get(name)
        if figure is not None:
            loads[name] = max(0.5 * figure + 0.5 * known.load if known.load else figure, _FINEST)
    if not loads:
        return {name: _missed(known) for name, known in before.items()}
    mean = fmean(loads.values())
    found: dict[str, Measured] = {}
    for name, known in before.items():
        if name in loads:
            weight = known.weight * _clamp(sqrt(mean / loads[name]), 1 / STEP, STEP)
            home = 1 + max(0.0, AGREED - abs(loads[name] / mean - 1))
            weight *= _clamp(1 / weight, 1 / home, home)
            found[name] = Measured(_clamp(weight, LEAST, MOST), loads[name])
        else:
            found[name] = _missed(known)
    whole = sum(each.weight for each in takers)
    scale = whole / (sum(each.weight * found[each.name].weight for each in takers) or 1.0)
    return {
        name: replace(each, weight=_clamp(each.weight * scale, LEAST, MOST))
        for name, each in found.items()
    }


def _missed(known: Measured) -> Measured:
    weight = known.weight
    if known.missing >= MISSING:
        weight += (1.0 - weight) * DRIFT
    return replace(known, weight=weight, missing=known.missing + 1)


def _climbing(
    farm: Farm, takers: Sequence[Backend], moved: Mapping[str, Measured], now: Seconds
) -> dict[str, Measured]:
    """From a tenth to all of the weight by the time since it came back; alone, all at once."""
    found = {}
    for each in takers:
        known = moved.get(each.name) or each.remembered.measured
        if known is None:
            continue
        if each.name not in moved:  # nothing but the climb sets this weight
            known = replace(known, weight=1.0)
        check = each.remembered.check
        if check is not None and len(takers) > 1:
            way = (now - check.since) * 1000 / farm.slow_start
            if 0 <= way < 1:  # else it is long ago, or the clock was set back
                known = replace(known, weight=min(known.weight, LEAST + (1 - LEAST) * way))
        found[each.name] = known
    return found


def _clamp(number: float, least: float, most: float) -> float:
    return min(max(number, least), most)
