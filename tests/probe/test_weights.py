"""Weights that follow loads, and slots that follow weights: properties, and a simulated pool."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftlbc.farms import Backend, Balance, Farm, Listener, Scheduler
from nftlbc.probe import weights
from nftlbc.probe.weights import LEAST, MISSING, MOST, weigh
from nftlbc.schedule.dynamic import fixed_count, follow
from nftlbc.states import ByCheck, Measured, Remembered
from nftlbc.table.pool import pool_of, slots_of


def farm(*configured: int, scheduler: Scheduler = "least-connections", slow_start: int = 0) -> Farm:
    backends = tuple(
        Backend(f"b{n}", f"10.0.{n // 250}.{n % 250 + 1}", 80, weight)
        for n, weight in enumerate(configured)
    )
    listeners = (Listener("203.0.113.1", "tcp", 80, 80),)
    return Farm("web", listeners, backends, balance=Balance(scheduler), slow_start=slow_start)


def given_weights(of: Farm, *live: float | None, load: float = 0.0, missing: int = 0) -> Farm:
    backends = [
        each
        if weight is None
        else replace(each, remembered=Remembered(measured=Measured(weight, load, missing)))
        for each, weight in zip(of.backends, live, strict=True)
    ]
    return replace(of, backends=tuple(backends))


def live(of: Farm) -> list[float]:
    return [
        each.remembered.measured.weight if each.remembered.measured else 1.0 for each in of.backends
    ]


loads = st.one_of(st.none(), st.floats(0, 1e9, allow_nan=False))


@st.composite
def pools(draw: st.DrawFn) -> tuple[Farm, dict[str, float | None]]:
    configured = draw(st.lists(st.integers(1, 65535), min_size=1, max_size=12))
    pool = farm(*configured, slow_start=draw(st.sampled_from([0, 60_000])))
    known = draw(
        st.lists(
            st.one_of(st.none(), st.floats(LEAST, MOST)),
            min_size=len(configured),
            max_size=len(configured),
        )
    )
    pool = given_weights(pool, *known, load=draw(st.sampled_from([0.0, 1e-9, 3.0])))
    return pool, {each.name: draw(loads) for each in pool.backends}


@given(pools(), st.integers(1, 6))
def test_weights_stay_within_their_bounds(
    case: tuple[Farm, dict[str, float | None]], rounds: int
) -> None:
    pool, figures = case
    for number in range(rounds):
        pool = weigh(pool, figures, 1_000_000 + number)
        assert all(LEAST <= weight <= MOST for weight in live(pool))


@given(pools())
def test_slots_follow_within_a_step_and_nobody_is_left_out(
    case: tuple[Farm, dict[str, float | None]],
) -> None:
    pool, figures = case
    pool = weigh(pool, figures, 1_000_000)
    four = pool_of(pool, 4)
    slots = slots_of(four)
    assert set(slots) == set(four.takers)
    assert len(slots) == max(fixed_count(tuple(b.weight for b in pool.backends)), len(four.takers))


@given(st.lists(st.floats(0.001, 1e6), min_size=2, max_size=8))
def test_the_sum_is_that_of_the_file(figures: list[float]) -> None:
    """Where no bound is reached: from even weights, in one round, none is."""
    pool = farm(*range(1, len(figures) + 1))
    after = weigh(pool, {f"b{n}": figure for n, figure in enumerate(figures)}, 1)
    configured = [each.weight for each in pool.backends]
    whole = sum(w * each for w, each in zip(configured, live(after), strict=True))
    assert whole == pytest.approx(sum(configured))


def test_the_arithmetic() -> None:
    """By hand: loads 4 and 1 over averages 2 and 1."""
    pool = farm(1, 1)
    backends = tuple(
        replace(each, remembered=Remembered(measured=Measured(weight, load)))
        for each, weight, load in zip(pool.backends, (1.5, 0.5), (2.0, 1.0), strict=True)
    )
    after = weigh(replace(pool, backends=backends), {"b0": 4.0, "b1": 1.0}, 1)
    b0, b1 = [each.remembered.measured for each in after.backends]
    assert b0 and b1
    # e = 3 and 1, their mean 2: sqrt(2/3) = .8165, sqrt(2) is more than 1.25.
    w0, w1 = 1.5 * (2 / 3) ** 0.5, 0.5 * 1.25
    scale = 2 / (w0 + w1)
    assert (b0.load, b1.load) == (3.0, 1.0)
    assert (b0.weight, b1.weight) == (pytest.approx(w0 * scale), pytest.approx(w1 * scale))


def test_a_pool_with_nothing_to_do_goes_home() -> None:
    """One came back at a tenth: in fifty rounds, no round by more than a step."""
    for load in (0.0, 0.02, 1.0):
        pool = given_weights(farm(1, 1, 1, 1), 0.1, 1.3, 1.3, 1.3, load=load)
        seen = [0.1]
        for number in range(50):
            pool = weigh(pool, {f"b{n}": load for n in range(4)}, number)
            seen.append(live(pool)[0])
        assert live(pool) == [pytest.approx(1.0, abs=0.02)] * 4
        assert all(1 <= later / sooner < weights.STEP for sooner, later in pairwise(seen))


def test_a_weight_that_a_load_asks_for_stays() -> None:
    """Loads are even because the weights are not: it goes home no further than to the band."""
    pool = given_weights(farm(1, 1), 0.4, 1.6, load=1.0)
    for number in range(200):
        # A backend four times slower: the load is as its weight.
        pool = weigh(pool, {"b0": 4 * live(pool)[0], "b1": live(pool)[1]}, number)
    assert 0.4 <= live(pool)[0] < 0.4 * (1 + 3 * weights.AGREED)


def test_loads() -> None:
    assert weights.of_connections(9, 256, 2) == 5.5
    assert weights.of_connections(0, 0, 0) == 1.0
    assert weights.of_response([0.5, 0.1, 0.2]) == pytest.approx(0.22)
    assert weights.of_response([]) is None
    assert weights.of_cpu(7.0) == 3.0
    assert weights.of_cpu(-1.0) == 0.0


def test_a_missing_figure_counts_as_the_mean_then_drifts_home() -> None:
    pool = given_weights(farm(1, 1, 1), 2.0, 0.5, 0.5, load=1.0)
    seen, home = [], 1 + weights.AGREED
    for number in range(30):
        pool = weigh(pool, {"b1": 1.0, "b2": 1.0}, number)
        seen.append(live(pool)[0])
        if number < MISSING:  # the others alone return to theirs
            assert live(pool)[0] / live(pool)[1] == pytest.approx(4 / home ** (number + 1))
    assert all(later < sooner for sooner, later in pairwise(seen[MISSING - 1 :]))
    assert 1.0 < seen[-1] < 1.05
    # And with no figure at all.
    lost = given_weights(farm(1, 1), 4.0, 0.1, load=1.0)
    for number in range(40):
        lost = weigh(lost, {}, number)
    assert live(lost) == [pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.01)]


def test_only_those_that_take_new_clients_are_weighed() -> None:
    pool = given_weights(farm(1, 1, 1), 1.0, 1.0, 1.0, load=1.0)
    down = Remembered(check=ByCheck("down", 5), measured=Measured(1.0, 1.0))
    pool = replace(pool, backends=(replace(pool.backends[0], remembered=down), *pool.backends[1:]))
    after = weigh(pool, {"b0": 900.0, "b1": 1.0, "b2": 1.0}, 10)
    assert after.backends[0].remembered == down
    assert live(after)[1:] == [1.0, 1.0]


def returning(seconds_ago: int, slow_start: int = 60_000, alone: bool = False) -> float:
    pool = farm(4, 4, scheduler="round-robin", slow_start=slow_start)
    back = Remembered(check=ByCheck("up", 1_000_000), measured=Measured(0.1, 0.0))
    other = Remembered(check=ByCheck("down", 5)) if alone else Remembered()
    pool = replace(
        pool,
        backends=(
            replace(pool.backends[0], remembered=back),
            replace(pool.backends[1], remembered=other),
        ),
    )
    return live(weigh(pool, {}, 1_000_000 + seconds_ago))[0]


def test_slow_start_climbs_by_the_time_since_it_came_back() -> None:
    assert returning(0) == pytest.approx(0.1)
    assert returning(30) == pytest.approx(0.55)
    assert returning(60) == 1.0
    assert returning(6_000) == 1.0
    assert returning(0, alone=True) == 1.0
    # A clock that was set back keeps nobody at a tenth for as long.
    assert returning(-3_600) == 1.0


def test_slow_start_is_a_ceiling_for_a_weight_that_moves() -> None:
    pool = given_weights(farm(1, 1, slow_start=60_000), 1.0, 1.0, load=1.0)
    record = replace(pool.backends[0].remembered, check=ByCheck("up", 1_000_000))
    pool = replace(pool, backends=(replace(pool.backends[0], remembered=record), pool.backends[1]))
    after = weigh(pool, {"b0": 0.5, "b1": 1.0}, 1_000_006)
    assert live(after)[0] == pytest.approx(0.1 + 0.9 * 0.1)


# Slots.


def counts(order: tuple[int, ...]) -> Counter[int]:
    return Counter(order)


def test_less_than_a_tenth_moves_nothing() -> None:
    order = follow((), [1.0, 1.0], 64)
    assert follow(order, [1.04, 0.96], 64) == order
    moved = follow(order, [1.15, 0.85], 64)
    assert moved != order
    assert counts(moved) == {0: 37, 1: 27}
    assert sum(a != b for a, b in zip(order, moved, strict=True)) == 5  # no more than needed


def test_the_weights_of_the_file_are_met_exactly() -> None:
    """At the end of a slow start, however little is left to move."""
    pool = given_weights(farm(1, 1, scheduler="round-robin", slow_start=60_000), 0.94, 1.0)
    nearly = (0,) * 15 + (1,) * 17
    assert slots_of(pool_of(pool, 4), nearly) == nearly
    full = slots_of(pool_of(given_weights(pool, 1.0, 1.0), 4), nearly)
    assert counts(full) == {0: 16, 1: 16}


@given(st.lists(st.floats(LEAST, MOST), min_size=2, max_size=10))
def test_slots_move_as_few_as_possible(factors: list[float]) -> None:
    count = fixed_count((1,) * len(factors))
    order = follow((), [1.0] * len(factors), count)
    moved = follow(order, factors, count)
    had, has = counts(order), counts(moved)
    surplus = sum(max(0, had[n] - has[n]) for n in range(len(factors)))
    assert sum(a != b for a, b in zip(order, moved, strict=True)) == surplus


# A pool in a closed loop.


def simulate(speeds: list[float], interval: float, rounds: int, rate: float) -> list[list[float]]:
    """Shares of each round. A backend holds rate x share / speed connections, reached half way in
    each second (they last for a while), as least-connections counts them."""
    pool = farm(*[1] * len(speeds))
    count = fixed_count(tuple(each.weight for each in pool.backends))
    order: tuple[int, ...] = ()
    held = [0.0] * len(speeds)
    history = []
    for number in range(rounds):
        order = slots_of(pool_of(pool, 4), order)
        assert len(order) == count
        share = [order.count(n) / count for n in range(len(speeds))]
        history.append(share)
        for _ in range(int(interval)):
            held = [
                h + (rate * s / v - h) * 0.5 for h, s, v in zip(held, share, speeds, strict=True)
            ]
        figures = {f"b{n}": weights.of_connections(round(h), 0, 1) for n, h in enumerate(held)}
        pool = weigh(pool, figures, number)
    return history


@pytest.mark.parametrize("interval", [1, 2, 10, 30])
def test_one_four_times_slower_gets_its_share_and_nothing_swings(interval: int) -> None:
    history = simulate([1.0, 1.0, 1.0, 0.25], interval, 120, 400.0)
    settled = history[60:]
    slow = [share[3] for share in settled]
    # Loads even out where shares are as speeds are: 1/13 of all, for one of speed 1/4 of four.
    assert fmean(slow) == pytest.approx(1 / 13, abs=0.025)
    for n in range(4):
        own = [share[n] for share in settled]
        assert max(own) - min(own) <= 0.25 * fmean(own) + 1 / 64
    # A slot or two now and then; what swings changes in every round.
    changes = sum(a != b for a, b in pairwise(settled))
    assert changes <= 20  # of 59 rounds


def test_even_backends_stay_even() -> None:
    history = simulate([1.0] * 4, 2, 60, 400.0)
    assert all(share == [0.25] * 4 for share in history)
