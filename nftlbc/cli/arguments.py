"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

FileArgument = Annotated[
    str, typer.Argument(..., metavar="FILE", help="A farms file; - reads standard input.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No warnings.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Don't wait where another nftlbc changes the table.")
]
