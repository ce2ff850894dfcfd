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
from nftlbc.farms import (
    Backend,
    Balance,
    Check,
    Farm,
    Forward,
    Key,
    Listener,
    Persistence,
    Scheduler,
)
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


def test_nothing_is_warned_of_where_the_lists_are_mistaken() -> None:
    """The backends or listeners that are missing might be what makes it right."""
    one_port = Farm("web", (listener(), listener(first=443)), (Backend("a", "10.0.0.1", 8080),))
    sctp = replace(
        FARM,
        listeners=(Listener("203.0.113.1", "sctp", 80, 80),),
        checks=(Check("tcp"),),
    )
    snat = replace(FARM, forward=Forward("snat", ("2001:db8::1",)))
    source = replace(FARM, checks=(Check("tcp", source="2001:db8::1"),))
    slots = replace(FARM, balance=Balance("consistent", (Key("source-ip"),), 7))
    for farm, keywords in (
        (one_port, ("listen", "backend")),
        (sctp, ("listen",)),
        (snat, ("listen", "forward")),
        (source, ("backend",)),
        (slots, ("listen", "backend")),
    ):
        assert len(messages(farm)) == 1
        for keyword in keywords:
            assert messages(replace(farm, mistaken=frozenset({keyword}))) == []
    even = replace(FARM, balance=Balance("consistent", (Key("source-ip"),), 1000))
    assert len(messages(even)) == 1
    assert messages(replace(even, mistaken=frozenset({"balance"}))) == []


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        (("10.0.0.1", "127.0.0.1"), 1),
        (("10.0.0.1", "::1"), 1),
        (("127.0.0.1", "127.255.0.1"), 2),
        (("12.7.0.1", "2001:db8:1::1"), 0),
    ],
)
def test_one_loopback_backend_among_others(addresses: tuple[str, ...], told: int) -> None:
    servers = tuple(Backend(f"b{number}", each) for number, each in enumerate(addresses))
    both = (listener(), listener("2001:db8::1"))
    found = [each for each in messages(Farm("web", both, servers)) if "loopback" in each]
    assert len(found) == told


def test_the_same_server_for_every_listener_of_its_family() -> None:
    """Told of the second and third of three backends; what IPv6 clients ask for is nothing here."""
    servers = (
        Backend("other", "10.0.0.9"),
        Backend("plain", "10.0.0.1"),
        Backend("named", "10.0.0.1", 80),
        Backend("six", "2001:db8:1::1"),
    )
    farm = Farm("web", (listener(), listener("2001:db8::1", 443)), servers)
    same = [each for each in messages(farm) if "the same server" in each]
    assert same == [
        "backends plain and named of farm web are the same server for every listener:"
        " 10.0.0.1 and 10.0.0.1:80"
    ]
    two_ports = replace(farm, listeners=(*farm.listeners, listener(first=443)))
    assert not [each for each in messages(two_ports) if "the same server" in each]


def test_a_backend_is_a_listener_by_the_port_where_it_is_asked() -> None:
    """The listener's own port comes before the backend's; farms that chain to nobody are passed."""
    inner = Farm("inner", (listener("10.1.0.1", 8080),), backends(1))
    to = Listener("203.0.113.1", "tcp", 80, 80, to=8080)
    outer = Farm("outer", (to,), (Backend("b", "10.1.0.1"), Backend("c", "10.1.0.1", 9)))
    chained = ["b", "c"]
    found = [each for each in messages(inner, outer) if "is a listener" in each]
    assert [each.split()[1] for each in found] == chained
    plain = replace(outer, listeners=(listener(),))
    assert not [each for each in messages(inner, plain) if "is a listener" in each]


def test_ports_of_different_protocols_may_end_at_one() -> None:
    servers = (Backend("a", "10.0.0.1", 8080),)
    udp = Listener("203.0.113.1", "udp", 443, 443)
    assert messages(Farm("web", (listener(), udp), servers)) == []
    more = replace(udp, first=8443, last=8443)
    told = ["ports 443 and 8443 of farm web all end at port 8080 of its backends"]
    assert messages(Farm("web", (listener(), udp, more), servers)) == told
    apart = (listener(), Listener("203.0.113.1", "tcp", 81, 81, to=81))
    assert messages(Farm("web", (*apart, udp, more), servers)) == told


@pytest.mark.parametrize(
    ("scheduler", "kind"),
    [("least-response", "tcp"), ("least-cpu", "snmp"), ("least-cpu", "agent"), ("custom", "exec")],
)
def test_a_scheduler_with_somebody_who_measures(scheduler: Scheduler, kind: str) -> None:
    farm = replace(FARM, balance=Balance(scheduler))
    assert len(messages(farm)) == 1
    assert messages(replace(farm, checks=(Check(kind),))) == []


@pytest.mark.parametrize(
    ("count", "slots", "severity", "help"),
    [
        (10, 1009, None, None),
        (10, 997, Severity.WARNING, "write slots 1009"),
        (7, 7, Severity.WARNING, "write slots 701"),
        (8, 7, Severity.ERROR, "write slots 809"),
        (660, 65_537, Severity.WARNING, None),
    ],
)
def test_a_hundred_slots_for_each_backend(
    count: int, slots: int, severity: Severity | None, help: str | None
) -> None:
    servers = tuple(Backend(f"b{n}", f"10.0.{n >> 8}.{n & 255}") for n in range(count))
    balance = Balance("consistent", (Key("source-ip"),), slots)
    found = rules.check([replace(FARM, balance=balance, backends=servers)])
    assert [(each.severity, each.help) for each in found] == (
        [(severity, help)] if severity else []
    )


def test_shares_do_not_count_backups() -> None:
    spare = Backend("spare", "10.0.1.1", weight=9973, backup=True)
    assert messages(replace(FARM, backends=(*backends(1, 2), spare))) == []


def test_the_same_words_at_the_same_place_of_two_files(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.lb").write_text(
            f"farm f{number} {{\n listen 203.0.113.{number} tcp port 80\n"
            f" slow-start 5s\n backend a 10.0.0.{number}\n}}\n"
        )
    (tmp_path / "farms.lb").write_text('include "1.lb"\ninclude "2.lb"\n')
    farms, _ = read(str(tmp_path / "farms.lb"))
    assert len(messages(*farms)) == 2


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
