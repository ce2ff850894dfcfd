"""Weights that move to slots that follow: a fixed number of slots, of which as few as possible
change hands. A farm's rule, and with it the position of its round robin, stays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd

from nftlbc.schedule.apportion import apportion
from nftlbc.schedule.round_robin import smooth

LEAST: int = 16
"""Slots of the smallest configured weight: one more or less is a change of 6 %."""
MOST: int = 4_096
WORTH: float = 0.1
"""Smaller changes of a share, as parts of it, are not worth a transaction."""


@lru_cache(maxsize=1024)
def fixed_count(weights: tuple[int, ...]) -> int:
    """How many slots a pool of these configured weights has, whoever is up.

    A multiple of the reduced sum, so that the configured shares are exact, where that is not
    more than MOST; 0 without a positive weight.
    """
    positive = [weight for weight in weights if weight > 0]
    if not positive:
        return 0
    divisor = gcd(*positive)
    total = sum(positive) // divisor
    wanted = total * -(-LEAST // (min(positive) // divisor))
    return max(wanted if wanted <= MOST else MOST, len(positive))


def follow(
    present: Sequence[int], weights: Sequence[float], count: int, *, exact: bool = False
) -> tuple[int, ...]:
    """From slot to the index of its weight: as it is at present, with the fewest moves.

    present: who has which slot now; empty, or of another length, where there is nothing to keep.
    weights: positive; 0 for who gets none. Where nobody's share differs by WORTH or more from
    what it has at present, all stays, unless it shall be exact.
    """
    takers = [index for index, weight in enumerate(weights) if weight > 0]
    if not takers:
        return ()
    scaled = _whole([weights[index] for index in takers])
    wanted = dict(zip(takers, apportion(scaled, count), strict=True))
    if len(present) != count:
        return smooth([wanted.get(index, 0) for index in range(len(weights))])
    had: dict[int, int] = {}
    for owner in present:
        had[owner] = had.get(owner, 0) + 1
    if not exact and had.keys() == wanted.keys() and not _worth_it(had, takers, scaled, count):
        return tuple(present)
    return _moved(present, had, wanted)


def _whole(weights: Sequence[float]) -> list[int]:
    """The weights as whole numbers, to a thousandth of the least."""
    unit = min(weights)
    return [round(weight / unit * 1000) for weight in weights]


def _worth_it(had: dict[int, int], takers: Sequence[int], scaled: list[int], count: int) -> bool:
    total = sum(scaled)
    return any(
        abs(weight * count / total - had[index]) >= max(WORTH * had[index], 0.75)
        for index, weight in zip(takers, scaled, strict=True)
    )


def _moved(present: Sequence[int], had: dict[int, int], wanted: dict[int, int]) -> tuple[int, ...]:
    """Gives the slots that are too many to those who have too few, both spread over the turn."""
    spare: list[int] = []
    seen: dict[int, int] = {}
    for slot, owner in enumerate(present):
        too_many = had[owner] - wanted.get(owner, 0)
        if too_many <= 0:
            continue
        turn = seen.get(owner, 0)
        seen[owner] = turn + 1
        if (turn + 1) * too_many // had[owner] > turn * too_many // had[owner]:
            spare.append(slot)
    missing = [max(0, wanted.get(index, 0) - had.get(index, 0)) for index in range(_end(wanted))]
    order = list(present)
    if any(missing):
        for slot, owner in zip(spare, smooth(missing), strict=True):
            order[slot] = owner
    return tuple(order)


def _end(wanted: dict[int, int]) -> int:
    return max(wanted) + 1
