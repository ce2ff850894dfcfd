"""The language of a farms file: text -> syntax tree -> farms.

``read`` is what the rest of the house calls. Both forms (``.lb`` and ``.json``) pass through the
same syntax tree, so they can't mean different things.
"""

from __future__ import annotations

from collections.abc import Sequence

from nftlbc.diagnostics import Also, Diagnostic, has_errors, near
from nftlbc.farms import Farm
from nftlbc.language import syntax
from nftlbc.language.load import File, load
from nftlbc.language.shapes import MISTAKE, Statement, mistake
from nftlbc.language.values import Context, Define, items
from nftlbc.source import Location, TextSource

__all__ = ["read"]


def read(name: str) -> tuple[tuple[Farm, ...], list[Diagnostic]]:
    """The farms of a file and of all it includes, sorted by name; and what is wrong with it.

    ``name`` is a path, or ``-`` for standard input. Farms with a mistake are there without it
    (``Farm.mistaken``) so that the rules can tell what else is wrong; nobody else should go on
    while there are errors.
    """
    from nftlbc.language.farm import read_body, read_defaults, read_farm

    context = Context()
    files = load(name, context)
    for file in files:
        _sort_statements(context, file)
    defaults = {id(file): read_defaults(context, file.defaults) for file in files if file.defaults}
    farms = []
    for file in files:
        above: File | None = file
        while above is not None and id(above) not in defaults:
            above = above.parent
        inherited = defaults[id(above)] if above else None
        for statement in file.farms:
            if statement.rule == MISTAKE:
                read_body(context, statement)
            else:
                farms.append(read_farm(context, statement, inherited))
    _unused_defines(context, files)
    farms.sort(key=lambda farm: farm.name)
    return tuple(farms), _once(context)


def of_text(text: str) -> tuple[Farm, ...]:
    """The farms of a text without defines and includes; none where it has a mistake."""
    from nftlbc.language.farm import read_farm

    context = Context()
    statements, wrong = syntax.parse(TextSource("", text))
    context.diagnostics += wrong
    farms = [read_farm(context, each, None) for each in statements if each.rule == "farm"]
    return () if has_errors(context.diagnostics) else tuple(farms)


def _sort_statements(context: Context, file: File) -> None:
    """Defines to all files' defines, farms and defaults to their file."""
    for statement in file.statements:
        rule = statement.rule
        if rule == "farm":
            file.farms.append(statement)
        elif rule == "defaults":
            if file.defaults is not None:
                first = Also("the first", file.defaults.place())
                context.error("a second defaults", statement.place(), "one a file", first)
                file.farms.append(mistake(*statement[:2], statement.base + 1, statement.body))
            else:
                file.defaults = statement
        elif rule == "define":
            name_node, list_node = statement.shape.node.children
            name, place = statement.text(name_node), statement.place(name_node)
            _define(context, Define(name, place, statement, list_node.children))
        elif rule == MISTAKE and statement.body is not None:
            file.farms.append(statement)
        elif rule == MISTAKE:
            _mistaken(context, statement)


def _define(context: Context, define: Define) -> None:
    first = context.defines.get(define.name)
    if first is None:
        context.defines[define.name] = define
    else:
        also = Also("first here", first.place)
        context.error(f"${define.name} is defined twice", define.place, None, also)


def _mistaken(context: Context, statement: Statement) -> None:
    """What is not known because of this statement, nobody shall miss."""
    tokens = statement.source.tokens[statement.base : statement.base + 2]
    meant = near(tokens[0], ("define", "include"))
    if meant == "include":
        context.files_missing = True
    elif meant == "define" and len(tokens) == 2:
        name = tokens[1].removeprefix("$")
        place = statement.place()
        unknown = Define(name, place, statement, (), used=True, items=())
        context.defines.setdefault(name, unknown)


def _unused_defines(context: Context, files: Sequence[File]) -> None:
    unused = [define for define in context.defines.values() if not define.used]
    if not unused:
        return
    for define in unused:
        # Read it all the same: a mistake in it is one, used or not. What only an unused define
        # uses is used: one warning is enough.
        items(context, define.statement, define.values)
    if has_errors(context.diagnostics):
        # What has a mistake was not read to its end; there it may be used.
        words = {word for file in files for word in file.tokens if word[:1] == "$"}
        unused = [define for define in unused if f"${define.name}" not in words]
    for define in unused:
        if not define.used:
            context.warn(f"${define.name} is never used", define.place)


def _once(context: Context) -> list[Diagnostic]:
    """What is worth telling: a mistake in a define is one, however often it is used."""
    found: dict[tuple[object, ...], Diagnostic] = {}
    for each in context.diagnostics:
        place = each.place
        if place is None:
            found[(each,)] = each
        elif isinstance(place, Location):
            found.setdefault((each.message, place), each)
        elif not context.unseen or place.location()[:2] not in context.unseen:
            found.setdefault((each.message, id(place.source), place.first, place.last), each)
    return list(found.values())
