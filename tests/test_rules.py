"""The rules on farms made in code: against plain counting, and without any places."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import gcd
from pathlib import Path
from types import FrameType

import pytest
from generate import farms_texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nftlbc import rules
from nftlbc.diagnostics import Diagnostic, Severity, draw
from nftlbc.farms import Backend, Balance, Farm, Forward, Key, Listener, Persistence
from nftlbc.language import read
from nftlbc.schedule import slots

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("examples/*.lb"), *ROOT.glob("tests/golden/**/*.lb")])


def listener(address: str = "203.0.113.1", first: int = 80, last: int | None = None) -> Listener:
    return Listener(address, "tcp", first, first if last is None else last)


def backends(*weights: int) -> tuple[Backend, ...]:
    return tuple(
        Backend(f"b{number}", f"10.0.0.{number}", weight=weight)
        for number, weight in enumerate(weights, 1)
    )


FARM = Farm("web", (listener(),), backends(1, 1))


def messages(*farms: Farm) -> list[str]:
    return [each.message for each in rules.check(farms)]


def errors(found: list[Diagnostic]) -> list[Diagnostic]:
    return [each for each in found if each.severity is Severity.ERROR]


def words(found: list[Diagnostic]) -> set[tuple[str, ...]]:
    return {tuple(sorted(each.message.replace(",", "").split())) for each in found}


def test_a_plain_farm_is_fine() -> None:
    assert messages() == []
    assert messages(FARM) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(farms_texts())
def test_generated_farms_have_no_mistakes(tmp_path: Path, text: str) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(text, "utf-8")
    farms, diagnostics = read(str(file))
    assert errors([*diagnostics, *rules.check(farms)]) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_places_are_for_showing_alone(file: Path) -> None:
    """Without places the same is told, though two farms may come in another order."""
    farms, _ = read(str(file))
    bare = [
        replace(
            farm,
            origin=None,
            listeners=tuple(replace(each, place=None) for each in farm.listeners),
            backends=tuple(replace(each, origin=None) for each in farm.backends),
        )
        for farm in farms
    ]
    found = rules.check(bare)
    assert all(each.place is None and each.also is None for each in found)
    assert words(found) == words(rules.check(farms))
    assert draw(found).count("\n") >= len(found)


LISTENERS = st.lists(
    st.builds(
        lambda address, protocol, first, more: Listener(address, protocol, first, first + more),
        st.sampled_from(["203.0.113.1", "203.0.113.2", "2001:db8::1"]),
        st.sampled_from(["tcp", "udp"]),
        st.integers(1, 12),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)


@given(st.lists(LISTENERS, min_size=1, max_size=4))
def test_overlaps_are_those_that_comparing_all_finds(all_listeners: list[list[Listener]]) -> None:
    servers = (*backends(1), Backend("six", "2001:db8:1::1"))
    farms = [
        Farm(f"farm{number}", tuple(listeners), servers)
        for number, listeners in enumerate(all_listeners)
    ]
    spots = sorted(
        (each.address, each.protocol, each.first, each.last, number, place)
        for number, farm in enumerate(farms)
        for place, each in enumerate(farm.listeners)
    )
    expected = sum(
        any(
            before[:2] == spot[:2] and before[2] <= spot[3] and spot[2] <= before[3]
            for before in spots[:index]
        )
        for index, spot in enumerate(spots)
    )
    helped = [
        each for each in rules.check(farms) if each.help == "a connection goes to one listener"
    ]
    assert len(helped) == expected


@given(
    quorum=st.integers(1, 5),
    states=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6),
    six=st.booleans(),
)
def test_quorum_counts_each_family_without_backups(
    quorum: int, states: list[tuple[bool, bool]], six: bool
) -> None:
    servers = tuple(
        Backend(f"b{n}", f"10.0.0.{n}" if four else f"2001:db8:1::{n}", backup=backup)
        for n, (four, backup) in enumerate(states, 1)
    )
    families = (4, 6) if six else (4,)
    farm = Farm(
        "web",
        tuple(listener("203.0.113.1" if family == 4 else "2001:db8::1") for family in families),
        servers,
        quorum=quorum,
    )
    wrong = 0
    for family in families:
        pool = [each for each in servers if each.family == family]
        wrong += not pool or sum(not each.backup for each in pool) < quorum
    assert len(errors(rules.check([farm]))) == wrong


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=6))
def test_shares_that_are_not_exact_are_told(weights: list[int]) -> None:
    found = messages(replace(FARM, backends=backends(*weights)))
    exact = slots(tuple(weights)).exact
    assert exact == (not any("exactly" in message for message in found))
    assert exact or sum(weights) // gcd(*weights) > 1024


def test_shares_count_those_that_take_new_clients() -> None:
    drained = replace(FARM, backends=(*backends(1000, 500), Backend("d", "10.0.1.1", weight=0)))
    assert messages(drained) == []
    down = Backend("d", "10.0.1.1", weight=7, state="down")
    assert messages(replace(FARM, backends=(*backends(1000, 500), down))) == []
    assert (
        messages(replace(FARM, balance=Balance("least-connections"), backends=backends(1009, 500)))
        == []
    )


@pytest.mark.parametrize(
    ("prefix", "prefix6", "families", "right"),
    [
        (24, None, "4", True),
        (32, None, "4", True),
        (33, None, "4", False),
        (64, None, "6", True),
        (24, None, "46", False),
        (24, 56, "46", True),
        (24, 56, "4", True),
        (24, 56, "6", True),
        (None, None, "46", True),
    ],
)
def test_prefixes(prefix: int | None, prefix6: int | None, families: str, right: bool) -> None:
    key = Key("source-ip", prefix, prefix6)
    farm = Farm(
        "web",
        tuple(listener("203.0.113.1" if each == "4" else "2001:db8::1") for each in families),
        (*backends(1), Backend("six", "2001:db8:1::1")),
        balance=Balance("hash", (key,)),
        persistence=Persistence((key,)),
    )
    assert len(errors(rules.check([farm]))) == (0 if right else 2)


def test_a_source_of_each_family_may_be_inherited() -> None:
    both = Forward("snat", ("10.0.0.1", "2001:db8::1"))
    farm = replace(FARM, forward=both)
    assert len(messages(farm)) == 1
    assert messages(replace(farm, inherited=frozenset({"forward"}))) == []


def test_what_is_mistaken_is_not_held_against_the_farm() -> None:
    farm = Farm("web", (listener(), listener("2001:db8::1")), backends(1), quorum=7)
    assert len(messages(farm)) == 2
    assert messages(replace(farm, mistaken=frozenset({"backend"}))) == []
    assert len(messages(replace(farm, mistaken=frozenset({"quorum"})))) == 1
    assert len(messages(replace(farm, mistaken=frozenset({"persist"})))) == 2


def test_a_named_farm_of_another_file_is_the_same_farm() -> None:
    other = replace(FARM, listeners=(listener("203.0.113.2"),))
    assert messages(FARM, other) == ["farm web is defined twice"]


def test_steps_grow_with_the_farms() -> None:
    def steps(count: int) -> int:
        farms = [
            replace(FARM, name=f"f{n}", listeners=(listener(f"10.{n >> 8}.{n & 255}.1", 80, 90),))
            for n in range(count)
        ]
        calls = 0

        def step(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += 1

        before = sys.getprofile()
        sys.setprofile(step)
        try:
            rules.check(farms)
        finally:
            sys.setprofile(before)
        return calls

    assert steps(4000) <= 4.4 * steps(1000)
