"""status."""

from __future__ import annotations

import gc
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nftlbc.cli import completing
from nftlbc.cli.spans import seconds
from nftlbc.cli.terminal import Status, colour, fail, write, write_file

if TYPE_CHECKING:
    from nftlbc.status.columns import View
    from nftlbc.status.model import Snapshot
    from nftlbc.status.rates import Rate, Who

_WIDTH = 80
"""Where it is no terminal."""


def add_to(app: typer.Typer) -> None:
    app.command()(status)


def status(
    farm: Annotated[
        str | None,
        typer.Argument(
            ...,
            metavar="FARM",
            help="This farm alone.",
            show_default=False,
            autocompletion=completing.farms,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All backends, however many there are.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, with rates.")] = False,
    interval: Annotated[
        str, typer.Option("--interval", metavar="TIME", help="How often, with --watch.")
    ] = "2s",
    json: Annotated[bool, typer.Option("--json", help="As a JSON document.")] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="In Prometheus's text format.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it here, atomically.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="One line; 4 where a farm is below its quorum.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="The JSON Schema of --json, and nothing else.")
    ] = False,
) -> None:
    """Show what the load balancer does: farms, backends, states, connections."""
    gc.disable()
    _one_of(json, metrics, check, schema)
    if watch and (metrics or check or schema or output):
        raise typer.BadParameter("goes with the table and with --json only", param_hint="--watch")
    if schema:
        from nftlbc.status.document import schema as make

        _put(_document(make()), output)
        return
    try:
        if watch:
            _watch(farm, seconds("--interval", interval), everything, json)
            return
        snapshot = _look(farm)
    except _NothingToShowError as nothing:
        # Not before the terminal is as it was.
        fail(nothing.status, nothing.message, nothing.remedy)
    if check:
        from nftlbc.status.verdict import verdict

        well, line = verdict(snapshot)
        _put(f"{line}\n", output)
        if not well:
            raise typer.Exit(int(Status.NOT_SO))
    else:
        _put(_rendered(snapshot, json, metrics, everything, output), output)


def _one_of(*wanted: bool) -> None:
    if sum(wanted) > 1:
        raise typer.BadParameter("one of --json, --metrics, --check and --schema")


def _put(text: str, output: Path | None) -> None:
    if output is None:
        write(text)
    else:
        write_file(output, text)


def _rendered(
    snapshot: Snapshot, json: bool, metrics: bool, everything: bool, output: Path | None
) -> str:
    if json:
        from nftlbc.status.document import as_json

        return _document(as_json(snapshot))
    if metrics:
        from nftlbc.status.metrics import text

        return text(snapshot)
    return _table(snapshot, _view(everything, to_file=output is not None))


def _document(found: object) -> str:
    from json import dumps

    return dumps(found, indent=2, ensure_ascii=False) + "\n"


def _view(
    everything: bool, *, to_file: bool = False, rates: Mapping[Who, Rate] | None = None
) -> View:
    from nftlbc.status.columns import View

    terminal = sys.stdout.isatty() and not to_file
    width = shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH
    return View(width, terminal and colour(sys.stdout), everything, rates)


def _table(snapshot: Snapshot, view: View) -> str:
    from nftlbc.status.text import lines

    return "".join(f"{line}\n" for line in lines(snapshot, view))


class _NothingToShowError(Exception):
    def __init__(self, status: Status, message: str, remedy: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.remedy = remedy


def _look(farm: str | None) -> Snapshot:
    from nftlbc.nft.program import NftError
    from nftlbc.plan.planning import NO_TABLE
    from nftlbc.status.look import look

    try:
        found = look(farm)
        if found is None:
            raise _NothingToShowError(Status.REFUSED, NO_TABLE, "load one: nftlbc apply FILE")
        if farm is not None and not found.pools:
            raise _no_such(farm)
    except NftError as refusal:
        raise _NothingToShowError(Status.REFUSED, refusal.message, refusal.remedy) from None
    return found


def _no_such(farm: str) -> _NothingToShowError:
    from nftlbc.diagnostics import did_you_mean
    from nftlbc.status.look import names

    known = names()
    if farm in known:
        message = f"farm {farm} listens nowhere in the table: somebody took its listeners out"
        return _NothingToShowError(Status.USAGE, message, "nftlbc plan tells what apply mends")
    remedy = did_you_mean(farm, known)
    if remedy is None and known and len(known) <= 10:
        remedy = f"there are: {', '.join(known)}"
    return _NothingToShowError(Status.USAGE, f"there is no farm {farm} in the table", remedy)


def _watch(farm: str | None, interval: float, everything: bool, json: bool) -> None:
    from nftlbc.cli.redraw import redrawn
    from nftlbc.status.rates import rates

    before: Snapshot | None = None

    def text() -> str:
        nonlocal before
        found = _look(farm)
        moved = rates(before, found) if before else {}
        before = found
        if json:
            from json import dumps

            from nftlbc.status.document import as_json

            return dumps(as_json(found, moved), ensure_ascii=False) + "\n"
        return _table(found, _view(everything, rates=moved))

    redrawn(text, interval, plain=json)
