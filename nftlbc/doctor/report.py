"""Findings for people, in 80 columns, and as JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from nftlbc.diagnostics import printable
from nftlbc.doctor.finding import Finding, Verdict

_WIDTH: Final = 80
_MOST_COMMANDS: Final = 8
_COLOURS: Final = {
    Verdict.PROBLEM: "1;31",
    Verdict.WARNING: "1;33",
    Verdict.NOT_CHECKED: "1;36",
    Verdict.OK: "1;32",
}
_WORD: Final = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+")
"""A word of a command: what stands in quotes is not broken."""


def draw(
    findings: Sequence[Finding],
    *,
    colour: bool = False,
    verbose: bool = False,
    quiet: bool = False,
    farms: bool = True,
) -> str:
    """A block for each problem, then for each warning, then a line for each of the rest.

    verbose: what is well is told, too, and not only counted. quiet: problems alone. farms: some
    were looked at.
    """
    if quiet:
        blocks = [list(_block(each, colour)) for each in _of(findings, Verdict.PROBLEM)]
        return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)
    lines: list[str] = []
    for verdict in (Verdict.PROBLEM, Verdict.WARNING):
        for finding in _of(findings, verdict):
            lines += [*_block(finding, colour), ""]
    for verdict in (Verdict.NOT_CHECKED, Verdict.OK):
        if verbose or verdict is not Verdict.OK:
            for finding in _of(findings, verdict):
                lines += _line(finding, colour)
    if lines and lines[-1]:
        lines.append("")
    lines += _wrapped(_summary(findings, farms))
    return "".join(f"{line}\n" for line in lines)


def _of(findings: Iterable[Finding], verdict: Verdict) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is verdict]


def _block(finding: Finding, colour: bool) -> Iterator[str]:
    label = f"{finding.verdict.value}: "
    first, *rest = _wrapped(f"{label}{finding.what} [{finding.name}]", after="   ")
    yield _paint(label, finding.verdict, colour) + first[len(label) :]
    yield from rest
    for title, text in (("why", finding.why), ("mend", finding.mend)):
        begin = f"   {title + ':':<6}"
        for line in (text or "").splitlines():
            yield from _wrapped(f"{begin}{line}", after=" " * 9)
            begin = " " * 9
    yield from _commands(finding.commands, "" if finding.mend else "   mend:")
    yield from _commands(finding.lasting, "   last:")
    for statement in dict.fromkeys(finding.statements):
        yield f"{'':9}{printable(statement)}"


def _commands(commands: Sequence[str], title: str) -> Iterator[str]:
    for command in commands[:_MOST_COMMANDS]:
        yield from _command(command, title)
        title = ""
    if len(commands) > _MOST_COMMANDS:
        yield f"{'':9}# and {len(commands) - _MOST_COMMANDS} more: --json has them all"


def _command(command: str, title: str) -> Iterator[str]:
    """A command that a person can copy: broken, where it is too long, as the shell lets one."""
    line = f"{title:<9}"
    empty = True
    for word in _WORD.findall(printable(command)):
        if not empty and len(line) + 1 + len(word) > _WIDTH - 2:
            yield f"{line} \\"
            line = " " * 13
            empty = True
        line += word if empty else f" {word}"
        empty = False
    yield line


def _line(finding: Finding, colour: bool) -> Iterator[str]:
    label = f"{finding.verdict.value:<11}"
    first, *rest = _wrapped(f"{label} {finding.name:<18} {finding.what}", after=" " * 31)
    yield _paint(label, finding.verdict, colour) + first[len(label) :]
    yield from rest


def _summary(findings: Sequence[Finding], farms: bool) -> str:
    counts = []
    for verdict, one, many in (
        (Verdict.PROBLEM, "problem", "problems"),
        (Verdict.WARNING, "warning", "warnings"),
        (Verdict.NOT_CHECKED, "not checked", "not checked"),
        (Verdict.OK, "well", "well"),
    ):
        count = len(_of(findings, verdict))
        if count or verdict in (Verdict.PROBLEM, Verdict.OK):
            counts.append(f"{count} {one if count == 1 else many}")
    only = "" if farms else "; only the machine: nftlbc doctor FILE looks at what its farms need"
    return f"{', '.join(counts)}{only}"


def _wrapped(text: str, after: str = "") -> list[str]:
    """Lines of 80 columns; those after the first begin with ``after``. Nothing in the text can
    steer a terminal, and no word in it is broken."""
    return textwrap.wrap(
        printable(text),
        _WIDTH,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def _paint(text: str, verdict: Verdict, colour: bool) -> str:
    return f"\x1b[{_COLOURS[verdict]}m{text}\x1b[0m" if colour else text


def as_json(findings: Sequence[Finding]) -> str:
    """One object; docs/doctor.md describes it."""
    worst = min((finding.verdict for finding in findings), key=list(Verdict).index)
    document = {
        "verdict": worst.value,
        "counts": {
            verdict.value.replace(" ", "_"): len(_of(findings, verdict)) for verdict in Verdict
        },
        "findings": [_row(finding) for finding in findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _row(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.name,
        "verdict": finding.verdict.value,
        "what": finding.what,
        "why": finding.why,
        "mend": finding.mend,
        "commands": list(finding.commands),
        "lasting": list(finding.lasting),
        "statements": list(finding.statements),
        "affects": list(finding.affects),
    }
