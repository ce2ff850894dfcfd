"""doctor."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nftlbc.cli.terminal import Status, colour, read_farms, write


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="A farms file; without one, the machine alone."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As a JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Problems only.")] = False,
) -> None:
    """Say what on this machine would keep the farms from working; change nothing."""
    from nftlbc.doctor import Verdict, examine, report

    farms = () if file is None else read_farms(file, quiet=quiet)
    findings = examine(farms)
    if json:
        write(report.as_json(findings))
    else:
        painted = colour(sys.stdout)
        write(report.draw(findings, colour=painted, quiet=quiet, farms=file is not None))
    verdicts = {finding.verdict for finding in findings}
    if Verdict.PROBLEM in verdicts:
        raise typer.Exit(int(Status.NOT_SO))
    if verdicts == {Verdict.NOT_CHECKED}:
        raise typer.Exit(int(Status.REFUSED))
