"""table inet nftlbc read from the kernel over netlink: fast, typed, all of one moment.

    table = read()                                                      # all of it
    table = read(elements=lambda each: each.name.startswith("sticky"), program=False)
    with Events() as events: ...                                        # told when it changes

``nft -j list`` takes three to four times as long, and its text differs from version to version.
Nothing here changes anything, and no other table is looked at.
"""

from nftlbc.nft.netlink.elements import CATCH_ALL, Contents, Counted, Lease
from nftlbc.nft.netlink.events import Events
from nftlbc.nft.netlink.kernel_table import (
    KernelChain,
    KernelHook,
    KernelMap,
    KernelRule,
    KernelTable,
)
from nftlbc.nft.netlink.picking import Picking, counters, pick
from nftlbc.nft.netlink.reading import every, generation, read

__all__ = [
    "CATCH_ALL",
    "Contents",
    "Counted",
    "Events",
    "KernelChain",
    "KernelHook",
    "KernelMap",
    "KernelRule",
    "KernelTable",
    "Lease",
    "Picking",
    "counters",
    "every",
    "generation",
    "pick",
    "read",
]
