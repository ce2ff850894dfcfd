"""sessions."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Annotated

import typer

from nftlbc.cli import completing
from nftlbc.cli.arguments import NoWait, Quiet
from nftlbc.cli.terminal import Status, fail, say, write

if TYPE_CHECKING:
    from nftlbc.sessions import Choice, Sessions


def add_to(app: typer.Typer) -> None:
    app.command()(sessions)


def sessions(
    farm: Annotated[
        str | None,
        typer.Argument(
            ...,
            metavar="FARM",
            help="Only the clients of this farm.",
            autocompletion=completing.farms,
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            "--client", metavar="CLIENT", help="Only of this address or prefix: 198.51.100.0/24."
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            metavar="BACKEND",
            help="Only those known to this backend, or FARM/BACKEND.",
            autocompletion=completing.backends,
        ),
    ] = None,
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Delete them: their clients are new when they next come."),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --delete: those of all farms.")
    ] = False,
    count: Annotated[bool, typer.Option("--count", help="Only say how many.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As a JSON document.")] = False,
    no_wait: NoWait = False,
    quiet: Quiet = False,
) -> None:
    """Show the sticky entries: which client is known to which backend, and for how long."""
    from nftlbc.nft import lock
    from nftlbc.nft.program import NftError
    from nftlbc.sessions import deleting, entries

    gc.disable()
    choice = _choice(farm, client, backend)
    if delete and choice.everything != everything:
        if everything:
            fail(Status.USAGE, "--all means every farm's, and something else was said too")
        remedy = "name a farm, --client or --backend; with --all, every client is forgotten"
        fail(Status.USAGE, "--delete would delete all sticky entries", remedy)
    try:
        if delete:
            with lock.held(wait=not no_wait):
                found = deleting.delete(choice)
        else:
            found = entries.read(choice)
    except entries.Unknown as mistake:
        from nftlbc.diagnostics import did_you_mean

        fail(Status.USAGE, str(mistake), did_you_mean(mistake.word, mistake.names))
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    _tell(found, count=count, json=json, deleted=delete)
    if not quiet:
        _remarks(found, choice)
        if delete:
            say(f"{_number(len(found))} deleted")


def _choice(farm: str | None, client: str | None, backend: str | None) -> Choice:
    from nftlbc.sessions import choice

    network = None
    if client is not None:
        try:
            network = choice.client(client)
        except ValueError:
            fail(
                Status.USAGE,
                f"{client!r} is neither an address nor a prefix",
                "--client 198.51.100.7, --client 198.51.100.0/24, --client 2001:db8::/56",
            )
    return choice.Choice(farm, network, backend)


def _tell(found: Sessions, *, count: bool, json: bool, deleted: bool) -> None:
    from nftlbc.sessions import telling

    if json:
        from json import dumps

        document = {"count": len(found)} if count else telling.as_json(found)
        write(dumps(document, indent=2, ensure_ascii=False) + "\n")
    elif count:
        write(f"{len(found)}\n")
    elif not deleted:
        write("".join(f"{line}\n" for line in telling.lines(found)))


def _remarks(found: Sessions, choice: Choice) -> None:
    """What the result does not say, to standard error."""
    from nftlbc.diagnostics import printable

    if not len(found):
        say("no sticky entry" if choice.everything else "no such sticky entry")
    if found.untold:
        say(
            f"nftlbc: warning: {_number(found.untold)} may be the client's too, "
            "whose keys do not tell its address"
        )
    for name in found.unreadable:
        say(f"nftlbc: warning: map {printable(name)} is not as nftlbc makes it: not shown")


def _number(count: int) -> str:
    return f"{count} sticky {'entry' if count == 1 else 'entries'}"
