"""A fixed number of slots that follow weights."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nftlbc.schedule.dynamic import MOST, WORTH, fixed_count, follow

WEIGHTS = st.lists(st.integers(1, 40), min_size=1, max_size=12).map(tuple)
FACTORS = st.lists(st.floats(0.1, 4.0), min_size=12, max_size=12)
MASK = st.lists(st.booleans(), min_size=12, max_size=12)


def test_configured_shares_are_exact() -> None:
    assert fixed_count((3, 1, 1)) == 80
    assert Counter(follow((), (3, 1, 1), 80)) == {0: 48, 1: 16, 2: 16}
    assert fixed_count((2, 2, 0)) == 32
    assert fixed_count((0, 0)) == 0
    assert fixed_count((65_535, 1)) == MOST
    assert fixed_count((1,) * 5000) == 5000


@given(WEIGHTS, FACTORS, MASK, FACTORS)
def test_follows_with_the_fewest_moves(
    configured: tuple[int, ...], before: list[float], up: list[bool], after: list[float]
) -> None:
    count = fixed_count(configured)
    first = follow((), [w * f for w, f in zip(configured, before, strict=False)], count)
    assert len(first) == count
    weights = [w * f * on for w, f, on in zip(configured, after, up, strict=False)]
    second = follow(first, weights, count)
    if not any(weights):
        assert second == ()
        return
    had, has = Counter(first), Counter(second)
    total = sum(weights)
    for index, weight in enumerate(weights):
        if weight:
            # Within what is not worth a transaction, or within one slot; everyone has one.
            exact = weight / total * count
            assert has[index] >= 1
            if second != first and count >= 4 * len(weights):
                assert has[index] >= exact - 1.5
        else:
            assert index not in has
    moved = sum(a != b for a, b in zip(first, second, strict=True))
    assert moved == sum(max(0, has[n] - had[n]) for n in has)
    assert follow(second, weights, count) == second


def test_small_changes_stay() -> None:
    first = follow((), [1.0] * 10, 160)
    assert follow(first, [1.0 + WORTH / 2] + [1.0] * 9, 160) == first
    moved = follow(first, [1.25] + [1.0] * 9, 160)
    assert moved != first
    assert sum(a != b for a, b in zip(first, moved, strict=True)) <= 4


def test_who_is_gone_is_replaced_all_over_the_turn() -> None:
    first = follow((), [1.0] * 4, 64)
    second = follow(first, [1.0, 1.0, 1.0, 0.0], 64)
    halves = Counter(second[:32]), Counter(second[32:])
    assert all(abs(halves[0][n] - halves[1][n]) <= 2 for n in range(3))


def test_who_comes_back_gets_slots_all_over_the_turn() -> None:
    """Beside one that is still away, and has neither a weight nor a slot."""
    first = follow((), [1.0, 0.0, 0.0, 1.0], 64)
    second = follow(first, [1.0, 0.0, 1.0, 1.0], 64)
    assert set(second) == {0, 2, 3}
    assert sorted(Counter(second).values()) == [21, 21, 22]
    assert sum(a != b for a, b in zip(first, second, strict=True)) == Counter(second)[2]
    halves = Counter(second[:32]), Counter(second[32:])
    assert all(abs(halves[0][n] - halves[1][n]) <= 2 for n in (0, 2, 3))


@given(WEIGHTS, FACTORS)
def test_only_the_proportion_of_weights_counts(
    configured: tuple[int, ...], factors: list[float]
) -> None:
    count = fixed_count(configured)
    weights = [w * f for w, f in zip(configured, factors, strict=False)]
    # Powers of two, which change no digit of a float.
    assert follow((), [w * 8 for w in weights], count) == follow((), weights, count)
    assert follow((), [w / 8 for w in weights], count) == follow((), weights, count)
