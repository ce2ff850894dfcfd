"""The program nftlbc and its commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from nftlbc import __version__

app = typer.Typer(
    name="nftlbc",
    help="The layer-4 load balancer that Linux already contains: farms compiled to nftables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"nftlbc {__version__}")
        raise typer.Exit


@app.callback()
def nftlbc(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def _commands() -> None:
    """Each module adds its commands; what they need beyond typer they import when they run."""
    from nftlbc.cli import (
        apply,
        compile,
        convert,
        doctor,
        explain,
        hand,
        probe,
        sessions,
        status,
        try_,
    )
    from nftlbc.cli.declared import as_defaults

    for module in (compile, try_, explain, apply, status, sessions, hand, probe, doctor, convert):
        module.add_to(app)
    for each in (app.registered_callback, *app.registered_commands):
        if each and each.callback:
            as_defaults(each.callback)


def run() -> None:
    """Runs and exits; nothing that happens ends in a traceback."""
    _open_streams()
    _commands()
    for stream in (sys.stdout, sys.stderr):
        # What a file holds must not break the drawing of a mistake in it.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status: Any = app(standalone_mode=False)
    except typer.Abort:
        status = 130
    except KeyboardInterrupt:
        status = 130
    except OSError as problem:
        # typer's own printing, of help for one; what we write is told of where it is written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print(f"nftlbc: error: can't write: {problem.strerror}", file=sys.stderr)
        status = 3
    except Exception as problem:
        status = _report(problem)
    sys.exit(status if isinstance(status, int) else 0)


def _open_streams() -> None:
    """Whoever started us may have closed some (cron, ``>&-``): what we open must not take their
    numbers, and what we say must go somewhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def _report(problem: Exception) -> int:
    """Usage errors as typer words them (status 2); our own defects in one line."""
    show = getattr(problem, "show", None)
    if show is not None:
        show()
        return int(getattr(problem, "exit_code", 2))
    if os.environ.get("NFTLBC_TRACEBACK"):
        raise problem
    print(
        f"nftlbc: internal error: {type(problem).__name__}: {problem}\n"
        "   help: this is a defect of nftlbc; NFTLBC_TRACEBACK=1 shows where, please report it",
        file=sys.stderr,
    )
    return 3
