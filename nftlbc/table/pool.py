"""A farm's pool in one family: who lives, who takes new clients, and who gets which slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from nftlbc.farms import Backend, Balance, Family, Farm
from nftlbc.schedule.consistent import Member, consistent
from nftlbc.schedule.dynamic import fixed_count, follow
from nftlbc.schedule.round_robin import slots as round_robin


@dataclass(frozen=True, slots=True)
class Pool:
    farm: Farm
    family: Family
    backends: tuple[Backend, ...]
    takers: tuple[int, ...]
    """Who takes new clients now: numbers of backends."""
    degraded: bool
    """Fewer than the quorum take new clients, not counting the backups."""

    live: frozenset[int]
    """Whose known clients are delivered to them: numbers of backends."""


def pool_of(farm: Farm, family: Family) -> Pool:
    """The pool of one family, by what is known of the farm's backends.

    Below the quorum the backups join the living ones; at it they take nobody new.
    """
    backends = farm.pool(family)
    takers = tuple(n for n, each in enumerate(backends) if each.takes_new and not each.backup)
    degraded = len(takers) < farm.quorum
    if degraded:
        takers = tuple(n for n, each in enumerate(backends) if each.takes_new)
    live = frozenset(n for n, each in enumerate(backends) if each.live)
    if not takers and farm.when_all_down == "keep":
        takers = _last_up(backends)
        live |= frozenset(takers)  # who drains keeps its known clients
    return Pool(farm, family, backends, takers, degraded, live)


def _last_up(backends: Sequence[Backend]) -> tuple[int, ...]:
    """Who went down last, of those that only their checks hold down."""
    since = {
        n: check.since
        for n, each in enumerate(backends)
        if (check := each.remembered.check) is not None
        and each.weight
        and replace(each, remembered=replace(each.remembered, check=None)).takes_new
    }
    return tuple(n for n, when in since.items() if when == max(since.values()))


def slots_of(pool: Pool, present: Sequence[int] = ()) -> tuple[int, ...]:
    """From slot to the number of its backend; empty where nobody takes new clients.

    present: who has which slot in a running table. Weights that were measured are followed from
    there; what follows from the file alone does not depend on it.
    """
    if not pool.takers:
        return ()
    balance: Balance = pool.farm.balance
    takers = pool.takers
    if pool.farm.moving:
        return _moving(pool, present)
    if balance.scheduler == "consistent":
        members = _members(pool)
        order = consistent(members, balance.slots)
        return tuple(number for number in order if number is not None)
    weights = tuple(pool.backends[number].weight for number in takers)
    order = round_robin(weights).order
    if len(takers) == len(pool.backends):
        return order
    return tuple(takers[number] for number in order)


def most_slots(pool: Pool, order: Sequence[int]) -> int:
    """How many slots a pool may have when others take new clients than now, order being those
    that it has: fewer backends never need more, but for shares that are not exact."""
    if pool.farm.moving:
        return _count(pool) or len(order)
    if pool.farm.balance.scheduler == "consistent":
        return pool.farm.balance.slots
    if len(pool.takers) == len(pool.backends):
        return len(order)
    weights = tuple(each.weight for each in pool.backends if each.weight)
    return max(len(order), len(round_robin(weights).order))


def _count(pool: Pool) -> int:
    return fixed_count(tuple(0 if each.backup else each.weight for each in pool.backends))


def _moving(pool: Pool, present: Sequence[int]) -> tuple[int, ...]:
    weights = [0.0] * len(pool.backends)
    measured, settled = False, True
    for number in pool.takers:
        backend = pool.backends[number]
        known = backend.remembered.measured
        measured = measured or known is not None
        settled = settled and (known is None or known.weight == 1.0)
        # A backup that steps in, or one kept though it is down, has what the file gives it.
        weights[number] = backend.weight * (known.weight if known else 1.0)
    count = _count(pool) or len(pool.takers)
    # Who has climbed to all of its weight gets what the file says, not nearly so much.
    return follow(present if measured else (), weights, count, exact=settled)


def _members(pool: Pool) -> tuple[Member, ...]:
    """Backups own no slot: while they serve they share those of owners that take nobody new.
    Where the quorum is missed by the file's own weights (0 counts as nobody), there would be none
    to share, and the backups own slots like everyone. States have no part in it: who owns what
    must not depend on who is up."""
    takers = set(pool.takers)
    owners = sum(each.weight > 0 and not each.backup for each in pool.backends)
    apart = owners >= pool.farm.quorum
    return tuple(
        Member(
            f"{each.address} {each.port or 0}",
            each.weight,
            number in takers,
            each.backup and apart,
        )
        for number, each in enumerate(pool.backends)
    )


def shares(slots: tuple[int, ...]) -> dict[int, Fraction]:
    """The share of each backend that has slots, by its number."""
    counts: dict[int, int] = {}
    for number in slots:
        counts[number] = counts.get(number, 0) + 1
    return {number: Fraction(count, len(slots)) for number, count in counts.items()}
