from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nftlbc.schedule import Member, consistent
from nftlbc.schedule.apportion import apportion

SLOTS = 4093
NEEDLESS = SLOTS * 3 // 100


def members(*weights: int, first: int = 1) -> list[Member]:
    return [
        Member(f"10.0.{number // 256}.{number % 256}:80", weight, takes_new=True)
        for number, weight in enumerate(weights, start=first)
    ]


def down(them: list[Member], *gone: int) -> list[Member]:
    return [replace(m, takes_new=m.takes_new and i not in gone) for i, m in enumerate(them)]


def identities(them: list[Member], slots: int = SLOTS) -> list[str | None]:
    """Slot -> identity of the member that has it."""
    return [None if i is None else them[i].identity for i in consistent(them, slots)]


@st.composite
def memberships(draw: st.DrawFn, least: int = 1, most: int = 12) -> list[Member]:
    """Members with identities from anywhere, and weights alike, mixed or wild."""
    weights = draw(
        st.sampled_from(
            [st.just(1), st.integers(1, 10), st.sampled_from([0, 1, 3]), st.integers(1, 65535)]
        )
    )
    numbers = draw(st.sets(st.integers(0, 2**32 - 1), min_size=least, max_size=most))
    return [Member(f"{number:x}:{number % 7}", draw(weights), takes_new=True) for number in numbers]


def test_a_small_table() -> None:
    assert consistent(members(1, 1, 2), 13) == (1, 1, 0, 0, 2, 2, 1, 0, 2, 2, 2, 2, 2)


def test_the_table_is_the_same_for_ever() -> None:
    """Another table would send most clients of every consistent farm elsewhere."""
    table = consistent(down(members(1, 1, 2, 3, 5, 65535, 100), 2, 5), SLOTS)
    assert blake2b(repr(table).encode(), digest_size=8).hexdigest() == "baf5e8efbb06ebc4"


@settings(deadline=None)
@given(memberships(), st.sampled_from([2, 251, SLOTS]))
def test_everyone_owns_its_share(them: list[Member], slots: int) -> None:
    sharing = sorted((m for m in them if m.weight), key=lambda m: m.identity)
    found = Counter(identities(them, slots))
    if sharing:
        expected = apportion([m.weight for m in sharing], slots)
        assert [found[m.identity] for m in sharing] == expected
    else:
        assert found == {None: slots}


@settings(deadline=None)
@given(memberships(), st.randoms(use_true_random=False))
def test_the_order_of_the_members_decides_nothing(them: list[Member], draw: random.Random) -> None:
    them = down(them, 1, 2)
    shuffled = draw.sample(them, len(them))
    assert identities(shuffled, 251) == identities(them, 251)


@settings(deadline=None)
@given(memberships(least=2), st.randoms(use_true_random=False))
def test_only_the_slots_of_one_that_goes_move(them: list[Member], draw: random.Random) -> None:
    """One after the other, to the last; read backwards, they return to what was theirs."""
    them = [m for m in them if m.weight] or members(1, 1)
    table = identities(them, 1009)
    for index in draw.sample(range(len(them)), len(them)):
        gone = them[index].identity
        them = down(them, index)
        left = identities(them, 1009)
        assert gone not in left
        assert all(now == was for now, was in zip(left, table, strict=True) if was != gone)
        table = left
    assert set(table) == {None}


@settings(deadline=None, derandomize=True)
@given(memberships(least=3), st.randoms(use_true_random=False))
def test_the_living_share_in_proportion(them: list[Member], draw: random.Random) -> None:
    them = down(them, *draw.sample(range(len(them)), len(them) // 2))
    living = [m for m in them if m.takes_new and m.weight]
    found = Counter(identities(them))
    for member in living:
        share = found[member.identity] / SLOTS
        # By chance, and not by the exact number: chance is what moves nobody else.
        assert abs(share - member.weight / sum(m.weight for m in living)) < 0.03


@settings(deadline=None, derandomize=True)
@given(memberships(least=3, most=41), st.data())
def test_one_more_or_less_moves_little_more_than_its_share(
    them: list[Member], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(them) - 1))
    other = identities(them[:index] + them[index + 1 :])
    moved = [
        was
        for was, now in zip(identities(them), other, strict=True)
        if was != now and was != them[index].identity
    ]
    assert len(moved) <= NEEDLESS


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("count", [2, 3, 5, 10, 20, 40])
def test_on_average_even_less_moves(count: int, mixed: bool) -> None:
    """The figures of the module's first lines, on fewer draws."""
    needless = 0
    for draw in range(8):
        weights = [(n * 7 + draw) % 10 + 1 if mixed else 1 for n in range(count + 1)]
        them = members(*weights, first=1 + 97 * draw)
        changes = Counter(zip(identities(them), identities(them[1:]), strict=True))
        needless += sum(
            n for (was, now), n in changes.items() if was != now and was != them[0].identity
        )
    assert needless / 8 <= SLOTS * 15 // 1000


def test_nobody_takes_new_clients() -> None:
    assert consistent([], 13) == (None,) * 13
    assert consistent(members(0, 0), 13) == (None,) * 13
    assert consistent(down(members(1, 2), 0, 1), 13) == (None,) * 13


def test_the_last_one_has_it_all() -> None:
    assert consistent(down(members(1, 9, 1), 0, 1), SLOTS) == (2,) * SLOTS


def test_a_weight_of_zero_has_no_slot_even_of_those_that_are_gone() -> None:
    assert set(consistent(down(members(3, 0, 1), 0), 251)) == {2}


def test_a_backup_has_slots_of_those_that_are_gone_alone() -> None:
    them = members(1, 1, 1)
    spare = Member("10.9.9.9:80", 1, takes_new=False, backup=True)
    both_down = identities(down(them, 0, 1))
    without = identities(them)
    assert identities([*them, spare]) == without
    assert identities([*down(them, 0, 1), spare]) == both_down

    table = identities([*down(them, 0, 1), replace(spare, takes_new=True)])
    own = them[2].identity
    assert set(table) == {own, spare.identity}
    assert all(now == own for was, now in zip(without, table, strict=True) if was == own)
    # Half of all slots would be its share, and half of the orphans a third: 5/12 is between.
    assert abs(table.count(spare.identity) / SLOTS - 5 / 12) < 0.03
    assert set(identities([*down(them, 0, 1, 2), replace(spare, takes_new=True)])) == {
        spare.identity
    }


def test_more_members_than_slots() -> None:
    table = consistent(members(*range(1, 101)), 13)
    assert len(table) == 13 and len(set(table)) == 13


def test_a_great_difference_of_weights() -> None:
    table = Counter(consistent(members(65535, 1, 1), SLOTS))
    assert table == {0: SLOTS - 2, 1: 1, 2: 1}


def test_two_of_one_identity_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="same identity"):
        consistent([*members(1, 2), *members(3)], 13)


def test_no_slot_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="needs a slot"):
        consistent(members(1), 0)
