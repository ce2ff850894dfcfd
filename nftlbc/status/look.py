"""Reading what status shows. All here raise NftError where the kernel's table can't be read."""

from __future__ import annotations

import time

from nftlbc.nft import conntrack, netlink
from nftlbc.nft.program import NftError
from nftlbc.plan.in_use import destinations, farm_numbers
from nftlbc.status.model import Snapshot
from nftlbc.status.one_farm import one_farm
from nftlbc.status.survey import survey
from nftlbc.table.model import BACKEND_BITS, OURS


def look(farm: str | None = None) -> Snapshot | None:
    """The load balancer now; of one farm, without pools where there is none of that name.
    None: there is no table."""
    kernel = netlink.read() if farm is None else one_farm(farm)
    if kernel is None:
        return None
    marks = None
    if farm is not None:
        marks = {
            mark & BACKEND_BITS | OURS
            for kind in ("backends", "addresses")
            for _, mark, _ in destinations(kernel, kind)
        }
    try:
        open, unknown = conntrack.count(marks), ""
    except NftError as refusal:
        open, unknown = None, refusal.message
    return survey(kernel, open, time.time(), farm, unknown)


def names() -> list[str]:
    """The farms that the table has."""
    kernel = netlink.read(elements=lambda _: False)
    return [] if kernel is None else sorted(farm_numbers(kernel))
