"""doctor."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from nftlbc.cli.terminal import DEFAULT_FILE, Status, colour, read_farms, write


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    file: Annotated[
        str | None,
        typer.Argument(
            ...,
            metavar="FILE",
            help=f"A farms file. Without one {DEFAULT_FILE}, and where there is none the machine"
            " alone.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As a JSON document.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Tell also what is well.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Problems only.")] = False,
) -> None:
    """Say what on this machine would keep the farms from working; change nothing."""
    from nftlbc.doctor import Verdict, examine, report

    gc.disable()
    if file is None and Path(DEFAULT_FILE).exists():
        file = DEFAULT_FILE
    farms = () if file is None else read_farms(file, quiet=quiet)
    findings = examine(farms)
    if json:
        write(report.as_json(findings))
    else:
        write(
            report.draw(
                findings,
                colour=colour(sys.stdout),
                verbose=verbose,
                quiet=quiet,
                farms=bool(farms),
            )
        )
    verdicts = {finding.verdict for finding in findings}
    if Verdict.PROBLEM in verdicts:
        raise typer.Exit(int(Status.NOT_SO))
    if verdicts == {Verdict.NOT_CHECKED}:
        raise typer.Exit(int(Status.REFUSED))
