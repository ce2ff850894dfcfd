"""How far a fair draw may stray."""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log, log1p

FALSE_ALARM = 1e-6
"""The probability that a whole run blames a random balance that is fair."""


@lru_cache(maxsize=1024)
def likely(draws: int, share: float, doubt: float) -> tuple[int, int]:
    """The fewest and the most of ``draws`` that fall to somebody with a share of them.

    With a probability of at least 1 - ``doubt`` the number is between the two, both included:
    the tails of the binomial distribution, summed from their ends until each has half the doubt.
    """
    if not 0 < share < 1:
        return (draws, draws) if share >= 1 else (0, 0)
    return (
        _tail(draws, share, doubt / 2),
        draws - _tail(draws, 1 - share, doubt / 2),
    )


def enough(share: float, doubt: float) -> int:
    """Draws after which somebody with this share who got nothing can be blamed."""
    return 1 if share >= 1 else int(log(doubt / 2) / log1p(-share)) + 1


def _tail(draws: int, share: float, doubt: float) -> int:
    """The least number whose tail, from 0 up to it, weighs more than the doubt."""
    whole = lgamma(draws + 1)
    yes, no = log(share), log1p(-share)
    sum_ = 0.0
    for number in range(draws + 1):
        ways = whole - lgamma(number + 1) - lgamma(draws - number + 1)
        sum_ += exp(ways + number * yes + (draws - number) * no)
        if sum_ > doubt:
            return number
    return draws
