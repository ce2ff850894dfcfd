"""drain, disable and enable."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Annotated

import typer

from nftlbc.cli import completing
from nftlbc.cli.arguments import NoWait
from nftlbc.cli.spans import seconds
from nftlbc.cli.terminal import DEFAULT_FILE, Status, fail, warn, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nftlbc.farms import Farm
    from nftlbc.plan.by_hand import Done
    from nftlbc.states import HandState

Backends = Annotated[
    list[str],
    typer.Argument(
        ...,
        metavar="FARM/BACKEND",
        help="Which; * stands for any text: web/*, */app2.",
        autocompletion=completing.backends,
    ),
]
FileOption = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help=f"Has the on-change commands; {DEFAULT_FILE}."),
]
_YEAR = 365 * 86_400.0
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but warnings.")]


def add_to(app: typer.Typer) -> None:
    app.command()(drain)
    app.command()(disable)
    app.command()(enable)


def drain(
    backends: Backends,
    let_go: Annotated[
        bool, typer.Option("--let-go", help="Give its sticky clients to others as well.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when no connection to it is open any more.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="Wait no longer (10m), and end with 4."),
    ] = None,
    file: FileOption = None,
    no_wait: NoWait = False,
    quiet: Quiet = False,
) -> None:
    """Take backends out gently: no new clients; open connections and known clients stay."""
    if timeout is not None and not wait:
        raise typer.BadParameter("it goes with --wait", param_hint="--timeout")
    limit = seconds("--timeout", timeout or "10m", least=0, most=_YEAR)
    done = _hold(backends, "let-go" if let_go else "drain", file, no_wait, quiet)
    if wait:
        from nftlbc.cli.waiting import wait_for

        names = [f"{each.farm}/{each.after.name}" for each in done.touched]
        wait_for(names, [each.mark for each in done.touched], limit, quiet=quiet)


def disable(
    backends: Backends, file: FileOption = None, no_wait: NoWait = False, quiet: Quiet = False
) -> None:
    """Cut backends off: their open connections are reset, and nobody reaches them."""
    _hold(backends, "disable", file, no_wait, quiet)


def enable(
    backends: Backends, file: FileOption = None, no_wait: NoWait = False, quiet: Quiet = False
) -> None:
    """Put backends back that were drained or disabled by hand."""
    _hold(backends, None, file, no_wait, quiet)


def _hold(
    backends: list[str], state: HandState | None, file: str | None, no_wait: bool, quiet: bool
) -> Done:
    from nftlbc.diagnostics import printable
    from nftlbc.nft import lock
    from nftlbc.nft.program import NftError
    from nftlbc.plan import by_hand, hand_words, live

    gc.disable()
    filed = _filed(file)
    try:
        with lock.held(wait=not no_wait):
            done = by_hand.hold(backends, state, _who())
    except by_hand.NoSuchBackend as wrong:
        fail(Status.USAGE, wrong.message, wrong.remedy)
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    try:  # it is done: commands are called, whether or not anybody reads what it came to
        if not quiet:
            told = hand_words.lines(done, live.look())
            write("".join(f"{printable(line)}\n" for line in told))
    except NftError as refusal:
        warn(refusal.message, refusal.remedy)
    finally:
        for problem in done.settled.problems:
            warn(problem.message, problem.remedy)
        for text in hand_words.warnings(done.after.values()):
            warn(text)
        _call(done, filed)
    return done


def _filed(file: str | None) -> Sequence[Farm] | None:
    """The farms of the file, for their commands; None where it can't be read, and that is told.

    A file that was named has to be right. The usual one may be missing, or half edited: that is
    no reason not to take a backend out.
    """
    from nftlbc import pipeline
    from nftlbc.cli.terminal import read_farms
    from nftlbc.diagnostics import has_errors

    if file is not None:
        return read_farms(file, quiet=True)
    if not os.path.exists(DEFAULT_FILE):  # noqa: PTH110
        return ()
    farms, diagnostics = pipeline.read(DEFAULT_FILE)
    return None if has_errors(diagnostics) else farms


def _call(done: Done, filed: Sequence[Farm] | None) -> None:
    """Calls the farms' commands; no lock is held, they may be nftlbc themselves."""
    from nftlbc import on_change

    changed = {each.farm for each in done.touched if each.changed}
    if filed is None and changed:
        warn(f"{DEFAULT_FILE} has mistakes: on-change commands are not called", "nftlbc check")
    for farm in filed or ():
        if farm.name in changed and farm.on_change:
            some = on_change.events(done.before[farm.name], done.after[farm.name])
            for wrong in on_change.call(farm.on_change, some):
                warn(wrong)


def _who() -> str:
    """The user who did it: before sudo or doas, else the one who logged in, else who we are."""
    for name in ("SUDO_USER", "DOAS_USER"):
        if os.environ.get(name):
            return os.environ[name]
    try:
        return os.getlogin()
    except OSError:
        pass
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
