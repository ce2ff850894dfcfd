"""When weights move, and what it is worth: a farm of queues in simulated time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import queues

from nftlbc.farms import Scheduler
from nftlbc.plan.recall import Recalled
from nftlbc.probe import loads, weighing
from nftlbc.probe.asking import SAMPLES, Series
from nftlbc.probe.result import Result
from nftlbc.probe.target import targets
from nftlbc.states import NOTHING, ByCheck

DYNAMIC: tuple[Scheduler, ...] = ("least-connections", "least-response", "least-cpu", "custom")
OPTIMUM = 0.098
"""Seconds: four queues of exponential service, each loaded alike."""


def answer(seconds: float = 0.01, figure: float | None = None) -> Result:
    return Result(True, "", "ok", seconds, figure=figure)


def laid_out(scheduler: Scheduler) -> tuple[weighing.Weighing, queues.Farm]:
    farm = queues.farm_of(scheduler, 2.0)
    found = weighing.Weighing()
    found.lay_out(targets([farm]))
    return found, farm


@pytest.mark.parametrize("scheduler", ["least-response", "least-cpu", "custom"])
def test_no_figure_counts_twice(scheduler: Scheduler) -> None:
    of, farm = laid_out(scheduler)
    every = list(targets([farm]))
    for _ in range(2):
        assert not of.due([farm])
        for _ in range(SAMPLES):
            assert not of.due([farm])
            for target in every[1:]:
                of.heard(target, answer())
        assert not of.due([farm])  # of one nothing new is known
        for _ in range(SAMPLES):
            of.heard(every[0], answer())
        assert of.due([farm]) == [farm]


def test_what_was_heard_goes_on_when_the_file_is_read_again() -> None:
    of, farm = laid_out("custom")
    every = list(targets([farm]))
    for target in every[1:] * SAMPLES:
        of.heard(target, answer(figure=1.0))
    of.lay_out(targets([farm]))
    for figure in (6.0, 7.0, 11.0):
        of.heard(every[0], answer(figure=figure))
    assert of.due([farm])
    uses, found = of.series([farm])
    figures = loads.figures(Recalled((farm,), {}), uses, found, None)
    assert figures == {"web": {"slow": 8.0, "app1": 1.0, "app2": 1.0, "app3": 1.0}}


def test_who_is_down_is_not_waited_for() -> None:
    of, farm = laid_out("custom")
    down = replace(NOTHING, check=ByCheck("down", 1))
    backends = (replace(farm.backends[0], remembered=down), *farm.backends[1:])
    for target in list(targets([farm]))[1:] * SAMPLES:
        of.heard(target, answer())
    assert not of.due([farm])
    assert of.due([replace(farm, backends=backends)])


def test_who_is_too_busy_to_answer_counts_with_its_time() -> None:
    late = Result(False, "no answer within 2s", "timeout", 2.0, silent=True)
    refused = Result(False, "connection refused", "refused", 0.001)
    assert Series([late, answer(0.1), refused]).seconds == [2.0, 0.1]


@pytest.mark.parametrize("scheduler", DYNAMIC)
def test_better_than_round_robin(monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler) -> None:
    plain = queues.run(monkeypatch, "round-robin", 1, seconds=120, settled=60)
    for seed in range(1, 4):
        found = queues.run(monkeypatch, scheduler, seed, seconds=240, settled=80)
        assert found.mean < plain.mean / 5, f"seed {seed}"
        assert max(found.slow) < 0.2, f"seed {seed}: the slow one's share swings"


@pytest.mark.parametrize("scheduler", ["least-connections", "least-cpu", "custom"])
def test_near_the_best(monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler) -> None:
    means = [
        queues.run(monkeypatch, scheduler, seed, seconds=240, settled=80).mean for seed in range(3)
    ]
    assert sum(means) / 3 < 2 * OPTIMUM


def test_averages_of_a_minute_move_weights_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    found = queues.run(
        monkeypatch,
        "least-cpu",
        1,
        seconds=1_200,
        settled=600,
        every=10.0,
        window=60.0,
        kind="snmp",
    )
    assert 9 <= len(found.slow) <= 11
    assert found.mean < 0.5
    assert max(found.slow) < 0.2


@pytest.mark.parametrize("scheduler", ["least-connections", "least-cpu", "custom"])
def test_rounds_of_a_minute(monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler) -> None:
    """As cron makes them, one answer each: slow to find the weights, but they don't swing."""
    monkeypatch.setattr(weighing, "SAMPLES", 1)
    found = queues.run(monkeypatch, scheduler, 1, seconds=1_800, settled=600, every=60.0)
    plain = queues.run(monkeypatch, "round-robin", 1, seconds=120, settled=60)
    assert found.mean < plain.mean / 2
    assert max(found.slow) < 0.2
