"""Does anybody make the farms' checks?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from nftlbc import times
from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok
from nftlbc.doctor.situation import Situation
from nftlbc.nft import netlink
from nftlbc.nft.program import NftError
from nftlbc.plan import in_use
from nftlbc.states import NOT_YET, STALE


def check(situation: Situation) -> Iterator[Finding]:
    """The table remembers when they were last made."""
    name = "checks-made"
    checked = tuple(f"farm {farm.name}" for farm in situation.farms if farm.checks)
    if not checked:
        yield ok(name, "no farm has checks")
        return
    try:
        table = netlink.read(elements=lambda each: each.name.startswith("states"), program=False)
    except NftError as problem:
        raise Unseen(problem.message) from None
    if table is None:
        yield ok(name, "table inet nftlbc is not loaded yet")
        return
    when = in_use.probed(table) or NOT_YET
    ago = time.time() - when
    if ago <= STALE:
        yield ok(name, f"last {times.left(max(0, int(ago)) * 1000)} ago")
        return
    yield Finding(
        name,
        Verdict.WARNING,
        "nobody has made the checks yet"
        if when == NOT_YET
        else f"nobody has made the checks for {times.left(int(ago) * 1000)}",
        "a backend that dies keeps its share of the clients",
        "let nftlbc probe run: as a service, or from cron or a timer (docs/probing.md)",
        commands=("systemctl enable --now nftlbc-probe.service",),
        affects=checked,
    )
