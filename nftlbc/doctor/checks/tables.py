"""Which of the foreign tables could not be read, so that nothing is known of them."""

from __future__ import annotations

from collections.abc import Iterator

from nftlbc.doctor.finding import Finding, not_checked, ok
from nftlbc.doctor.situation import Situation


def check(situation: Situation) -> Iterator[Finding]:
    name = "foreign-tables"
    ruleset = situation.ruleset
    for table, reason in ruleset.unread.items():
        newer = "; a newer nft may read what a newer nft has written" if "died" in reason else ""
        yield not_checked(name, f"{table}: {reason}{newer}")
    for hidden in (table for table in ruleset.tables if table.hidden):
        yield not_checked(
            name,
            f"{hidden}: nft can't tell all that iptables' rules say, and {hidden.program}-nft-save"
            " is not here: apt install iptables",
        )
    if not ruleset.unread:
        count = len(ruleset.tables)
        yield ok(name, f"{count} tables of others were read" if count else "there are none")
