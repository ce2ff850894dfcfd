"""One line for monitoring: is every farm at its quorum?"""

from __future__ import annotations

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
        return True, f"nftlbc: {farms} at quorum, {up} of {backends} backends up"
    named = [f"{printable(farm)} ({why})" for farm, why in list(bad.items())[:_NAMED]]
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    count = f"{len(bad)} of {snapshot.farms} farms below quorum"
    return False, f"nftlbc: {count}: {', '.join(named)}{more}"
