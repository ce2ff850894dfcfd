"""What clients have at stake in what changes: open connections and sticky entries, by backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from nftlbc.nft import conntrack, netlink
from nftlbc.nft.conntrack import Open
from nftlbc.nft.program import NftError
from nftlbc.table.model import BACKEND_BITS


@dataclass
class Live:
    open: Open | None = None
    """None: the kernel does not tell."""
    sticky: Counter[int] = field(default_factory=Counter)
    """Sticky clients by the numbers of their backends."""

    def of(self, marks: Collection[int]) -> list[str]:
        """In words: ``3 sticky clients``, ``12 open connections``, ``1 UDP flow``."""
        sticky = sum(self.sticky[mark] for mark in marks)
        tcp, flows = self.open.of(marks) if self.open else (0, 0)
        found = [(sticky, "sticky client"), (tcp, "open connection"), (flows, "UDP flow")]
        return [f"{number} {word}{'' if number == 1 else 's'}" for number, word in found if number]

    def of_sticky(self, marks: Collection[int]) -> str:
        """The first of them; empty where there are none."""
        sticky = sum(self.sticky[mark] for mark in marks)
        return f"{sticky} sticky client{'' if sticky == 1 else 's'}" if sticky else ""


def look() -> Live:
    """Reads both. Raises NftError where the kernel's table can't be read."""
    table = netlink.read(elements=lambda each: "dynamic" in each.flags, program=False)
    sticky: Counter[int] = Counter()
    for each in table.maps.values() if table else ():
        if each.contents is not None:
            marks = each.elements.values()
            sticky.update(mark & BACKEND_BITS for mark in marks if isinstance(mark, int))
    try:
        return Live(conntrack.count(), sticky)
    except NftError:
        return Live(None, sticky)
