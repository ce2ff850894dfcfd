"""A fair draw is blamed as rarely as is said, and an unfair one is blamed."""

from fractions import Fraction
from math import comb

import pytest

from nftlbc.trial.chance import FALSE_ALARM, enough, likely


def outside(draws, share, low, high):
    """The exact probability that a fair draw is blamed."""
    share = Fraction(share)
    return sum(
        comb(draws, n) * share**n * (1 - share) ** (draws - n)
        for n in range(draws + 1)
        if not low <= n <= high
    )


@pytest.mark.parametrize("draws", [1, 7, 60, 240, 500])
@pytest.mark.parametrize("share", ["1/2", "1/3", "1/10", "9/10", "1/100"])
@pytest.mark.parametrize("doubt", [0.05, 1e-3, FALSE_ALARM])
def test_the_bounds_are_as_rarely_passed_as_they_say_and_no_wider(draws, share, doubt):
    low, high = likely(draws, float(Fraction(share)), doubt)
    assert outside(draws, share, low, high) <= doubt
    # One further in, on either side, and that side's half of the doubt is passed.
    assert outside(draws, share, low + 1, draws) > doubt / 2
    assert outside(draws, share, 0, high - 1) > doubt / 2


def test_a_sole_backend_gets_all_and_a_backend_without_share_none():
    assert likely(60, 1.0, FALSE_ALARM) == (60, 60)
    assert likely(60, 0.0, FALSE_ALARM) == (0, 0)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_after_enough_draws_nothing_is_too_little(share):
    draws = enough(share, FALSE_ALARM)
    assert likely(draws, share, FALSE_ALARM)[0] >= 1
    assert likely(draws - 1, share, FALSE_ALARM)[0] == 0
