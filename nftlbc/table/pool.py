"""A farm's pool in one family: who lives, who takes new clients, and who gets which slot."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from nftlbc.farms import Backend, Balance, Family, Farm
from nftlbc.schedule.consistent import Member, consistent
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

    live: tuple[Backend, ...]
    """Whose known clients are delivered to them."""


def pool_of(farm: Farm, family: Family) -> Pool:
    """The pool of one family, by what is known of the farm's backends.

    Below the quorum the backups join the living ones; at it they take nobody new.
    """
    backends = farm.pool(family)
    takers = tuple(n for n, each in enumerate(backends) if each.takes_new and not each.backup)
    degraded = len(takers) < farm.quorum
    if degraded:
        takers = tuple(n for n, each in enumerate(backends) if each.takes_new)
    live = tuple(each for each in backends if each.live)
    return Pool(farm, family, backends, takers, degraded, live)


def slots_of(pool: Pool) -> tuple[int, ...]:
    """From slot to the number of its backend; empty where nobody takes new clients."""
    if not pool.takers:
        return ()
    balance: Balance = pool.farm.balance
    takers = pool.takers
    if balance.scheduler == "consistent":
        members = _members(pool)
        order = consistent(members, balance.slots)
        return tuple(number for number in order if number is not None)
    weights = tuple(pool.backends[number].weight for number in takers)
    order = round_robin(weights).order
    if len(takers) == len(pool.backends):
        return order
    return tuple(takers[number] for number in order)


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
