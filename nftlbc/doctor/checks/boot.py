"""Will the table outlive a reload of the machine's own nftables rules?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok
from nftlbc.doctor.situation import Situation

_FILES: Final = ("etc/nftables.conf", "etc/sysconfig/nftables.conf")
_FLUSH: Final = re.compile(r"(?:^|;)[ \t]*flush[ \t]+ruleset[ \t]*(?:$|;|#)", re.MULTILINE)


def check(situation: Situation) -> Iterator[Finding]:
    name = "flush-ruleset"
    flushing = [file for file in _FILES if _FLUSH.search(situation.machine.read(file) or "")]
    if not flushing:
        yield ok(name, "no reload of nftables' own file flushes our table")
        return
    if _enabled(situation, "nftlbc.service"):
        yield ok(name, f"/{flushing[0]} flushes all tables; nftlbc.service brings ours back")
        return
    loads = _enabled(situation, "nftables.service")
    when = "systemctl reload nftables, and nft -f of it," if loads else "nft -f of it"
    yield Finding(
        name,
        Verdict.WARNING,
        f"/{flushing[0]} has the line flush ruleset",
        f"{when} takes our table away: the farms are gone until the next apply",
        "let our service bring the table back after it, or let that file flush its own tables"
        " alone (table inet filter; delete table inet filter)",
        commands=("systemctl enable --now nftlbc.service",),
    )


def _enabled(situation: Situation, unit: str) -> bool:
    try:
        ran = situation.machine.run(["systemctl", "is-enabled", unit])
    except Unseen:
        return False
    return ran.output.split()[:1] == ["enabled"]
