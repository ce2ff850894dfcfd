"""One line for monitoring: is every farm at its quorum?"""

from __future__ import annotations

from collections.abc import Sequence

from nftlbc.diagnostics import printable
from nftlbc.status.model import Snapshot

_NAMED = 5


def verdict(snapshot: Snapshot) -> tuple[bool, str]:
    """Whether all is well, and the line."""
    bad: dict[str, str] = {}
    for pool in snapshot.pools:
        if pool.degraded:
            bad.setdefault(pool.farm, f"{pool.taking} of {pool.quorum}")
        elif pool.closed:
            bad.setdefault(pool.farm, "nobody takes new clients")
    backends = sum(len(pool.backends) for pool in snapshot.pools)
    up = sum(each.state == "up" for _, each in snapshot.backends())
    if snapshot.asleep:
        return False, "nftlbc: the table is switched off: nothing is balanced"
    if not bad and snapshot.silence:
        return False, f"nftlbc: {snapshot.silence}: who is up is not known; does nftlbc probe run?"
    if not bad:
        farms = f"{snapshot.farms} farm{'' if snapshot.farms == 1 else 's'}"
        others = [
            f"{printable(pool.farm)}/{printable(each.name)} {each.state}"
            for pool, each in snapshot.backends()
            if each.state != "up"
        ]
        which = f": {_some(others)}" if others else ""
        return True, f"nftlbc: {farms} at quorum, {up} of {backends} backends up{which}"
    named = [f"{printable(farm)} ({why})" for farm, why in bad.items()]
    return False, f"nftlbc: {len(bad)} of {snapshot.farms} farms below quorum: {_some(named)}"


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return f"{', '.join(texts[:_NAMED])}{more}"
