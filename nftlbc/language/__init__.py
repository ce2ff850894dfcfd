"""The language of a farms file: text -> syntax tree -> farms.

``read`` is what the rest of the house calls. Both forms (``.lb`` and ``.json``) pass through the
same syntax tree, so they can't mean different things.
"""

from __future__ import annotations

from nftlbc.diagnostics import Also, Diagnostic
from nftlbc.farms import Farm
from nftlbc.language.load import File, load
from nftlbc.language.values import Context, Define, items

__all__ = ["read"]


def read(name: str) -> tuple[tuple[Farm, ...], list[Diagnostic]]:
    """The farms of a file and of all it includes, sorted by name; and what is wrong with it.

    ``name`` is a path, or ``-`` for standard input. Farms with a mistake of their own are left
    out; nobody should go on with the rest while there are errors.
    """
    from nftlbc.language.farm import read_defaults, read_farm

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
            farm = read_farm(context, statement, inherited)
            if farm is not None:
                farms.append(farm)
    for define in context.defines.values():
        if not define.used:
            # Read it all the same: a mistake in it is one, used or not.
            items(context, define.statement, define.values)
            context.warn(f"${define.name} is never used", define.place)
    farms.sort(key=lambda farm: farm.name)
    return tuple(farms), context.diagnostics


def _sort_statements(context: Context, file: File) -> None:
    """Defines to all files' defines, farms and defaults to their file."""
    for statement in file.statements:
        rule = statement.rule
        if rule == "farm":
            file.farms.append(statement)
        elif rule == "defaults":
            if file.defaults is not None:
                also = Also("the first", file.defaults.place())
                context.error("a second defaults", statement.place(), "one a file", also)
            else:
                file.defaults = statement
        elif rule == "define":
            name_node, list_node = statement.shape.node.children
            name, place = statement.text(name_node), statement.place(name_node)
            first = context.defines.get(name)
            if first is not None:
                context.error(f"${name} is defined twice", place, None, Also("first", first.place))
            else:
                context.defines[name] = Define(name, place, statement, list_node.children)
