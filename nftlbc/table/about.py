"""What a farm's chain says about itself to the reader of the script."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from nftlbc.farms import Backend, Milliseconds
from nftlbc.table.pool import Pool, shares

_MOST = 6
"""Listeners or backends that are named; more are counted."""


def farm(pool: Pool, order: Sequence[int]) -> tuple[str, ...]:
    """Two or three lines: where it listens, how it chooses, who gets how much."""
    it = pool.farm
    listeners = [str(each) for each in it.listeners if each.family == pool.family]
    how = [str(it.balance)]
    if it.persistence is not None:
        keys = ", ".join(map(str, it.persistence.keys))
        how.append(f"persist {keys} for {seconds(it.persistence.timeout)}")
    how.append(" ".join([it.forward.kind, *it.forward.addresses]))
    if it.hairpin:
        how.append("hairpin")
    got = _counted(tuple(order))
    backends = [
        f"{each.name} {got.get(number) or _why_none(pool, each)}"
        for number, each in enumerate(pool.backends[:_MOST])
    ]
    if len(pool.backends) > _MOST:
        backends.append(f"and {len(pool.backends) - _MOST} more")
    return (
        f"farm {it.name}, IPv{pool.family}: {_some(listeners)}",
        f"    {'; '.join(how)}",
        f"    {', '.join(backends)}",
    )


def seconds(milliseconds: Milliseconds) -> str:
    """``300s``, ``0.25s``: every time has a text of its own, without a sign or an exponent."""
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03}".rstrip("0") + "s" if rest else f"{whole}s"


@functools.lru_cache(maxsize=1024)
def _counted(order: tuple[int, ...]) -> dict[int, str]:
    """The share of each that has slots, as text."""
    return {number: f"{float(share) * 100:.1f}%" for number, share in shares(order).items()}


def _why_none(pool: Pool, backend: Backend) -> str:
    if backend.standing != "up":
        return backend.standing
    if backend.backup and not pool.degraded:
        return "backup"
    return "weight 0" if backend.weight == 0 else "0%"


def _some(texts: Sequence[str]) -> str:
    if len(texts) <= _MOST:
        return ", ".join(texts)
    return f"{', '.join(texts[:_MOST])} and {len(texts) - _MOST} more"
