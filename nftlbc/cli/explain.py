"""explain."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from nftlbc.cli.arguments import Quiet
from nftlbc.cli.terminal import DEFAULT_FILE, Status, fail, read_farms, tell, write

if TYPE_CHECKING:
    from nftlbc.explain.outcome import Packet
    from nftlbc.explain.story import Story


class _Explain(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", "[FILE] FROM TO"]


def add_to(app: typer.Typer) -> None:
    app.command(cls=_Explain)(explain)


def explain(
    file: Annotated[
        str | None,
        typer.Argument(..., metavar="[FILE]", help=f"A farms file; without one, {DEFAULT_FILE}."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Argument(..., metavar="FROM", help="Who asks: 198.51.100.7, 198.51.100.7:40000."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(
            ..., metavar="TO", help="What for: 203.0.113.10:443/tcp, [2001:db8::1]:53/udp."
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Ask the kernel's table, sticky entries included; there is no FILE then."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As a JSON document.")] = False,
    quiet: Quiet = False,
) -> None:
    """Say where a connection from FROM to TO would go, and why."""
    from nftlbc.explain import question

    if target is None:
        # They are filled from the left, and it is the first that may be left away.
        file, source, target = DEFAULT_FILE, file, source
    elif live:
        fail(Status.USAGE, "--live asks the kernel's table, not a file", "explain --live FROM TO")
    if file is None or source is None or target is None:
        fail(Status.USAGE, "FROM or TO is missing", "explain [FILE] FROM TO")
    packet, mistakes = question.packet(source, target)
    if packet is None:
        tell(mistakes)
        raise typer.Exit(int(Status.USAGE))
    told, drift = _asked(packet) if live else (_compiled(file, packet, quiet), None)
    if json:
        from json import dumps

        from nftlbc.explain.record import as_json

        write(dumps(as_json(told, drift), indent=2, ensure_ascii=False) + "\n")
    else:
        from nftlbc.diagnostics import printable
        from nftlbc.explain.telling import lines

        write("".join(f"{printable(line)}\n" for line in lines(told, drift or ())))


def _compiled(file: str, packet: Packet, quiet: bool) -> Story:
    from nftlbc import pipeline
    from nftlbc.explain.story import story

    farms = read_farms(file, quiet=quiet)
    return story(farms, pipeline.table(farms), packet)


def _asked(packet: Packet) -> tuple[Story, tuple[str, ...]]:
    from nftlbc.explain import live
    from nftlbc.explain.interpreter import InterpreterError
    from nftlbc.explain.story import story
    from nftlbc.nft.program import NftError

    gc.disable()
    try:
        found = live.read(packet)
        memory = found.memory
        told = story(found.farms, found.table, packet, sticky=memory.marks, left=memory.left)
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    except InterpreterError as damage:
        remedy = "nftlbc apply FILE makes the table whole"
        fail(Status.REFUSED, f"the table was damaged: {damage}", remedy)
    return told, found.drift
