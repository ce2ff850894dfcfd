"""What the commands share of talking with a person: exit statuses, errors, colours, files."""

from __future__ import annotations

import contextlib
import enum
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

if TYPE_CHECKING:
    from nftlbc.diagnostics import Diagnostic
    from nftlbc.farms import Farm

READER_GONE = 141
"""As a shell tells of a program that SIGPIPE ended."""
DEFAULT_FILE = "/etc/nftlbc/farms.lb"


class Status(enum.IntEnum):
    """Exit statuses; those of commands.md."""

    DONE = 0
    MISTAKES = 1
    USAGE = 2
    REFUSED = 3
    NOT_SO = 4


def colour(stream: TextIO) -> bool:
    """Colours and bars are for terminals whose owner did not say no (NO_COLOR)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def fail(status: Status, message: str, remedy: str | None = None) -> NoReturn:
    """One line (and its help) to standard error, and the end."""
    from nftlbc.diagnostics import printable

    paint = colour(sys.stderr)
    word = "\x1b[1;31merror:\x1b[0m" if paint else "error:"
    say(f"nftlbc: {word} {printable(message)}")
    if remedy:
        say(f"   help: {printable(remedy)}")
    raise typer.Exit(int(status))


def warn(message: str, remedy: str | None = None) -> None:
    """One line (and its help) to standard error."""
    from nftlbc.diagnostics import printable

    word = "\x1b[1;33mwarning:\x1b[0m" if colour(sys.stderr) else "warning:"
    say(f"nftlbc: {word} {printable(message)}")
    if remedy:
        say(f"   help: {printable(remedy)}")


def say(text: str) -> None:
    """A line to standard error; where nobody can be told, the exit status still says it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def write(text: str) -> None:
    """The result, to standard output; ends quietly where its reader has gone."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(READER_GONE) from None
    except OSError as problem:
        unwritable(problem)


def unwritable(problem: OSError) -> NoReturn:
    """Ends with status 3 because standard output takes nothing."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    fail(Status.REFUSED, f"can't write standard output: {problem.strerror}")


def counted(number: int, word: str) -> str:
    """``1 farm``, ``2 farms``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def tell(diagnostics: Sequence[Diagnostic], *, quiet: bool = False) -> None:
    """Mistakes and warnings to standard error; only the mistakes when quiet."""
    from nftlbc.diagnostics import Severity, draw

    shown = [d for d in diagnostics if not quiet or d.severity is Severity.ERROR]
    with contextlib.suppress(OSError):
        sys.stderr.write(draw(shown, colour=colour(sys.stderr)))
        sys.stderr.flush()
    errors = sum(d.severity is Severity.ERROR for d in diagnostics)
    if errors > 1:
        say(f"{errors} mistakes")


def read_farms(file: str, *, quiet: bool = False) -> tuple[Farm, ...]:
    """The farms of a file without mistakes; otherwise tells them and ends with status 1."""
    from nftlbc import pipeline
    from nftlbc.diagnostics import has_errors

    farms, diagnostics = pipeline.read(file)
    tell(diagnostics, quiet=quiet)
    if has_errors(diagnostics):
        raise typer.Exit(int(Status.MISTAKES))
    return farms


def write_file(path: Path, text: str) -> None:
    """Writes a file atomically: whoever reads it sees the old text or the new, never a part.

    Ends with status 3 where that can't be done; the old file is then as it was.
    """
    import tempfile

    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe, /dev/stdout
                path.write_text(text, encoding="utf-8")
                return
        path = Path(os.path.realpath(path))  # a link stays one
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as stream:
            try:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
                _inherit(path, stream.fileno())
                Path(stream.name).replace(path)
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise
    except OSError as problem:
        fail(Status.REFUSED, f"can't write {path}: {problem.strerror}")


def _inherit(path: Path, descriptor: int) -> None:
    """Owner and permissions of the file that is replaced, or what a new one gets."""
    try:
        old = path.stat()
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)
    else:
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
