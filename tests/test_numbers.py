"""The numbers of a table: each in one place, and nobody moved without need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftlbc.farms import Backend, Family
from nftlbc.table import numbers
from nftlbc.table.model import OURS
from nftlbc.table.numbers import InUse, Numbers, place_slots, room_for

POOLS = st.dictionaries(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([4, 6])), st.integers(1, 9), max_size=10
)


@given(POOLS, st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 60)), st.data())
def test_ranges_of_slots_are_apart_and_stay(
    sizes: dict[tuple[str, Family], int], hashes: dict[str, int], data: st.DataObject
) -> None:
    """With hashes that meet all the time, and after pools have grown, gone and come."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(numbers, "slot_hash", lambda name, family: hashes.get(name, 5) + family)
        first = place_slots(sizes, {})
        later = data.draw(POOLS)
        second = place_slots(later, first)
    for of, found in ((sizes, first), (later, second)):
        assert found.keys() == of.keys()
        spots = [slot for pool, start in found.items() for slot in range(start, start + of[pool])]
        assert len(set(spots)) == len(spots)
        assert min(spots, default=5) >= 5
    for pool, start in first.items():
        if pool in later and later[pool] <= sizes[pool]:
            assert second[pool] == start


def test_a_range_begins_at_its_hash_or_behind_what_is_in_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashes = {"a": 10, "b": 12, "c": 30, "d": 9}
    monkeypatch.setattr(numbers, "slot_hash", lambda name, family: hashes[name])
    sizes: dict[tuple[str, Family], int] = {("b", 4): 5, ("c", 4): 1, ("a", 4): 2}
    assert place_slots(sizes, {}) == {("a", 4): 10, ("b", 4): 12, ("c", 4): 30}
    assert place_slots(sizes, {("c", 4): 13}) == {("a", 4): 10, ("b", 4): 14, ("c", 4): 13}
    before: dict[tuple[str, Family], int] = {("a", 4): 11, ("b", 4): 13}
    assert place_slots({**sizes, ("d", 4): 2}, before) == {**before, ("c", 4): 30, ("d", 4): 9}
    assert place_slots({**sizes, ("d", 4): 3}, before) == {**before, ("c", 4): 30, ("d", 4): 18}


def test_who_meets_another_takes_the_next_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "_hashed", lambda text, attempt=0: 7 + attempt)
    given_out = Numbers(InUse(marks={"gone 10.0.0.9 0": OURS | 8}, farms={"gone": 7}))
    assert [given_out.farm(name) for name in ("a", "b", "gone")] == [8, 9, 7]
    servers = [Backend("x", "10.0.0.1"), Backend("y", "10.0.0.1", 80)]
    assert [given_out.mark("a", each) for each in servers] == [OURS | 7, OURS | 9]
    assert given_out.mark("gone", Backend("z", "10.0.0.9")) == OURS | 8
    assert given_out.given == {OURS | 7, OURS | 8, OURS | 9}


def test_the_next_hash_is_another_one() -> None:
    hashes = {numbers._hashed("web 10.0.0.1 0", attempt) for attempt in range(4)}
    assert len(hashes) == 4
    assert numbers._hashed("web 10.0.0.1 0", 0) == numbers._hashed("web 10.0.0.1 0")


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (0, 1024),
        (1, 1024),
        (819, 1024),
        (820, 2048),
        (1639, 2048),
        (1640, 4096),
        (100_000, 131_072),
    ],
)
def test_a_map_has_room_for_a_quarter_more(count: int, size: int) -> None:
    assert room_for(count) == size
