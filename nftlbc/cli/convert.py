"""fmt and schema."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nftlbc.cli.terminal import DEFAULT_FILE, Status, say, tell, write, write_file

if TYPE_CHECKING:
    from nftlbc.diagnostics import Diagnostic


def add_to(app: typer.Typer) -> None:
    app.command()(fmt)
    app.command()(schema)


def fmt(
    files: Annotated[
        list[str] | None,
        typer.Argument(..., metavar="FILE...", help="Farms files; - reads standard input."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; 4 if a file would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Change nothing; show what would change.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FORM", help="Print it in the form lb or json instead."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With --to: write it here.")
    ] = None,
) -> None:
    """Rewrite farms files in the one canonical layout, comments kept."""
    gc.disable()
    if to not in (None, "lb", "json"):
        raise typer.BadParameter("lb or json", param_hint="--to")
    files = files or [DEFAULT_FILE]
    if (output or to) and len(files) > 1:
        raise typer.BadParameter("--to takes one file", param_hint="FILE")
    if output and not to:
        raise typer.BadParameter("-o goes with --to", param_hint="--output")
    texts = [(file, *_formatted(file, to)) for file in files]
    if any(new is None for _, _, new in texts):
        raise typer.Exit(int(Status.MISTAKES))
    changed = False
    for file, old, new in texts:
        assert new is not None
        if output is not None:
            write_file(output, new)
        elif to or (file == "-" and not check and not diff):
            write(new)
        elif new != old:
            changed = True
            _change(file, old, new, check, diff)
    if changed and (check or diff):
        raise typer.Exit(int(Status.NOT_SO))


def _change(file: str, old: str, new: str, check: bool, diff: bool) -> None:
    from nftlbc.diagnostics import printable

    if diff:
        import difflib

        lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
        for line in difflib.unified_diff(*lines, printable(file), "formatted", n=2):
            write(line if line.endswith("\n") else line + "\n")
    elif check:
        say(f"{printable(file)} is not formatted")
    else:
        write_file(Path(file), new)
        say(f"{printable(file)} is formatted")


def _formatted(file: str, to: str | None) -> tuple[str, str | None]:
    """A file's text, and what becomes of it; None after its mistakes have been told."""
    from nftlbc.diagnostics import has_errors
    from nftlbc.language import fmt, json_form, syntax
    from nftlbc.language.load import one
    from nftlbc.language.values import Context
    from nftlbc.source import TextSource

    context = Context()
    text, source = one(file, context)
    new = None
    if source is not None and not has_errors(context.diagnostics):
        statements, mistakes = syntax.parse(source)
        context.diagnostics += mistakes
        if not has_errors(context.diagnostics):
            wrong: list[Diagnostic] = []
            if isinstance(source, json_form.JsonSource):
                new, wrong = json_form.to_lb(source)
                if to != "lb" and not wrong:
                    source = TextSource(source.name, new)
                    new, wrong = json_form.to_json(source, syntax.parse(source)[0])
            elif to != "json":
                new = fmt.format_source(text)
            elif isinstance(source, TextSource):
                new, wrong = json_form.to_json(source, statements)
            context.diagnostics += wrong
    tell(context.diagnostics)
    return text, None if has_errors(context.diagnostics) else new


def schema() -> None:
    """Print the JSON Schema of a farms file in its JSON form."""
    import json

    from nftlbc.language.schema import schema as make

    write(json.dumps(make(), indent=2, ensure_ascii=False) + "\n")
