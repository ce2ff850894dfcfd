"""Foreign chains that drop the farms' packets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from nftlbc.doctor.doors import by_destination, translated_through
from nftlbc.doctor.finding import Finding, Verdict, ok, some, unique
from nftlbc.doctor.interference import OURS, Inspection, Standing
from nftlbc.doctor.situation import Situation

_NAME: Final = "foreign-filter"
_WHY: Final = "a packet has to pass the chains of every table; ours can't let it by the others"
_MEND: Final = "let it through there: now by this, for good in the file that makes that table"


def check(situation: Situation) -> Iterator[Finding]:
    inspection = Inspection(situation)
    found: dict[tuple[str, str], list[Standing]] = defaultdict(list)
    if situation.farms:
        for farm, path in inspection.paths():
            for standing in inspection.blocking(farm, path):
                found[standing.where].append(standing)
    for standings in found.values():
        yield _blocked(standings)
    if not situation.farms:
        yield from _anything(situation, inspection)
    elif not found:
        yield ok(_NAME, f"no foreign chain drops the farms' packets{_partly(inspection)}")


def _partly(inspection: Inspection) -> str:
    return "" if inspection.complete else f" (the first {inspection.tried} ways were tried)"


def _blocked(standings: Sequence[Standing]) -> Finding:
    first = standings[0]
    farms = unique(f"farm {each.farm.name}" for each in standings if each.farm is not None)
    whose = (
        "the backends' answers to" if all(each.answer for each in standings) else "connections to"
    )
    hook = first.chain.hook
    early = hook is not None and (
        hook.name == "ingress" or (hook.name == "prerouting" and hook.priority <= OURS)
    )
    if early:
        commands = by_destination(standings)
    else:
        commands = translated_through(first.table, first.chain)
    return Finding(
        _NAME,
        Verdict.PROBLEM,
        f"{first.table} drops {whose} {some(farms)} ({first.rule})",
        _WHY,
        _MEND,
        commands=commands,
        affects=farms,
    )


def _anything(situation: Situation, inspection: Inspection) -> Iterator[Finding]:
    """Without farms: does a chain drop whatever is translated and forwarded?"""
    found: dict[tuple[str, str], Standing] = {}
    for standing in inspection.dropping_all():
        found.setdefault(standing.where, standing)
    for standing in found.values():
        yield Finding(
            _NAME,
            Verdict.PROBLEM,
            f"{standing.table} drops all that is forwarded for a farm ({standing.rule})",
            _WHY,
            _MEND,
            commands=translated_through(standing.table, standing.chain),
        )
    if not found:
        yield ok(_NAME, "no foreign chain drops all that is forwarded")
