"""Who is asked how often, by a loop that asks nobody in truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from nftlbc.farms import Backend, Check, Farm, Listener
from nftlbc.probe import engine
from nftlbc.probe.attempt import Shared
from nftlbc.probe.judging import Event, Outcome
from nftlbc.probe.result import Result
from nftlbc.probe.rounds import Name, Rounds
from nftlbc.probe.target import Target
from nftlbc.states import ByCheck, Remembered


def farm(*checks: Check, name: str = "web", count: int = 1) -> Farm:
    backends = tuple(Backend(f"b{n}", f"10.0.0.{n + 1}", 80) for n in range(count))
    return Farm(name, (Listener("203.0.113.1", "tcp", 80, 80),), backends, checks=checks)


class World:
    """Answers, and takes down who was asked and what was heard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: Counter[Target] = Counter()
        self.heard: list[tuple[Name, Outcome | None]] = []
        self.told: list[Event] = []
        self.farms: Mapping[str, Farm] = {}
        self.result = Result(True, "ok", "ok", 0.001)
        self.takes = 0.0
        self.otherwise: list[set[Name]] = []
        monkeypatch.setattr(engine, "ask", self._ask)

    async def _ask(self, target: Target, _: Shared) -> Result:
        self.asked[target] += 1
        await asyncio.sleep(self.takes)
        return self.result

    async def during(self, *steps: tuple[float, Sequence[Farm]]) -> None:
        """The farms of each step for so many seconds."""
        rounds = Rounds(
            lambda: self.farms,
            lambda name, outcome: self.heard.append((name, outcome)),
            self.told.extend,
            opinions=False,
        )
        running: asyncio.Task[None] | None = None
        for seconds, farms in steps:
            self.farms = {each.name: each for each in farms}
            self.otherwise.append(rounds.lay_out())
            running = running or asyncio.create_task(rounds.run())
            await asyncio.sleep(seconds)
        assert running is not None
        running.cancel()
        await asyncio.wait([running])
        assert asyncio.all_tasks() == {asyncio.current_task()}


QUICK = Check("tcp", interval=50, timeout=50)


def test_one_thing_is_asked_once_at_the_shortest_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    slow = farm(replace(QUICK, interval=60_000), name="slow")
    asyncio.run(world.during((0.5, [farm(QUICK), slow])))
    assert len(world.asked) == 1
    assert 3 <= world.asked.total() <= 12
    assert {name for name, _ in world.heard} == {("web", "b0"), ("slow", "b0")}
    assert {outcome for _, outcome in world.heard} == {None}  # no news


def test_taken_out_and_put_back_it_is_asked_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    steps = [(0.0, [farm(QUICK)]), (0.0, [farm()])] * 20
    asyncio.run(world.during(*steps, (0.5, [farm(QUICK)])))
    # Once each time that it is new, then once an interval: not 20 times.
    assert 3 <= world.asked.total() <= 20 + 14


def test_a_shorter_interval_does_not_wait_for_the_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    long = farm(replace(QUICK, interval=60_000))
    asyncio.run(world.during((0.1, [long]), (0.5, [farm(QUICK)])))
    assert world.asked.total() >= 3


def test_a_failure_is_repeated_and_heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.result = Result(False, "tcp refused", "refused", 0.001)
    once = replace(QUICK, interval=60_000, fall=3)
    asyncio.run(world.during((0.5, [farm(once)])))
    assert world.asked.total() == 3
    assert world.heard == [(("web", "b0"), Outcome(False, "tcp refused, 3 of 3", "refused"))]


def test_who_is_down_needs_all_checks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is made more often must not count for the other."""
    world = World(monkeypatch)
    both = farm(QUICK, replace(QUICK, port=81, interval=200))
    down = Remembered(check=ByCheck("down", 5))
    both = replace(both, backends=(replace(both.backends[0], remembered=down),))
    asyncio.run(world.during((0.9, [both])))
    assert max(world.asked.values()) > min(world.asked.values())
    assert 0 < len(world.heard) <= min(world.asked.values())
    assert all(outcome == Outcome(True) for _, outcome in world.heard)


def test_an_answer_that_nobody_waits_for_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two checks one goes while it is asked: it says nothing of the one that is left."""
    world = World(monkeypatch)
    world.takes, world.result = 0.1, Result(False, "tcp refused", "refused", 0.001)
    once = replace(QUICK, interval=60_000, fall=1)
    two, one = farm(once, replace(once, port=81)), farm(replace(once, port=82))
    asyncio.run(world.during((0.05, [two]), (0.0, [one]), (0.1, [farm()])))
    assert world.asked.total() >= 2
    assert world.heard == []


def test_who_is_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not who is asked the same more seldom, or with another patience."""
    world = World(monkeypatch)
    other = replace(QUICK, port=81)
    plain, patient = farm(QUICK, count=2), farm(replace(QUICK, interval=90, fall=9), count=2)
    several = ([plain], [patient], [farm(QUICK, other)], [farm(other, name="new")], [], [plain])
    asyncio.run(world.during(*((0.0, each) for each in several)))
    b0, b1, new = ("web", "b0"), ("web", "b1"), ("new", "b0")
    assert world.otherwise == [set(), set(), {b0, b1}, {b0}, {new}, set()]


def test_a_warning_is_told_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.result = Result(True, "ok", "ok", 0.001, warning="its certificate ends in 9 days")
    asyncio.run(world.during((0.5, [farm(QUICK)])))
    assert world.asked.total() > 2
    text = "tcp 10.0.0.1:80: its certificate ends in 9 days"
    assert world.told == [Event("warning", "web", "b0", text)]
