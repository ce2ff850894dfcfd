"""try."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from nftlbc.cli.arguments import FileArgument, Quiet
from nftlbc.cli.terminal import DEFAULT_FILE, Status, colour, fail, read_farms, write

if TYPE_CHECKING:
    from nftlbc.farms import Farm
    from nftlbc.trial import Options, Trial

_PROGRESS_AFTER = 0.5
"""Seconds; what is over sooner needs no progress."""


def add_to(app: typer.Typer) -> None:
    app.command("try")(try_)


def try_(
    file: FileArgument = DEFAULT_FILE,
    clients: Annotated[
        int | None,
        typer.Option("--clients", min=1, metavar="N", help="Clients of each farm and family."),
    ] = None,
    connections: Annotated[
        int | None,
        typer.Option(
            "--connections",
            min=1,
            metavar="N",
            help="About so many in all; by default 60 for each farm and family, or a full turn.",
        ),
    ] = None,
    down: Annotated[
        list[str] | None,
        typer.Option(
            "--down",
            metavar="FARM/BACKEND",
            help="Then take this backend down and try again; may be repeated.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Draw every farm, however many there are.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Try the farms with real connections in throw-away namespaces; needs no root."""
    from nftlbc.trial import Options

    gc.disable()
    farms = read_farms(file, quiet=quiet)
    if not farms:
        fail(Status.MISTAKES, f"{file} has no farm to try")
    gone = dict.fromkeys(_backend(farms, name) for name in down or ())
    options = Options(clients, connections, tuple(gone))
    trial = _try(farms, options, quiet=quiet)
    if json:
        from nftlbc.trial.report import as_json

        write(as_json(trial, file))
    else:
        from nftlbc.trial.draw import draw
        from nftlbc.trial.look import Look

        shown = "FILE" if file == "-" else file
        paint = colour(sys.stdout)
        write(draw(trial, Look(shown, colour=paint, blocks=_has_blocks(), whole=verbose)))
    if not trial.ok:
        raise typer.Exit(int(Status.NOT_SO))


def _try(farms: Sequence[Farm], options: Options, *, quiet: bool) -> Trial:
    from nftlbc.nft.program import NftError
    from nftlbc.sandbox.errors import SandboxError
    from nftlbc.trial import try_farms

    try:
        with _progress(quiet=quiet) as progress:
            return try_farms(farms, options, progress=progress)
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    except SandboxError as refusal:
        fail(Status.REFUSED, str(refusal))


def _backend(farms: Sequence[Farm], name: str) -> tuple[str, str]:
    """The farm and the backend that a --down names, or the end with status 2."""
    wanted, slash, backend = name.partition("/")
    if not slash:
        full = [f"{farm.name}/{each.name}" for farm in farms for each in farm.backends]
        meant = [each for each in full if each.endswith(f"/{name}")] or full
        raise typer.BadParameter(
            f"{name!r} is not FARM/BACKEND, such as {meant[0]!r}", param_hint="--down"
        )
    farm = next((each for each in farms if each.name == wanted), None)
    if farm is None:
        raise _unknown(f"there is no farm {wanted!r}", wanted, [each.name for each in farms])
    names = [each.name for each in farm.backends]
    if backend not in names:
        raise _unknown(f"farm {wanted} has no backend {backend!r}", backend, names)
    return wanted, backend


def _unknown(message: str, word: str, known: Sequence[str]) -> typer.BadParameter:
    by_lower = {each.lower(): each for each in known}
    from nftlbc.diagnostics import near

    meant = near(word, by_lower)
    hint = f"; did you mean {by_lower[meant]!r}?" if meant else ""
    return typer.BadParameter(message + hint, param_hint="--down")


def _has_blocks() -> bool:
    try:
        "█▏░·…─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A line on the terminal of whoever waits, gone when the waiting is over."""
    begun, shown = monotonic(), False

    def show(made: int, planned: int, farm: str) -> None:
        nonlocal shown
        if quiet or not sys.stderr.isatty() or monotonic() - begun < _PROGRESS_AFTER:
            return
        shown = True
        sys.stderr.write(f"\r\x1b[Ktrying farm {farm}: {made} of {planned} connections")
        sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
