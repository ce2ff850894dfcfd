"""The passes in their order: a farms file -> farms -> table -> script.

compile, check, try, explain and apply all come this way. What follows in later commands takes
its place here: the kernel's states between farms and table, the difference after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from nftlbc.diagnostics import Diagnostic
from nftlbc.farms import Farm
from nftlbc.table.model import Table


def read(name: str) -> tuple[tuple[Farm, ...], list[Diagnostic]]:
    """The farms of a file (``-``: standard input) and all that is wrong with them."""
    from nftlbc import language, rules
    from nftlbc.diagnostics import warning
    from nftlbc.source import Location

    farms, diagnostics = language.read(name)
    diagnostics = [*diagnostics, *rules.check(farms)]
    if not farms and not diagnostics:
        shown = "(standard input)" if name == "-" else name
        place = Location(shown, None, 1, "", 0)
        diagnostics.append(warning("there is no farm in it", place, "nothing will be balanced"))
    return farms, diagnostics


def table(farms: Sequence[Farm]) -> Table:
    """The table of farms without errors."""
    from nftlbc.table.build import build
    from nftlbc.table.numbers import InUse

    return build(farms, InUse().asking(farms))


def script(farms: Sequence[Farm]) -> str:
    """The nft script of farms without errors."""
    from nftlbc.nft.script import write

    return write(table(farms))
