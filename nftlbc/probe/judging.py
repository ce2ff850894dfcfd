"""From what checks found to the states of backends: fall and rise, flapping, and the suspicion
that it is the balancer's own network that is down. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from nftlbc.farms import Backend, Farm
from nftlbc.plan.returning import entering
from nftlbc.states import ByCheck, CheckState, Seconds
from nftlbc.table.pool import pool_of

FLAPPING: Final[Seconds] = 300
"""Who goes down sooner than this after it came back flaps."""
MOST_PATIENCE: Final = 8
"""A flapping backend needs up to so many times its ``rise`` to come back."""
FORGET: Final[Seconds] = 86_400
"""A backend that has been up for so long is plainly up."""
HOLD_FROM: Final = 10
"""Of fewer machines that were up, silence is believed at once."""
HOLD_ROUNDS: Final = 3
"""Silence that lasts for so many rounds of checks is believed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the checks of one backend came to, all of them together."""

    passed: bool
    why: str = ""
    """For people: ``tcp 10.0.0.12:8080 connection refused, 3 of 3``."""
    word: str = ""
    """The same in a word, for the table's record."""
    silent: bool = False
    """It did not fail by an answer, but by none: a time-out, or nobody there."""
    drains: bool = False
    """An agent on it asks for no new clients."""


class Event(NamedTuple):
    """What an operator should know. ``kind``: ``down``, ``drain``, ``up``, ``quorum``,
    ``quorum-met``, ``held``, ``warning``; of a service also ``started`` (also that the file
    was read again; both for who sits before it), ``settled`` (what was done about connections) and
    ``error``."""

    kind: str
    farm: str
    backend: str
    """Empty: the farm is meant."""
    text: str


def judge(
    farm: Farm, outcomes: Mapping[str, Outcome], now: Seconds, hold: bool = False
) -> tuple[Farm, list[Event]]:
    """The farm with the states that follow, and what changed.

    outcomes: by the backends' names; who is not among them stays as it was.
    hold: silence is not believed yet.
    """
    events: list[Event] = []
    rise = max((check.rise for check in farm.checks), default=1)
    backends = []
    for each in farm.backends:
        outcome = outcomes.get(each.name)
        backends.append(
            each if outcome is None else _judged(farm, each, outcome, rise, now, hold, events)
        )
    judged = replace(farm, backends=tuple(backends))
    judged = entering(farm, judged)
    return judged, events + list(_quorums(farm, judged))


def _judged(
    farm: Farm,
    backend: Backend,
    outcome: Outcome,
    rise: int,
    now: Seconds,
    hold: bool,
    events: list[Event],
) -> Backend:
    before = backend.remembered.check
    after = _after(before, outcome, rise, now, hold)
    if after == before:
        return backend
    was = before.state if before else "up"
    is_ = after.state if after else "up"
    if was != is_:
        text = _told(is_, after, outcome, rise)
        events.append(Event(is_, farm.name, backend.name, text))
    return replace(backend, remembered=replace(backend.remembered, check=after))


def _after(
    before: ByCheck | None, outcome: Outcome, rise: int, now: Seconds, hold: bool
) -> ByCheck | None:
    state: CheckState = before.state if before else "up"
    flaps = before.flaps if before else 0
    if outcome.passed:
        wanted: CheckState = "drain" if outcome.drains else "up"
        if state == "down" and before is not None:
            row = before.row + 1
            if row < rise * patience(flaps):
                return replace(before, row=row)
            return ByCheck(wanted, now, 0, flaps)
        if state != wanted:
            return ByCheck(wanted, now, 0, flaps, "agent" if wanted == "drain" else "")
        if before is None or (state == "up" and now - before.since > FORGET):
            return None
        return replace(before, row=0)
    if state == "down" and before is not None:
        return replace(before, row=0, why=outcome.word)
    if hold and outcome.silent:
        # Up since ever: it has not come back from anywhere.
        before = before or ByCheck("up", 0)
        return replace(before, row=before.row + 1)
    # The first time down is no flapping: only a backend that came back has a record. Nor is it
    # when its agent asked for no new clients before.
    soon = before is not None and state == "up" and 0 <= now - before.since < FLAPPING
    return ByCheck("down", now, 0, flaps + 1 if soon else 0, outcome.word)


def patience(flaps: int) -> int:
    """How many times its ``rise`` a backend needs that has flapped so often."""
    return min(1 << min(flaps, 8), MOST_PATIENCE)


def _told(state: str, check: ByCheck | None, outcome: Outcome, rise: int) -> str:
    if state == "up":
        return "its checks pass"
    if state == "drain":
        return "its agent asks for no new clients"
    text = outcome.why
    if check is not None and check.flaps:
        times = check.flaps + 1
        needs = rise * patience(check.flaps)
        text += f"; it flaps, the {_nth(times)} time: {needs} successes bring it back"
    return text


def _nth(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else endings.get(number % 10, 'th')}"


def _quorums(before: Farm, after: Farm) -> Iterable[Event]:
    for family in after.families:
        was, is_ = pool_of(before, family), pool_of(after, family)
        pool = f"IPv{family}: " if len(after.families) > 1 else ""
        if is_.degraded and (not was.degraded or (was.takers and not is_.takers)):
            takers = sum(each.takes_new and not each.backup for each in is_.backends)
            helping = sum(is_.backends[n].backup for n in is_.takers)
            text = f"{pool}below its quorum: {takers} of {after.quorum} take new clients"
            if not is_.takers:
                text = f"{pool}nobody takes new clients: they are refused"
            elif not any(is_.backends[n].live for n in is_.takers):
                text += ", the last ones that were up are kept"
            elif helping:
                text += f", {helping} in reserve help{'s' if helping == 1 else ''}"
            yield Event("quorum", after.name, "", text)
        elif was.degraded and not is_.degraded:
            yield Event("quorum-met", after.name, "", f"{pool}at its quorum again")


def below_quorum(farms: Iterable[Farm]) -> list[str]:
    """The names of the farms of which fewer than the quorum take new clients."""
    return [
        farm.name
        for farm in farms
        if any(pool_of(farm, family).degraded for family in farm.families)
    ]


Suspicion = Literal["none", "held", "believed"]


def suspicion(farms: Iterable[Farm], outcomes: Mapping[str, Mapping[str, Outcome]]) -> Suspicion:
    """Whether so much has fallen silent at once that the balancer's own network is the likelier
    cause: more than half of ten or more machines that were up.

    outcomes: by farm and backend. ``believed``: it has lasted.
    """
    up: dict[str, bool] = {}
    held = lasted = False
    for farm in farms:
        found = outcomes.get(farm.name, {})
        for each in farm.backends:
            outcome = found.get(each.name)
            check = each.remembered.check
            if outcome is None or each.remembered.failed:
                continue
            silent = not outcome.passed and outcome.silent
            # A machine that answers at all is no sign of a network that is down.
            up[each.address] = up.get(each.address, True) and silent
            rounds = check.row if silent and check is not None else 0
            held, lasted = held or rounds > 0, lasted or rounds >= HOLD_ROUNDS - 1
    # Once it is held, others that go down meanwhile are no reason to believe it.
    if (len(up) < HOLD_FROM and not held) or sum(up.values()) * 2 <= len(up):
        return "none"
    return "believed" if lasted else "held"
