"""apply and remove."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from nftlbc.cli.compile import FileArgument, Quiet
from nftlbc.cli.terminal import DEFAULT_FILE, Status, counted, fail, read_farms, say


def add_to(app: typer.Typer) -> None:
    app.command()(apply)
    app.command()(remove)


def apply(file: FileArgument = DEFAULT_FILE, quiet: Quiet = False) -> None:
    """Make the kernel's table what the file says, in one transaction."""
    from nftlbc import pipeline
    from nftlbc.nft import kernel
    from nftlbc.nft.program import NftError

    gc.disable()
    farms = read_farms(file, quiet=quiet)
    if not farms:
        fail(
            Status.MISTAKES,
            f"no farm in {file}: nothing would be balanced any more",
            "if that is meant, nftlbc remove takes the table away",
        )
    script = pipeline.script(farms)
    try:
        kernel.load(script)
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if not quiet:
        backends = sum(len(farm.backends) for farm in farms)
        say(f"table inet nftlbc: {counted(len(farms), 'farm')}, {counted(backends, 'backend')}")


def remove(
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing.")] = False,
) -> None:
    """Take the table away. Where it is the only one that translates, open connections end."""
    from nftlbc.nft import kernel
    from nftlbc.nft.program import NftError

    try:
        kernel.remove()
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if not quiet:
        say("table inet nftlbc is gone")
