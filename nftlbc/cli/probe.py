"""probe: checks, states and weights that follow the backends."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nftlbc.cli.arguments import FileArgument, NoWait, Quiet
from nftlbc.cli.spans import seconds
from nftlbc.cli.terminal import (
    DEFAULT_FILE,
    READER_GONE,
    Status,
    counted,
    fail,
    read_farms,
    say,
    warn,
    write,
)

if TYPE_CHECKING:
    from nftlbc.farms import Farm
    from nftlbc.probe.asking import Progress
    from nftlbc.probe.judging import Event
    from nftlbc.probe.once import Run

NoHold = Annotated[
    bool,
    typer.Option("--no-hold", help="Believe it at once when more than half fall silent."),
]
Deadline = Annotated[
    str, typer.Option("--deadline", metavar="TIME", help="For all checks of one run.")
]


def add_to(app: typer.Typer) -> None:
    app.command()(probe)


def probe(
    file: FileArgument = DEFAULT_FILE,
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="TIME", help="Go on, a round of weights so often: 2s."),
    ] = None,
    deadline: Deadline = "50s",
    no_hold: NoHold = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and tell; change nothing.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell each check's result and each weight.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON object for each change.")] = False,
    no_wait: NoWait = False,
    quiet: Quiet = False,
) -> None:
    """Check the backends, and keep the running table in step with them."""
    from nftlbc.nft.program import NftError
    from nftlbc.probe import asking, once

    options = once.Options(
        deadline=seconds("--deadline", deadline), hold=not no_hold, dry=dry_run, wait=not no_wait
    )
    if explain and json:
        fail(Status.USAGE, "--explain is for people, --json for programs: one of them")
    if every is not None:
        if explain or dry_run:
            fail(Status.USAGE, f"{'--explain' if explain else '--dry-run'} is for a single run")
        _loop(file, seconds("--every", every), options.hold, json)
        return
    gc.disable()
    farms = read_farms(file, quiet=quiet)
    missing = tell_missing(farms)
    try:
        run = once.probe(farms, options, progress(quiet))
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if not quiet and (left := asking.not_applied((farm.name for farm in run.before), farms)):
        warn(left)
    report(run, json=json, explain=explain, quiet=quiet, dry=dry_run, missing=missing)


def tell_missing(farms: tuple[Farm, ...]) -> bool:
    """Tells which Python packages their checks need that are not here; whether there are any.

    All else goes on: for want of a package no farm is left without its table, or another check
    unmade.
    """
    from nftlbc.cli.terminal import tell as tell_diagnostics
    from nftlbc.probe import packages

    missing = packages.missing(farms)
    tell_diagnostics(missing)
    return bool(missing)


def report(
    run: Run, *, json: bool, explain: bool, quiet: bool, dry: bool = False, missing: bool = False
) -> None:
    """Tells what a run found; ends with 4 where a farm is below its quorum, with 3 where checks
    could not be made for want of a package."""
    from nftlbc.probe import once, telling

    told = explain or dry or (json is False and not quiet and sys.stderr.isatty())
    events = run.decision.events
    if not told and not json and all(event.kind == "warning" for event in events):
        events = ()  # a certificate that ends in two weeks is no news every minute
    try:  # it is done: commands are called, whether or not anybody reads what was found
        tell(events, json=json)
        if explain:
            write("".join(f"{line}\n" for line in telling.explained(run)))
    finally:
        if run.decision.unknown:
            say(f"nftlbc: not checked in time: {counted(run.decision.unknown, 'backend')}")
        if not quiet:
            for line in run.settled.lines():
                say(line)
        for refusal in run.settled.problems:
            warn(refusal.message, refusal.remedy)
        if not dry:
            for problem in once.called(run):
                warn(problem)
    if told:
        done = "nothing to change" if run.plan.empty else "would change" if dry else "done"
        say(f"{telling.summary(run)}: {done}")
    below = run.below
    if below and told:  # else it was told when it fell there, and the status still says it
        names = ", ".join(below[:5]) + (f" and {len(below) - 5} more" if len(below) > 5 else "")
        say(f"nftlbc: below quorum: {names}")
    if missing:
        raise typer.Exit(int(Status.REFUSED))
    if below or run.decision.held:
        raise typer.Exit(int(Status.NOT_SO))


def tell(events: Sequence[Event], *, json: bool) -> None:
    """A line to standard output for each event."""
    if events:
        write(_lines(events, json=json))


def _lines(events: Sequence[Event], *, json: bool, at: str = "") -> str:
    from nftlbc.probe import telling

    if json:
        now = time.time()
        lines = [telling.as_json(event, now) for event in events]
    else:
        priorities = telling.journal()
        lines = [f"{at}{telling.line(event, priorities=priorities)}" for event in events]
    return "".join(f"{line}\n" for line in lines)


class _Telling:
    """The same of a service, which has more to do than to tell: a log without room is not its
    end. Where its reader has gone it ends as at SIGTERM, and then as every other command."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._to_terminal = sys.stdout.isatty()
        self.reader_gone = False

    def __call__(self, events: Sequence[Event]) -> None:
        if not self._to_terminal:
            events = [each for each in events if each.kind != "started"]
        try:
            at = time.strftime("%H:%M:%S ") if self._to_terminal else ""
            sys.stdout.write(_lines(events, json=self._json, at=at))
            sys.stdout.flush()
        except BrokenPipeError:
            if not self.reader_gone:
                self.reader_gone = True
                signal.raise_signal(signal.SIGTERM)
        except OSError:
            return


def progress(quiet: bool) -> Progress | None:
    """Draws how many checks were made, on a terminal."""
    if quiet or not sys.stderr.isatty():
        return None

    def draw(asked: int, of: int) -> None:
        end = "\n" if asked >= of else ""
        sys.stderr.write(f"\r\x1b[K{asked} of {of} checks{end}")
        sys.stderr.flush()

    return draw


def _loop(file: str, every: float, hold: bool, json: bool) -> None:
    from nftlbc.nft.program import NftError
    from nftlbc.probe import loop
    from nftlbc.probe.farms_file import Mistaken, waited_for

    if waited_for(file):
        fail(Status.USAGE, "--every reads the farms file again when it changes: name a file")
    telling = _Telling(json)
    try:
        loop.run(file, every, hold=hold, tell=telling)
    except Mistaken as problem:
        read_farms(file)  # tells what is wrong, and ends
        fail(Status.MISTAKES, problem.message, problem.remedy)  # it was mended meanwhile
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    if telling.reader_gone:
        write("")
        raise typer.Exit(READER_GONE)
