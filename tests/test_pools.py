"""Who of a farm serves whom, and what the table notes of it beside the rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftlbc.farms import Backend, Balance, Farm, Key, Listener
from nftlbc.states import LONGEST, NOTHING, ByCheck, ByHand, Measured, Remembered
from nftlbc.table import about, recorded
from nftlbc.table.build import build
from nftlbc.table.pool import pool_of, slots_of

LISTENER = Listener("203.0.113.1", "tcp", 80, 80)
SOURCE = (Key("source-ip"),)
DISABLED = Remembered(ByHand("disable", "root", 1_700_000_000))
FAILED = Remembered(check=ByCheck("down", 5))


def farm(*backends: Backend, **more: object) -> Farm:
    return replace(Farm("web", (LISTENER,), backends), **more)  # type: ignore[arg-type]


def server(number: int, **more: object) -> Backend:
    return replace(Backend(f"b{number}", f"10.0.0.{number}"), **more)  # type: ignore[arg-type]


def failed(number: int, since: int, **more: object) -> Backend:
    return server(number, remembered=Remembered(check=ByCheck("down", since)), **more)


def test_at_the_quorum_backups_serve_nobody() -> None:
    spare = server(3, backup=True)
    assert pool_of(farm(server(1), server(2), spare, quorum=2), 4).takers == (0, 1)
    below = pool_of(farm(server(1), failed(2, 5), spare, quorum=2), 4)
    assert below.takers == (0, 2) and below.degraded


def test_who_went_down_last_is_kept() -> None:
    """Whom a hand or the file holds down, or whose weight is 0, never is."""
    both = (failed(1, 5), failed(2, 9), failed(3, 9))
    others = (failed(4, 10, state="down"), failed(5, 10, weight=0))
    held = server(6, remembered=replace(DISABLED, check=ByCheck("down", 10)))
    kept = pool_of(farm(*both, *others, held, when_all_down="keep"), 4)
    assert kept.takers == (1, 2)
    assert kept.live == {1, 2}
    refused = pool_of(farm(*both), 4)
    assert refused.takers == () and refused.live == set()


def consistent(*backends: Backend, quorum: int = 1) -> set[int]:
    """Who has slots."""
    balance = Balance("consistent", (Key("source-ip"),), 251)
    return set(slots_of(pool_of(farm(*backends, balance=balance, quorum=quorum), 4)))


def test_backups_own_slots_only_where_the_quorum_can_not_be_met() -> None:
    spare = server(9, backup=True)
    down = failed(2, 5)
    assert consistent(server(1), server(2), spare, quorum=2) == {0, 1}
    own = consistent_slots(server(1), server(2), spare, quorum=2)
    # Just at the quorum while all are up: the backup takes over what is orphaned, no more.
    now = consistent_slots(server(1), down, spare, quorum=2)
    assert all(after == 0 for before, after in zip(own, now, strict=True) if before == 0)
    assert set(now) == {0, 2}
    # A weight of 0 counts as nobody: the quorum is missed by the file, and the backup owns slots.
    light = consistent_slots(server(1), server(2, weight=0), spare, quorum=2)
    assert set(light) == {0, 2}
    assert abs(light.count(0) - light.count(2)) <= 1


def consistent_slots(*backends: Backend, quorum: int) -> tuple[int, ...]:
    balance = Balance("consistent", (Key("source-ip"),), 251)
    return slots_of(pool_of(farm(*backends, balance=balance, quorum=quorum), 4))


def test_slots_of_moving_weights_are_kept_where_they_were_measured() -> None:
    """What follows from the file alone does not depend on who has which slot."""
    of = farm(server(1), server(2), balance=Balance("least-connections"))
    fresh = slots_of(pool_of(of, 4))
    turned = fresh[1:] + fresh[:1]
    assert turned != fresh
    assert slots_of(pool_of(of, 4), turned) == fresh
    known = tuple(
        replace(each, remembered=Remembered(measured=Measured(1.5, 20.0))) for each in of.backends
    )
    assert slots_of(pool_of(replace(of, backends=known), 4), turned) == turned


def test_backups_share_the_slots_of_a_farm_that_has_nobody_else() -> None:
    backups = (server(2, backup=True, weight=2), server(3, backup=True))
    of = farm(server(1, weight=0), *backups, balance=Balance("least-connections"))
    assert set(slots_of(pool_of(of, 4))) == {1, 2}


def rows(of: Farm, name: str) -> set[object]:
    """The keys of a map of the farm's table."""
    found = [each for each in build([of]).maps if each.name.partition("_")[0] == name]
    return set(found[0].elements) if found else set()


@pytest.mark.parametrize(
    "balance",
    [Balance("round-robin"), Balance("least-connections"), Balance("consistent", SOURCE, 251)],
    ids=lambda balance: balance.scheduler,
)
@pytest.mark.parametrize("farms", [82, 90, 170])
def test_whoever_falls_the_maps_keep_their_sizes(balance: Balance, farms: int) -> None:
    def table(*fallen: int) -> set[str]:
        backends = [
            server(n, weight=n, backup=n == 4, remembered=FAILED if n in fallen else NOTHING)
            for n in (1, 2, 3, 4)
        ]
        all_farms = [
            replace(
                farm(*backends, balance=balance),
                name=f"web{n}",
                listeners=(replace(LISTENER, first=n, last=n),),
            )
            for n in range(1, farms)
        ]
        up = replace(farm(server(1), balance=balance), name="up")
        return {each.name for each in build([*all_farms, up]).maps}

    whole = table()
    assert table(1) == whole
    assert table(2, 3) == whole
    assert table(1, 2, 3) == whole  # and the backup steps in
    assert table(1, 2, 3, 4) == whole
    assert any(name.startswith("slots_") for name in whole)


def test_connections_are_ended_of_those_that_are_gone_and_not_kept() -> None:
    by_name = {
        data.name: mark | 1 << 31
        for each in build([farm(server(1), server(2))]).maps
        if each.name.startswith("addresses4")
        for mark, data in each.elements.items()
    }
    first, second = by_name["web/b1"], by_name["web/b2"]
    down = (failed(1, 5), failed(2, 9))
    assert rows(farm(*down), "cut") == set()
    assert rows(farm(*down, on_down="reset"), "cut") == {first, second}
    assert rows(farm(*down, on_down="reset", when_all_down="keep"), "cut") == {first}
    assert rows(farm(server(1), server(2, remembered=DISABLED)), "cut") == {second}
    assert rows(farm(server(1), failed(2, 9)), "states") == {second}


@given(st.lists(st.tuples(st.ip_addresses(), st.none() | st.integers(1, 65535)), max_size=20))
def test_backends_are_told_apart_by_family_address_and_port(
    servers: list[tuple[object, int | None]],
) -> None:
    by_place = sorted(servers, key=lambda each: recorded.place(str(each[0]), each[1]))
    for number, (address, port) in enumerate(by_place):
        other, other_port = by_place[number - 1] if number else by_place[0]
        this, that = ip_address(str(address)), ip_address(str(other))
        assert (that.version, int(that), other_port or 0) <= (this.version, int(this), port or 0)


def test_a_record_has_the_order_of_its_backends() -> None:
    assert recorded.record(farm(server(1))) == ""
    assert recorded.record(farm(server(1), server(2))) == ""
    assert recorded.record(farm(server(2), server(1))) == "backends 1 0"
    assert recorded.record(farm(server(1, weight=3, state="drain"))) == "backends 0*3d"
    ports = (server(1, port=90), server(1, port=80), server(1))
    assert recorded.record(farm(*ports)) == "backends 2 1 0"
    octets = (Backend("a", "10.0.1.0"), Backend("b", "10.1.0.0"), Backend("c", "10.0.0.255"))
    assert recorded.record(farm(*octets)) == "backends 1 2 0"


@pytest.mark.parametrize("count", [2, 60, 500])
def test_a_record_is_cut_to_what_a_comment_holds(count: int) -> None:
    backends = [Backend(f"b{n}", f"10.0.{n >> 8}.{n & 255}", weight=7) for n in range(count)]
    text = recorded.record(farm(*backends))
    cut = recorded.pieces(text)
    assert len(cut) > 1 or len(text) <= LONGEST
    assert all(len(each) <= LONGEST for each in cut)
    assert recorded.whole(dict(enumerate(cut))) == text
    missing = dict(enumerate([*cut, "more", "and more"]))
    del missing[len(cut)]
    assert recorded.whole(missing) == text


def test_a_long_list_is_told_by_its_number() -> None:
    of = farm(*(server(number) for number in range(1, 10)))
    of = replace(of, listeners=tuple(replace(LISTENER, first=n, last=n) for n in range(1, 9)))
    pool = pool_of(of, 4)
    first, _, last = about.farm(pool, slots_of(pool))
    assert first.endswith("203.0.113.1:6/tcp and 2 more")
    assert last.endswith("b6 11.1%, and 3 more")
    six = pool_of(farm(*(server(number) for number in range(1, 7))), 4)
    assert about.farm(six, slots_of(six))[2].endswith("b6 16.7%")
