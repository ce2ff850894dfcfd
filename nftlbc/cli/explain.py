"""explain."""

from __future__ import annotations

from typing import Annotated

import typer

from nftlbc.cli.compile import Quiet
from nftlbc.cli.terminal import Status, read_farms, tell, write


def add_to(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A farms file.")],
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="Who asks: 198.51.100.7, 198.51.100.7:40000.")
    ],
    target: Annotated[
        str,
        typer.Argument(metavar="TO", help="What for: 203.0.113.10:443/tcp, [2001:db8::1]:53/udp."),
    ],
    json: Annotated[bool, typer.Option("--json", help="As a JSON document.")] = False,
    quiet: Quiet = False,
) -> None:
    """Say where a connection from FROM to TO would go, and why."""
    from nftlbc import pipeline
    from nftlbc.explain import question
    from nftlbc.explain.record import as_json
    from nftlbc.explain.story import story
    from nftlbc.explain.telling import lines

    packet, mistakes = question.packet(source, target)
    if packet is None:
        tell(mistakes)
        raise typer.Exit(int(Status.USAGE))
    farms = read_farms(file, quiet=quiet)
    told = story(farms, pipeline.table(farms), packet)
    if json:
        from json import dumps

        write(dumps(as_json(told), indent=2, ensure_ascii=False) + "\n")
    else:
        write("\n".join(lines(told)) + "\n")
