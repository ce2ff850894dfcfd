"""Where a connection would go, and why: a table walked as the kernel would, in the farms' words.

``question.packet`` reads what is asked, ``story.story`` walks and gathers, ``telling.lines`` and
``record.as_json`` say it. ``interpreter`` is the walk alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from nftlbc.explain.outcome import Packet, Sticky
from nftlbc.farms import Farm
from nftlbc.table.model import Table

__all__ = ["tell"]


def tell(
    farms: Sequence[Farm], table: Table, packet: Packet, *, sticky: Sticky | None = None
) -> list[str]:
    """The lines of ``nftlbc explain``: what becomes of a packet in the table of the farms.

    ``sticky``: what a running kernel remembers; without it nobody is known.
    """
    from nftlbc.explain.story import story
    from nftlbc.explain.telling import lines

    return lines(story(farms, table, packet, sticky=sticky))
