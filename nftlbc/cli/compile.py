"""compile and check."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from nftlbc.cli.arguments import FileArgument, Quiet
from nftlbc.cli.terminal import (
    DEFAULT_FILE,
    Status,
    counted,
    fail,
    read_farms,
    say,
    tell,
    write,
    write_file,
)


def add_to(app: typer.Typer) -> None:
    app.command("compile")(compile_)
    app.command()(check)


def compile_(
    file: FileArgument = DEFAULT_FILE,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the script here, atomically.")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option("--check", metavar="GOLDEN", help="Compare with this script; 4 if not equal."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Print the nft script: the same bytes for the same input, always."""
    from nftlbc import pipeline

    gc.disable()  # what a compile makes, it keeps to its end: collecting costs a third of its time
    script = pipeline.script(read_farms(file, quiet=quiet))
    if output is not None and output.exists() and file != "-" and output.samefile(file):
        fail(Status.USAGE, f"{output} is the farms file itself", "write the script elsewhere")
    if output is not None:
        write_file(output, script)
    if golden is not None:
        _compare(golden, script)
    elif output is None:
        write(script)


def _compare(golden: Path, script: str) -> None:
    """Shows how a script in a repository differs from the compiled one, and ends with 4."""
    import difflib

    try:
        with golden.open("rb") as stream:
            # No more than could be like it: the golden may be a device without an end.
            kept = stream.read(2 * len(script) + (1 << 20)).decode("utf-8", "replace")
    except FileNotFoundError:
        fail(Status.NOT_SO, f"{golden} does not exist", f"make it: nftlbc compile -o {golden}")
    except OSError as problem:
        fail(Status.REFUSED, f"can't read {golden}: {problem.strerror}")
    if kept == script:
        return
    difference = difflib.unified_diff(
        kept.splitlines(keepends=True),
        script.splitlines(keepends=True),
        str(golden),
        "compiled",
        n=2,
    )
    write("".join(line if line.endswith("\n") else line + "\n" for line in difference))
    fail(Status.NOT_SO, f"{golden} is not what the farms file compiles to")


def check(
    file: FileArgument = DEFAULT_FILE,
    format: Annotated[
        str, typer.Option("--format", help="text, json or github.", metavar="FORMAT")
    ] = "text",
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are mistakes.")] = False,
    quiet: Quiet = False,
) -> None:
    """Report every mistake and warning of a farms file; touch nothing."""
    from nftlbc import diagnostics as drawing
    from nftlbc import pipeline
    from nftlbc.diagnostics import printable

    gc.disable()
    if format not in ("text", "json", "github"):
        raise typer.BadParameter("text, json or github", param_hint="--format")
    farms, found = pipeline.read(file)
    if json or format == "json":
        write(drawing.as_json(found))
    elif format == "github":
        write(drawing.as_github(found))
    else:
        tell(found, quiet=quiet)
    if drawing.has_errors(found) or (strict and found):
        raise typer.Exit(int(Status.MISTAKES))
    if format == "text" and not json and not quiet:
        backends = sum(len(farm.backends) for farm in farms)
        counts = [counted(len(farms), "farm"), counted(backends, "backend")]
        counts += [counted(len(found), "warning")] if found else []
        say(f"{printable(file)}: {', '.join(counts)}: right")
