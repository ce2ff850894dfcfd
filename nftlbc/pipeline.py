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

    farms, diagnostics = language.read(name)
    return farms, [*diagnostics, *rules.check(farms)]


def table(farms: Sequence[Farm]) -> Table:
    """The table of farms without errors."""
    from nftlbc.table.build import build

    return build(farms)


def script(farms: Sequence[Farm]) -> str:
    """The nft script of farms without errors."""
    from nftlbc.nft.script import write

    return write(table(farms))
