"""From results to states: fall, rise, flapping, suspicion, quorum. Nothing is asked here."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from nftlbc.farms import Backend, Balance, Check, Farm, Listener
from nftlbc.plan.returning import ENTERS_AT
from nftlbc.probe import asking, engine, judging
from nftlbc.probe.asking import Series, ask_all, outcomes, with_checks
from nftlbc.probe.judging import Event, Outcome, below_quorum, judge, suspicion
from nftlbc.probe.result import Result
from nftlbc.probe.target import Target, targets
from nftlbc.states import NOTHING, ByCheck, ByHand, Remembered
from nftlbc.table.pool import pool_of

GOOD = Outcome(True)
REFUSED = Outcome(False, "tcp 10.0.0.1:80 connection refused, 3 of 3", "refused")
SILENT = Outcome(False, "tcp 10.0.0.1:80 no answer, 3 of 3", "timeout", silent=True)
DRAINS = Outcome(True, drains=True)


def farm(count: int = 3, **settings: object) -> Farm:
    backends = tuple(Backend(f"b{n}", f"10.0.0.{n + 1}", 80) for n in range(count))
    checks = (Check("tcp", fall=3, rise=2),)
    plain = Farm("web", (Listener("203.0.113.1", "tcp", 80, 80),), backends, checks=checks)
    return replace(plain, **settings)  # type: ignore[arg-type]


def rounds(
    start: Farm, *results: Outcome, begin: int = 1_000_000, step: int = 5, **how: bool
) -> tuple[Farm, list[Event]]:
    """The first backend's results, one after the other."""
    events: list[Event] = []
    for number, each in enumerate(results):
        start, some = judge(start, {"b0": each}, begin + number * step, **how)
        events += some
    return start, events


def first(of: Farm) -> Backend:
    return of.backends[0]


def state(of: Farm) -> ByCheck:
    check = first(of).remembered.check
    assert check is not None
    return check


def test_a_failure_takes_out_and_one_success_does_not_bring_back() -> None:
    down, events = rounds(farm(), REFUSED)
    assert first(down).standing == "down"
    assert state(down).why == "refused"
    assert events == [Event("down", "web", "b0", "tcp 10.0.0.1:80 connection refused, 3 of 3")]
    once, events = rounds(down, GOOD)
    assert (first(once).standing, state(once).row, events) == ("down", 1, [])
    # A failure in between begins the count anew.
    again, events = rounds(once, SILENT, GOOD)
    assert (first(again).standing, state(again).row, state(again).why) == ("down", 1, "timeout")
    up, events = rounds(again, GOOD, begin=1_000_100)
    assert first(up).standing == "up"
    assert [event.kind for event in events] == ["up"]
    assert state(up).since == 1_000_100


def test_the_largest_rise_of_several_checks_counts() -> None:
    several = farm(checks=(Check("tcp", rise=1), Check("http", rise=4)))
    down, _ = rounds(several, REFUSED)
    almost, _ = rounds(down, GOOD, GOOD, GOOD)
    assert first(almost).standing == "down"
    assert first(rounds(almost, GOOD)[0]).standing == "up"


def test_who_was_not_asked_stays() -> None:
    down, _ = rounds(farm(), REFUSED)
    assert judge(down, {}, 1_000_500) == (down, [])


def test_after_a_day_it_is_forgotten() -> None:
    up, _ = rounds(farm(), REFUSED, GOOD, GOOD)
    assert first(rounds(up, GOOD, begin=1_000_000 + judging.FORGET)[0]).remembered.check
    later, events = rounds(up, GOOD, begin=1_000_100 + judging.FORGET)
    assert first(later).remembered == NOTHING
    assert events == []


def test_flapping_is_told_and_asks_for_more_each_time() -> None:
    now = farm()
    needed = []
    begin = 1_000_000
    for times in range(6):
        now, events = rounds(now, REFUSED, begin=begin)
        assert ("it flaps" in events[0].text) == (times > 0)
        if times == 1:
            assert "it flaps, the 2nd time: 4 successes bring it back" in events[0].text
        successes = 0
        while first(now).standing == "down":
            begin += 5
            now, _ = rounds(now, GOOD, begin=begin)
            successes += 1
        needed.append(successes)
        begin += 5
    assert needed == [2, 4, 8, 16, 16, 16]
    # Who stays up long enough is believed again.
    now, events = rounds(now, REFUSED, begin=begin + judging.FLAPPING)
    assert "flaps" not in events[0].text
    assert state(now).flaps == 0


def test_whoever_announces_a_stop_does_not_flap() -> None:
    """The way in which a careful server is restarted: its agent drains it, it stops, it is back."""
    up, _ = rounds(farm(), REFUSED, GOOD, GOOD)
    drained, events = rounds(up, DRAINS, begin=1_000_900)
    assert [event.kind for event in events] == ["drain"]
    down, events = rounds(drained, REFUSED, begin=1_000_920)
    assert "flaps" not in events[0].text
    assert state(down).flaps == 0
    _, events = rounds(down, GOOD, DRAINS, GOOD)
    assert [event.kind for event in events] == ["drain", "up"]


def test_an_agent_drains() -> None:
    drained, events = rounds(farm(), DRAINS)
    assert first(drained).standing == "drain"
    assert "its agent asks for no new clients" in events[0].text
    assert rounds(drained, DRAINS)[1] == []
    up, events = rounds(drained, GOOD)
    assert (first(up).standing, events[0].kind) == ("up", "up")


@pytest.mark.parametrize("hand", ["drain", "disable"])
def test_the_worse_of_hand_and_check_counts(hand: str) -> None:
    plain = farm()
    held = replace(first(plain), remembered=Remembered(hand=ByHand(hand, "me", 5)))  # type: ignore[arg-type]
    plain = replace(plain, backends=(held, *plain.backends[1:]))
    down, _ = rounds(plain, REFUSED)
    assert first(down).standing == "down"
    assert first(down).remembered.hand == held.remembered.hand
    back, _ = rounds(down, GOOD, GOOD)
    assert first(back).standing == held.standing
    assert first(back).remembered.hand == held.remembered.hand


def test_quorum_is_told_when_it_is_missed_and_met() -> None:
    all_of = farm(2, quorum=2)
    down, events = rounds(all_of, REFUSED)
    assert events[1] == Event("quorum", "web", "", "below its quorum: 1 of 2 take new clients")
    assert below_quorum([down, all_of]) == ["web"]
    none, events = judge(down, {"b1": REFUSED}, 1_000_000)
    assert "nobody takes new clients" in events[-1].text
    back, events = judge(none, {"b0": GOOD, "b1": GOOD}, 1_000_005)
    back, events = judge(back, {"b0": GOOD, "b1": GOOD}, 1_000_010)
    assert [event.kind for event in events] == ["up", "up", "quorum-met"]


def test_what_helps_below_the_quorum_is_told() -> None:
    spare = Backend("spare", "10.0.0.9", 80, backup=True)
    _, events = rounds(farm(1, backends=(*farm(1).backends, spare)), REFUSED)
    assert events[-1].text == "below its quorum: 0 of 1 take new clients, 1 in reserve helps"
    kept, events = rounds(farm(1, when_all_down="keep"), REFUSED)
    assert events[-1].text == (
        "below its quorum: 0 of 1 take new clients, the last ones that were up are kept"
    )
    assert below_quorum([kept]) == ["web"]


def test_one_that_drains_is_nobody_for_new_clients() -> None:
    """It keeps its known clients; with ``keep`` the last that were up take the new ones."""
    drained = Remembered(ByHand("drain", "ann", 1))
    three = farm(when_all_down="keep")
    three = replace(
        three, backends=(*three.backends[:2], replace(three.backends[2], remembered=drained))
    )
    down, _ = judge(three, {"b0": REFUSED, "b2": GOOD}, 1_000_000)
    down, events = judge(down, {"b1": REFUSED, "b2": GOOD}, 1_000_005)
    assert events[-1].text.endswith("the last ones that were up are kept")
    pool = pool_of(down, 4)
    assert (pool.takers, pool.live, pool.degraded) == ((1,), {1, 2}, True)
    refusing = pool_of(replace(down, when_all_down="refuse"), 4)
    assert (refusing.takers, refusing.live) == ((), {2})


def test_who_comes_back_where_weights_move_begins_with_a_tenth() -> None:
    moving = farm(balance=Balance("least-connections"))
    down, _ = rounds(moving, REFUSED)
    up, _ = rounds(down, GOOD, GOOD)
    measured = first(up).remembered.measured
    assert measured is not None
    assert measured.weight == ENTERS_AT
    # Alone, with all of it: the clients have nobody else.
    all_down, _ = judge(moving, {f"b{n}": REFUSED for n in range(3)}, 1_000_000)
    up, _ = rounds(all_down, GOOD, GOOD)
    measured = first(up).remembered.measured
    assert measured is not None
    assert measured.weight == 1.0


# Suspicion of the balancer's own network.


def silent(count: int, of: int) -> dict[str, dict[str, Outcome]]:
    return {"web": {f"b{n}": SILENT if n < count else GOOD for n in range(of)}}


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(6, 10, "held"), (5, 10, "none"), (9, 9, "none"), (10, 10, "held"), (51, 100, "held")],
)
def test_more_than_half_of_ten_or_more(count: int, of: int, expected: str) -> None:
    assert suspicion([farm(of)], silent(count, of)) == expected


def test_refusals_are_no_suspicion() -> None:
    refused = {"web": {f"b{n}": REFUSED for n in range(20)}}
    assert suspicion([farm(20)], refused) == "none"


def test_who_is_down_does_not_count() -> None:
    some, _ = judge(farm(20), {f"b{n}": REFUSED for n in range(11)}, 1_000_000)
    assert suspicion([some], {"web": dict.fromkeys((f"b{n}" for n in range(20)), SILENT)}) == "none"


def test_held_silence_is_kept_then_believed() -> None:
    now, told = farm(10), []
    for number in range(judging.HOLD_ROUNDS):
        found = silent(10, 10)
        doubt = suspicion([now], found)
        told.append(doubt)
        now, events = judge(now, found["web"], 1_000_000 + number * 60, doubt == "held")
        if doubt == "held":
            assert events == []
            assert all(each.standing == "up" for each in now.backends)
    assert told == ["held", "held", "believed"]
    assert all(each.standing == "down" for each in now.backends)
    # Nobody came back from anywhere: it is no flapping.
    assert {each.remembered.check.flaps for each in now.backends if each.remembered.check} == {0}


def test_one_that_refuses_meanwhile_does_not_end_the_hold() -> None:
    found = silent(7, 10)["web"] | {"b9": REFUSED}
    now, _ = judge(farm(10), found, 1_000_000, True)
    assert [each.standing for each in now.backends].count("up") == 9
    assert suspicion([now], {"web": found}) == "held"


def test_held_and_heard_again_leaves_nothing_behind() -> None:
    """No slow start for who was never down, and no flapping when it goes down later."""
    slow = farm(10, slow_start=60_000)
    held, _ = judge(slow, silent(10, 10)["web"], 1_000_000, True)
    back, events = judge(held, silent(0, 10)["web"], 1_000_060)
    assert events == []
    assert back == slow
    refused, _ = rounds(held, REFUSED, hold=True)
    assert first(refused).standing == "down"  # an answer is believed even so
    assert state(refused).flaps == 0


# What several checks, and several results of one, come to.


def result(passed: bool, silent: bool = False) -> Result:
    return Result(passed, "tcp 10.0.0.1:80 " + ("ok" if passed else "refused"), "x", 0.1, silent)


def of_results(farms: list[Farm], *passed: bool) -> dict[str, dict[str, Outcome]]:
    uses = targets(farms)
    series = {each: Series([result(good) for good in passed]) for each in uses}
    return outcomes(uses, series)[0]


def test_a_check_of_one_thing_is_made_once_and_each_farm_has_its_own_fall() -> None:
    two = replace(farm(1), name="strict", checks=(Check("tcp", fall=1),))
    farms = [farm(1), two]
    assert len(targets(farms)) == 1
    assert asking.repeats(*targets(farms).values()) == 3
    found = of_results(farms, False, False, False)
    assert found["web"]["b0"].why.endswith("refused, 3 of 3")
    assert found["strict"]["b0"].why.endswith("refused, 1 of 1")
    found = of_results(farms, False, True)
    assert found["web"]["b0"].passed
    assert found["strict"]["b0"].passed  # it answers by now


def test_all_of_several_checks_have_to_pass() -> None:
    both = farm(1, checks=(Check("tcp"), Check("tcp", port=81)))
    uses = targets([both])
    one, two = uses
    good, bad = Series([result(True)]), Series([result(False)] * 3)
    assert not outcomes(uses, {one: good, two: bad})[0]["web"]["b0"].passed
    assert outcomes(uses, {one: good, two: good})[0]["web"]["b0"].passed
    assert outcomes(uses, {one: good})[0] == {}  # not all of them were made


def test_silent_is_who_answers_no_check() -> None:
    both = farm(1, checks=(Check("tcp"), Check("tcp", port=81)))
    uses = targets([both])
    one, two = uses
    quiet, refused = Series([result(False, True)] * 3), Series([result(False)] * 3)
    assert outcomes(uses, {one: quiet, two: quiet})[0]["web"]["b0"].silent
    assert not outcomes(uses, {one: quiet, two: refused})[0]["web"]["b0"].silent


def test_who_could_not_be_asked_often_enough_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither down nor well: the run was over before ``fall`` was reached."""

    async def slow(again: list[Target], deadline: float) -> dict[Target, Result]:
        await asyncio.sleep(0.05)
        return {target: result(False) for target in again}

    monkeypatch.setattr(engine, "run", slow)
    uses = targets([farm(2)])
    assert asyncio.run(ask_all(uses, 0.08)) == {}
    found = asyncio.run(ask_all(uses, 5))
    assert [len(series.results) for series in found.values()] == [3, 3]


def test_findings_go_with_the_last_check() -> None:
    down, _ = rounds(farm(), REFUSED)
    held = replace(first(down).remembered, hand=ByHand("drain", "me", 5))
    down = replace(down, backends=(replace(first(down), remembered=held), *down.backends[1:]))
    (kept,) = with_checks([replace(down, checks=())], [farm()])
    assert (first(kept).standing, kept.checks) == ("down", farm().checks)
    (unchecked,) = with_checks([down], [farm(checks=())])
    assert first(unchecked).remembered == Remembered(hand=held.hand)
    # A farm that is no longer in the file waits for apply.
    assert with_checks([down], []) == (down,)
