from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from nftlbc.schedule.apportion import apportion

WEIGHTS = st.lists(st.integers(1, 65535), min_size=1, max_size=40)


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write the total as that many numbers of at least 1."""
    if parts == 1:
        yield (total,)
        return
    for first in range(1, total - parts + 2):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


def worst(counts: tuple[int, ...], weights: list[int], slots: int) -> int:
    return max(abs(n * sum(weights) - w * slots) for n, w in zip(counts, weights, strict=True))


@given(WEIGHTS, st.integers(1, 5000))
def test_all_slots_are_given_and_everyone_has_one(weights: list[int], slots: int) -> None:
    counts = apportion(weights, slots)
    assert sum(counts) == slots
    assert min(counts) >= (1 if len(weights) <= slots else 0)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.integers(4, 12))
def test_no_other_counts_have_a_smaller_worst_error(weights: list[int], slots: int) -> None:
    best = min(worst(counts, weights, slots) for counts in compositions(slots, len(weights)))
    assert worst(tuple(apportion(weights, slots)), weights, slots) == best


@given(WEIGHTS, st.integers(1, 5000))
def test_a_heavier_weight_never_has_less(weights: list[int], slots: int) -> None:
    counts = [n for _, n in sorted(zip(weights, apportion(weights, slots), strict=True))]
    assert counts == sorted(counts)


def test_a_tie_goes_to_the_first() -> None:
    assert apportion([1, 1, 1], 8) == [3, 3, 2]
    assert apportion([5, 5, 1, 1], 4) == [1, 1, 1, 1]


def test_a_slot_for_the_lightest_is_paid_for_by_the_heaviest() -> None:
    assert apportion([100, 50, 1, 1, 1], 10) == [5, 2, 1, 1, 1]
    assert apportion([100, 1, 1, 1, 1, 1], 6) == [1, 1, 1, 1, 1, 1]


def test_too_few_slots_go_to_the_heaviest() -> None:
    assert apportion([1, 9, 5, 2], 2) == [0, 1, 1, 0]
