from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import groupby
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nftlbc.schedule import slots
from nftlbc.schedule.round_robin import MOST_SLOTS, PRECISION, fewest, smooth

Weights = tuple[int, ...]

SMALL = st.lists(st.integers(1, 40), min_size=1, max_size=20).map(tuple)
WILD = st.lists(st.integers(1, 65535), min_size=1, max_size=60).map(tuple)


def counts(order: tuple[int, ...], backends: int) -> list[int]:
    found = Counter(order)
    return [found[index] for index in range(backends)]


def worst_error(order: tuple[int, ...], weights: Weights) -> Fraction:
    total, turns = sum(weights), len(order)
    found = zip(counts(order, len(weights)), weights, strict=True)
    return Fraction(max(abs(n * total - w * turns) for n, w in found), total * turns)


def longest_run(order: tuple[int, ...], index: int) -> int:
    """Turns in a row, also around the wrap."""
    runs = [len(list(run)) for who, run in groupby(order * 2) if who == index]
    return min(max(runs), len(order))


@given(SMALL, st.integers(1, 1000))
def test_shares_are_exact_with_the_fewest_slots(weights: Weights, factor: int) -> None:
    found = slots(tuple(weight * factor for weight in weights))
    reduced = [weight // gcd(*weights) for weight in weights]
    assert counts(found.order, len(weights)) == reduced
    assert found.exact and not found.limited and found.error == 0 and found.without == 0


@given(st.one_of(SMALL, WILD))
def test_nobody_is_ever_a_turn_ahead_or_behind(turns: Weights) -> None:
    turns = tuple(n % 300 + 1 for n in turns)
    order = smooth(turns)
    assert counts(order, len(turns)) == list(turns)
    had = [0] * len(turns)
    slack = max(2 * len(turns) - 2, 1)
    for turn, index in enumerate(order, start=1):
        had[index] += 1
        for n, all_turns in zip(had, turns, strict=True):
            # |n - turn * share| <= 1 - 1/slack
            assert abs(n * len(order) - turn * all_turns) * slack <= (slack - 1) * len(order)


@given(st.integers(1, 1000), st.integers(1, 500))
def test_equal_weights_take_turns_in_order(backends: int, weight: int) -> None:
    assert slots((weight,) * backends).order == tuple(range(backends))


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ((5, 2, 1), (0, 0, 1, 0, 2, 0, 1, 0)),
        ((3, 1), (0, 0, 1, 0)),
        ((10, 20), (1, 0, 1)),
        ((5, 1, 1, 1, 1, 1), (0, 1, 0, 2, 0, 3, 0, 4, 5, 0)),
        ((7,), (0,)),
        ((), ()),
    ],
)
def test_orders(weights: Weights, order: tuple[int, ...]) -> None:
    assert slots(weights).order == order
    assert slots(weights).exact


def test_5_2_1_is_never_more_than_three_in_a_row() -> None:
    order = slots((5, 2, 1)).order
    assert [longest_run(order, index) for index in range(3)] == [3, 1, 1]


def within(weights: Weights, n: int, precision: int) -> bool:
    """Whether some counts of n slots do, by trying all that could."""
    sums = {0}
    for weight in weights:
        allowed = [
            count
            for count in range(1, n + 1)
            if abs(Fraction(count, n) - Fraction(weight, sum(weights))) < Fraction(1, precision)
        ]
        sums = {total + count for total in sums for count in allowed if total + count <= n}
    return n in sums


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=6).map(tuple),
    st.integers(2, 20),
    st.integers(1, 40),
)
def test_no_fewer_slots_would_do(weights: Weights, precision: int, most: int) -> None:
    expected = next((n for n in range(1, most + 1) if within(weights, n, precision)), None)
    assert fewest(weights, precision, most) == expected


@pytest.mark.parametrize(
    ("weights", "precision", "expected"),
    [((1, 1, 2), 6, 4), ((1, 3, 3), 5, 3), ((1, 2, 2, 2), 10, 7), ((1, 3, 7), 9, 5)],
)
def test_one_slot_more_at_a_time(weights: Weights, precision: int, expected: int) -> None:
    assert within(weights, expected, precision)
    assert fewest(weights, precision, 30) == expected


@settings(deadline=None)
@given(WILD)
def test_any_weights_are_within_the_precision_or_said_not_to_be(weights: Weights) -> None:
    found = slots(weights)
    assert set(found.order) == set(range(len(weights)))
    assert found.without == 0
    assert found.error == worst_error(found.order, weights)
    assert found.exact == (found.error == 0)
    assert found.limited == (found.error >= Fraction(1, PRECISION))
    assert len(found.order) <= MOST_SLOTS
    if found.limited:
        assert len(found.order) == MOST_SLOTS


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1023, 1), 1024),  # the reduced sum is at the limit: exact
        ((1000, 1001), 2),  # a quarter of a thousandth off
        ((65535, 1), 1009),  # 1/n - 1/65536 < 1/1024
        ((1,) * 1025, 1025),  # a slot each
        ((2,) * 1000 + (1,) * 500, 1500),
    ],
)
def test_numbers_of_slots(weights: Weights, expected: int) -> None:
    assert len(slots(weights).order) == expected


def test_two_thousand_wild_weights() -> None:
    weights = tuple(n * n * 7919 % 65521 + 1 for n in range(2000))
    found = slots(weights)
    assert len(found.order) == 2000  # a slot each is within the precision
    assert found.error < Fraction(1, PRECISION) and not found.exact and not found.limited


def test_a_giant_among_many_takes_more_slots_than_there_may_be() -> None:
    found = slots((65535,) + (1,) * 1999)
    assert len(found.order) == MOST_SLOTS
    assert found.limited and found.without == 0
    assert counts(found.order, 2000) == [MOST_SLOTS - 1999] + [1] * 1999
    assert found.error == Fraction(65535, 65535 + 1999) - Fraction(MOST_SLOTS - 1999, MOST_SLOTS)


def test_as_many_backends_as_slots() -> None:
    found = slots((3,) * MOST_SLOTS)
    assert found.order == tuple(range(MOST_SLOTS)) and found.exact and not found.limited


def test_more_backends_than_slots() -> None:
    found = slots((1,) * 20_000 + (65535,))
    assert found.limited and found.without == 20_001 - len(set(found.order)) > 0
    assert len(found.order) == MOST_SLOTS
    assert found.error == worst_error(found.order, (1,) * 20_000 + (65535,))


def test_a_weight_of_zero_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="not positive"):
        slots((1, 0, 2))
