"""Promise against observation: who got how many beside who should have."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from nftlbc.schedule.round_robin import PRECISION
from nftlbc.schedule.round_robin import slots as round_robin
from nftlbc.trial import chance, checks
from nftlbc.trial.plan import Plan, shares_of, weights_of
from nftlbc.trial.result import How, PoolResult, Row
from nftlbc.trial.tally import Made, Memory, Setting, Tally

_SMOOTH = 2
"""A smooth round robin is less than one connection off its shares from its beginning on, so
less than two in any part of it."""


def judge(
    plan: Plan, made: Made, memory: Memory, setting: Setting, *, certain: bool = True
) -> PoolResult:
    """What came of a plan's connections beside what its farm promises.

    made: in the order of the waves; what was not made is not judged.
    memory: what the farm knows of its clients; changed as the connections change it.
    certain: False where the farm may have forgotten clients, its timeout having passed.
    """
    second = bool(memory)
    tally = Tally(plan, setting, memory)
    for connection, answer in made:
        tally.add(connection, answer)
    rows = tuple(_row(tally, row, certain) for row in range(len(tally.rows)))
    return PoolResult(
        plan, tally.made, rows, checks.checks(tally, rows, second=second, certain=certain)
    )


def _row(tally: Tally, row: int, certain: bool) -> Row:
    known = tally.known[row]
    due, low, high, how = _due_of_new(tally, row)
    shown = known + due
    if how == "chance":
        # Where known clients go was a matter of chance too, when they came first.
        repeated = sum(tally.known_anew.values())
        shown += due * Fraction(repeated, tally.drawn or 1) - tally.known_anew[row]
    return Row(
        backends=tally.rows.backends(row),
        got=tally.got[row],
        due=shown,
        low=known + low,
        high=known + high,
        how=how if certain else "unknown",
        why=_why_none(tally, row),
    )


def _due_of_new(tally: Tally, row: int) -> tuple[Fraction, int, int, How]:
    """How many new clients should have come to a row, the fewest and the most that are right."""
    plan = tally.plan
    if plan.judged == "refused":
        return Fraction(0), 0, 0, "none"
    if plan.judged == "keyed":
        hashed = tally.hashed[row]
        return Fraction(hashed), hashed, hashed, "none" if _why_none(tally, row) else "hash"
    shares = shares_of(plan.pool)
    share = sum((shares.get(each, Fraction(0)) for each in tally.rows.members[row]), Fraction(0))
    if not share:
        return Fraction(0), 0, 0, "none"
    due = share * tally.drawn
    if plan.judged == "random":
        return due, *chance.likely(tally.drawn, float(share), tally.setting.doubt), "chance"
    stray, how = _stray(plan, tally.drawn)
    return due, max(0, ceil(due - stray)), floor(due + stray), how


def _stray(plan: Plan, drawn: int) -> tuple[Fraction, How]:
    """How many connections a round robin may be off its shares."""
    order = round_robin(weights_of(plan.pool))
    if order.limited:
        return Fraction(0), "unknown"
    whole = drawn % plan.turn == 0
    if order.exact and whole:
        return Fraction(0), "exact"
    stray = Fraction(0) if order.exact else Fraction(drawn, PRECISION)
    return stray + (0 if whole else _SMOOTH), "near"


def _why_none(tally: Tally, row: int) -> str:
    """Why a row's backends get no new clients; empty where they do."""
    if any(each in tally.pool.takers for each in tally.rows.members[row]):
        return ""
    backend = tally.rows.backends(row)[0]
    if backend.state != "up":
        return backend.state
    return "backup" if backend.weight else "weight 0"
