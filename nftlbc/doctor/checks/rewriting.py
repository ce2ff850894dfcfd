"""Foreign chains that take the farms' connections away, or change what ours decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from nftlbc.doctor.doors import by_destination, past_ours
from nftlbc.doctor.finding import Finding, Verdict, ok, some, unique
from nftlbc.doctor.foreign.packet import Path
from nftlbc.doctor.foreign.walking import Effect
from nftlbc.doctor.interference import OURS, Inspection, Standing
from nftlbc.doctor.situation import Situation
from nftlbc.farms import FAMILIES

_GUARDS: Final = {
    "nft": "ct mark and 0x80000000 == 0",
    "iptables-nft": "-m connmark --mark 0/0x80000000",
    "iptables-legacy": "-m connmark --mark 0/0x80000000",
}
_ELSEWHERE: Final = "now by this, for good in the file that makes that table"


def translations(situation: Situation) -> Iterator[Finding]:
    """Other nat chains: of several, the first that translates a connection has it."""
    name = "foreign-nat"
    inspection = Inspection(situation)
    found = _grouped(
        standing
        for farm, path in inspection.paths()
        for standing in inspection.translating(farm, path)
    )
    for standings in found:
        first = standings[0]
        certain = any(each.outcome.certain for each in standings)
        same = first.chain.hook is not None and first.chain.hook.priority == OURS
        some_of = "" if certain else "some of "
        yield Finding(
            name,
            Verdict.PROBLEM if certain else Verdict.WARNING,
            f"{first.table} translates {some_of}the connections of {some(_farms(standings))}"
            f" ({first.rule})",
            "it has the priority of our own chain, and of two such the one that was loaded first"
            " has the connection"
            if same
            else "it comes before our own chain, and who translates a connection first has it",
            f"let the farms' connections pass there: {_ELSEWHERE}",
            commands=by_destination(standings),
            affects=_farms(standings),
        )
    if not found:
        yield ok(name, "no foreign chain translates the farms' connections")


def untracked(situation: Situation) -> Iterator[Finding]:
    name = "untracked"
    inspection = Inspection(situation)
    found = _grouped(
        standing
        for farm, path in inspection.paths()
        for standing in inspection.untracking(farm, path)
    )
    for standings in found:
        first = standings[0]
        certain = any(each.outcome.certain for each in standings)
        yield Finding(
            name,
            Verdict.PROBLEM if certain else Verdict.WARNING,
            f"{first.table} keeps {'' if certain else 'some '}packets of"
            f" {some(_farms(standings))} from being tracked ({first.rule})",
            "what the kernel does not track it does not translate: such packets end at this"
            " machine's own sockets, or at the wrong ones",
            f"let the farms' packets pass there: {_ELSEWHERE}",
            commands=by_destination(standings),
            affects=_farms(standings),
        )
    if not found:
        yield ok(name, "no foreign chain keeps the farms' packets from being tracked")


def sources(situation: Situation) -> Iterator[Finding]:
    """Foreign masquerading of farms whose backends are promised the clients' addresses."""
    name = "foreign-masquerade"
    inspection = Inspection(situation)
    found = _grouped(
        standing
        for farm, path in inspection.paths()
        if farm.forward.kind == "dnat" and path.leaves not in (None, path.arrives)
        for standing in inspection.replacing(farm, path)
    )
    for standings in found:
        first = standings[0]
        yield Finding(
            name,
            Verdict.WARNING,
            f"{first.table} replaces the clients' addresses of {some(_farms(standings))}"
            f" ({first.rule})",
            "forward dnat promises the backends the clients' addresses; they see this machine's",
            f"if that is not meant, let our connections pass there: {_ELSEWHERE}",
            commands=past_ours(first.table, first.chain),
            affects=_farms(standings),
        )
    if not found:
        yield ok(name, "no foreign chain replaces the clients' addresses")


def marks(situation: Situation) -> Iterator[Finding]:
    """Connection marks are ours for balanced connections; bit 31 tells them from others."""
    name = "foreign-marks"
    inspection = Inspection(situation)
    standings: list[Standing] = []
    if situation.farms:
        for farm, path in inspection.paths():
            standings += inspection.marking(farm, path)
    else:
        for family in FAMILIES:
            standings += inspection.marking(None, Path(family))
    found = _grouped(standings)
    for group in found:
        yield _marking(name, group)
    if not found:
        yield ok(name, "no foreign chain touches the marks of the farms' connections")


def _marking(name: str, standings: Sequence[Standing]) -> Finding:
    first = standings[0]
    rules = unique(each.rule for each in standings)
    copied = any(each.outcome.effect is Effect.RESTORE_MARK for each in standings)
    set_ = any(each.outcome.effect is Effect.SAVE_MARK for each in standings)
    if copied:
        does = "sets connection marks and copies them" if set_ else "copies connection marks"
        does += " to packets"
    else:
        does = "sets connection marks"
    why = []
    if copied:
        why.append(
            "a balanced connection's mark names its backend: taken for somebody's own mark it"
            " sends packets another way"
        )
    if set_:
        why.append("a mark that is overwritten no longer tells whose connection it is")
    alone = all(each.lone for each in standings)
    return Finding(
        name,
        Verdict.PROBLEM if any(each.outcome.certain for each in standings) else Verdict.WARNING,
        f"{first.table} {does} ({some(rules)})",
        "; ".join(why),
        f"let each of these rules begin with\n{_GUARDS[first.table.made_by]}"
        + (f"\nor leave the chain before them, {_ELSEWHERE}" if alone else ""),
        commands=past_ours(first.table, first.chain) if alone else (),
        affects=_farms(standings),
    )


def _farms(standings: Iterable[Standing]) -> tuple[str, ...]:
    return unique(f"farm {each.farm.name}" for each in standings if each.farm is not None)


def _grouped(standings: Iterable[Standing]) -> list[list[Standing]]:
    """By the base chain."""
    found: dict[tuple[str, str], list[Standing]] = defaultdict(list)
    for each in standings:
        found[each.where].append(each)
    return list(found.values())
