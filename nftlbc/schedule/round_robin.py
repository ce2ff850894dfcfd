"""Weights to slots: how many, who gets which, and in what order.

A farm's ``numgen inc`` counts round its slots, so the shares are exact when the slots are, and
the balance is smooth when the order of the slots is.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd

from nftlbc.schedule.apportion import apportion

PRECISION = 1024
"""Shares are exact up to this many slots; above, every share is off by less than 1/PRECISION."""
MOST_SLOTS = 16_384
"""No round robin has more slots than this."""


@dataclass(frozen=True, slots=True)
class Slots:
    """A round robin: one turn of it, and how far it is from the weights."""

    order: tuple[int, ...]
    """Slot -> index of the weight."""
    error: Fraction
    """The worst absolute error of a share: |slots it has / all slots - weight / all weights|."""
    without: int = 0
    """How many have no slot (only where there are more of them than MOST_SLOTS)."""

    @property
    def exact(self) -> bool:
        """Every share is its weight's."""
        return self.error == 0

    @property
    def limited(self) -> bool:
        """MOST_SLOTS were too few to keep every error below 1/PRECISION, or for all."""
        return self.without > 0 or self.error >= Fraction(1, PRECISION)


def slots(weights: tuple[int, ...]) -> Slots:
    """The slots for the weights of those that take new clients; all are positive.

    The fewest slots with the exact shares where those are at most PRECISION; else the fewest
    that keep every share's error below 1/PRECISION with a slot for everyone; where MOST_SLOTS
    are not enough for that, MOST_SLOTS with the least error (``limited``).

    In any first n of the order, a backend differs from n times its share of the slots by at
    most 1 - 1/(2k - 2), k being the number of backends; equal weights give 0, 1, 2, ...

    Raises ValueError for a weight that is not positive.
    """
    divisor = gcd(*weights)
    # Thousands of farms share the same weights: a hit costs the hash of the tuple.
    return _slots(weights if divisor <= 1 else tuple(weight // divisor for weight in weights))


@lru_cache(maxsize=1024)
def _slots(weights: tuple[int, ...]) -> Slots:
    if not weights:
        return Slots((), Fraction(0))
    if min(weights) <= 0:
        raise ValueError(f"a weight that is not positive has no slots: {min(weights)}")
    total = sum(weights)
    if total <= PRECISION:
        return Slots(smooth(weights), Fraction(0))
    count = fewest(weights, PRECISION, MOST_SLOTS) or MOST_SLOTS
    counts = apportion(weights, count)
    worst = max(abs(n * total - weight * count) for n, weight in zip(counts, weights, strict=True))
    return Slots(smooth(counts), Fraction(worst, count * total), counts.count(0))


def fewest(weights: Sequence[int], precision: int, most: int) -> int | None:
    """The fewest slots that give everyone one, and each share an error below 1/precision.

    None where that takes more than ``most`` slots. Weights are positive.

    With n slots a share w/W allows the counts strictly between n(w/W - 1/precision) and
    n(w/W + 1/precision), from 1 up; n will do if everyone has such a count, and the lowest
    ones sum to at most n and the highest ones to at least n.
    """
    total = sum(weights)
    unit = precision * total
    edges = [(weight * precision - total, weight * precision + total) for weight in weights]
    large = [(low, high) for low, high in edges if low > 0]
    small = [high for low, high in edges if low <= 0]  # their lowest count is 1, whatever n is
    # Fewer slots than this leave the smallest none, or an error too large.
    n = max(len(weights), unit // min(high for _, high in edges) + 1)
    while n <= most:
        # From n = precision on, a whole number is always within the error.
        if n < precision and any(n * a // unit + 1 > (n * b - 1) // unit for a, b in large):
            n += 1
            continue
        lowest = len(small) + sum(n * low // unit + 1 for low, _ in large)
        if lowest > n:
            n = lowest  # it only grows with n, so nothing between can do
            continue
        if n >= precision:
            return n  # each highest count is then at least the share, so they sum to n
        highest = sum((n * high - 1) // unit for high in small)
        if highest + sum((n * high - 1) // unit for _, high in large) >= n:
            return n
        n += 1
    return None


def smooth(counts: Sequence[int]) -> tuple[int, ...]:
    """The order in which everyone comes ``counts[index]`` times, as evenly as can be.

    R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32 (1980): of those that
    another turn would not put too far ahead, the one that must have its turn first. Then nobody
    is ever more than 1 - 1/(2k - 2) turns ahead or behind, and no order can promise less.
    (Sorting everyone's ideal positions is simpler, but 5:1:1:1:1:1 is then five turns of the
    light ones followed, around the wrap, by five turns of the heavy one.)
    """
    turns = sum(counts)
    who = [index for index, count in enumerate(counts) if count]
    if len(who) == 1:
        return (who[0],) * turns
    # With k = len(who), all of this is in units of 1/slack, for whole numbers throughout.
    slack = 2 * len(who) - 2
    finest = turns * turns  # two different deadlines (A/count, B/other) differ by 1/finest or more
    entering: list[list[int]] = [[] for _ in range(turns + 2)]  # by the turn from which they may
    for index in who:
        entering[-(-turns // (slack * counts[index]))].append(index)
    had = [0] * len(counts)
    waiting: list[tuple[int, int]] = []  # deadline, index
    order = []
    for turn in range(1, turns + 1):
        for index in entering[turn]:
            deadline = (had[index] * slack + slack - 1) * finest // counts[index]
            heapq.heappush(waiting, (deadline, index))
        _, index = heapq.heappop(waiting)
        order.append(index)
        had[index] += 1
        if had[index] < counts[index]:
            earliest = -(-turns * (had[index] * slack + 1) // (slack * counts[index]))
            entering[max(earliest, turn + 1)].append(index)
    return tuple(order)
