"""plan, apply and remove."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nftlbc.cli.arguments import FileArgument, NoWait, Quiet
from nftlbc.cli.terminal import DEFAULT_FILE, Status, counted, fail, read_farms, say, warn, write

if TYPE_CHECKING:
    from nftlbc.farms import Farm
    from nftlbc.plan.planning import Plan


def add_to(app: typer.Typer) -> None:
    app.command()(plan)
    app.command()(apply)
    app.command()(remove)


def plan(
    file: FileArgument = DEFAULT_FILE,
    nft: Annotated[bool, typer.Option("--nft", help="Print the nft transaction itself.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As a JSON document.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 4 if something would change.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Say what apply would change, in the farms' words; change nothing."""
    from nftlbc.nft.program import NftError
    from nftlbc.plan import planning, telling

    gc.disable()
    farms = _some(file, read_farms(file, quiet=quiet))
    try:
        found = planning.plan(farms)
        told = [] if nft else telling.told(found)
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if nft:
        write(found.transaction.change + found.transaction.clearing)
    elif json:
        from json import dumps

        write(dumps(telling.as_json(found, told), indent=2, ensure_ascii=False) + "\n")
    else:
        from nftlbc.diagnostics import printable

        write("".join(f"{printable(line)}\n" for line in telling.lines(found, told)))
    if exit_code and not found.empty:
        raise typer.Exit(int(Status.NOT_SO))


def apply(
    file: FileArgument = DEFAULT_FILE,
    cut: Annotated[
        bool, typer.Option("--cut", help="End open connections to backends that are removed.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Check the backends first; the line for cron.")
    ] = False,
    no_wait: NoWait = False,
    quiet: Quiet = False,
) -> None:
    """Make the kernel's table what the file says, in one transaction; what stays is not touched."""
    from nftlbc.nft import conntrack, lock
    from nftlbc.nft.program import NftError
    from nftlbc.plan import planning, settling

    gc.disable()
    farms = _some(file, read_farms(file, quiet=quiet))
    if probe:
        _probed(farms, cut, no_wait, quiet)
        return
    try:
        with lock.held(wait=not no_wait):
            # Those removed before are among them; who is still there is not cut.
            ending = conntrack.count().tcp if cut else ()
            found = planning.apply(farms, ending)
            settled = settling.settle(found)
            if cut and found.cut and settling.ended(found):
                planning.apply(farms, None)
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if not quiet:
        _done(farms, found)
        _unprobed(farms, found)
        for line in settled.lines():
            say(line)
    for problem in settled.problems:
        warn(problem.message, problem.remedy)


def _some(file: str, farms: tuple[Farm, ...]) -> tuple[Farm, ...]:
    """The farms; ends with status 1 where there is none, which is more often a mistake."""
    if not farms:
        fail(
            Status.MISTAKES,
            f"no farm in {file}: nothing would be balanced any more",
            "if that is meant, nftlbc remove takes the table away",
        )
    return farms


def _done(farms: Sequence[Farm], plan: Plan) -> None:
    backends = sum(len(farm.backends) for farm in farms)
    what = "nothing to change" if plan.empty else "done"
    counts = f"{counted(len(farms), 'farm')}, {counted(backends, 'backend')}"
    say(f"table inet nftlbc: {counts}: {what}")


def _unprobed(farms: Sequence[Farm], plan: Plan) -> None:
    """Checks are made by probe alone, which is easily forgotten."""
    import time

    from nftlbc.plan import in_use
    from nftlbc.states import STALE

    when = in_use.probed(plan.kernel) if plan.kernel is not None else None
    checked = sum(bool(farm.checks) for farm in farms)
    if checked and (when is None or time.time() - when > STALE):
        say(f"{counted(checked, 'farm')} with checks: nftlbc probe makes them, and has to run")


def _probed(farms: tuple[Farm, ...], cut: bool, no_wait: bool, quiet: bool) -> None:
    """Silent where nothing changes and nobody watches: cron sends what is said."""
    from nftlbc.cli.probe import progress, report, tell_missing
    from nftlbc.nft.program import NftError
    from nftlbc.probe import once

    missing = tell_missing(farms)
    try:
        run = once.apply(farms, once.Options(wait=not no_wait, cut=cut), progress(quiet))
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if not quiet and (sys.stderr.isatty() or not run.plan.silent):
        _done(farms, run.plan)
    report(run, json=False, explain=False, quiet=quiet, missing=missing)


def remove(
    no_wait: NoWait = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing.")] = False,
) -> None:
    """Take the table away. Where it is the only one that translates, open connections end."""
    from nftlbc.nft import kernel, lock
    from nftlbc.nft.program import NftError

    try:
        with lock.held(wait=not no_wait):
            there = kernel.there()
            kernel.remove()
            keeper = lock.keeper()
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if keeper is not None:
        warn(
            f"nftlbc probe --every (process {keeper}) puts the table back",
            "end it first: systemctl stop nftlbc-probe",
        )
    elif not quiet:
        say("table inet nftlbc is gone" if there else "there was no table inet nftlbc")
