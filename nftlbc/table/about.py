"""What a farm's chain says about itself to the reader of the script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nftlbc.farms import Backend
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
        how.append(f"persist {keys} for {it.persistence.timeout / 1000:g}s")
    how.append(" ".join([it.forward.kind, *it.forward.addresses]))
    if it.hairpin:
        how.append("hairpin")
    got = shares(tuple(order))
    backends = [
        f"{each.name} {_share(pool, number, each, got)}"
        for number, each in enumerate(pool.backends)
    ]
    return (
        f"farm {it.name}, IPv{pool.family}: {_some(listeners)}",
        f"    {'; '.join(how)}",
        f"    {_some(backends)}",
    )


def _share(pool: Pool, number: int, backend: Backend, got: dict[int, object]) -> str:
    if number in got:
        return f"{float(got[number]) * 100:.1f}%"  # type: ignore[arg-type]
    if backend.state != "up":
        return backend.state
    if backend.backup and not pool.degraded:
        return "backup"
    return "weight 0" if backend.weight == 0 else "0%"


def _some(texts: Iterable[str]) -> str:
    texts = list(texts)
    if len(texts) <= _MOST:
        return ", ".join(texts)
    return f"{', '.join(texts[:_MOST])} and {len(texts) - _MOST} more"
