"""What happened between two snapshots, each second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nftlbc.status.model import BackendStatus, PoolStatus, Snapshot

Who = tuple[str, str, int | None, str]
"""Farm, address, port and name: what makes a backend the same one in two snapshots."""


class Rate(NamedTuple):
    """Each second."""

    new: float
    bytes_in: float | None
    """None: not counted."""
    bytes_out: float | None


def who(pool: PoolStatus, backend: BackendStatus) -> Who:
    return pool.farm, backend.address, backend.port, backend.name


def rates(before: Snapshot, after: Snapshot) -> Mapping[Who, Rate]:
    """Of the backends that both have. A counter that went back (the table was loaded anew)
    begins at nothing."""
    seconds = after.time - before.time
    if seconds <= 0:
        return {}
    old = {who(pool, each): each for pool, each in before.backends()}
    found = {}
    for pool, each in after.backends():
        key = who(pool, each)
        if key not in old or each.new is None:
            continue
        was = old[key]
        come, gone = each.traffic, was.traffic
        found[key] = Rate(
            _gain(was.new or 0, each.new) / seconds,
            _gain(gone.bytes_in, come.bytes_in) / seconds if come and gone else None,
            _gain(gone.bytes_out, come.bytes_out) / seconds if come and gone else None,
        )
    return found


def _gain(before: int, after: int) -> int:
    return after - before if after >= before else after
