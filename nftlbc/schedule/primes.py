"""Prime numbers of slots."""

from __future__ import annotations

from itertools import count
from math import isqrt


def is_prime(number: int) -> bool:
    """By trial division: meant for numbers of slots, up to some millions."""
    if number < 4:
        return number > 1
    return number % 2 != 0 and all(number % odd for odd in range(3, isqrt(number) + 1, 2))


def next_prime(number: int) -> int:
    """The smallest prime that is not below the number."""
    return next(candidate for candidate in count(number) if is_prime(candidate))
