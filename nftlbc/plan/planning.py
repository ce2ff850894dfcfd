"""Reading the kernel's table, and what apply would do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nftlbc.farms import Farm
from nftlbc.nft import netlink, script
from nftlbc.nft.difference import Difference, difference
from nftlbc.nft.netlink import KernelTable
from nftlbc.nft.transaction import Transaction, transaction
from nftlbc.plan import changes, view
from nftlbc.plan.changes import Change
from nftlbc.table.build import build
from nftlbc.table.model import Destination, Table
from nftlbc.table.numbers import known_as


@dataclass(frozen=True)
class Plan:
    """What lies between the kernel's table and the one that farms want."""

    kernel: KernelTable | None
    """None: there is no table yet."""
    wanted: Table
    difference: Difference | None
    """None without a table: all of it is new."""
    transaction: Transaction

    @property
    def empty(self) -> bool:
        return not self.transaction.change and not self.transaction.clearing

    @property
    def changes(self) -> list[Change]:
        """In the farms' words, and whatever else changes that is no farm's."""
        old = view.of_kernel(self.kernel) if self.kernel else {}
        found = changes.between(old, view.of_table(self.wanted))
        if self.difference is not None:
            told = {change.farm for change in found}
            found += _program(self.difference, told)
        return found


def plan(farms: Sequence[Farm]) -> Plan:
    """What ``apply`` would do. Raises NftError where the kernel's table can't be read."""
    kernel = netlink.read(elements=lambda each: "dynamic" not in each.flags)
    if kernel is None:
        wanted = build(farms)
        return Plan(None, wanted, None, Transaction(script.write(wanted), ""))
    wanted = build(farms, _marks(kernel))
    found = difference(kernel, wanted)
    return Plan(kernel, wanted, found, transaction(found))


def _marks(kernel: KernelTable) -> dict[str, int]:
    """The numbers of the backends that the kernel's table has, by what they are hashed from."""
    found: dict[str, int] = {}
    for name, each in kernel.maps.items():
        # A backend with a port may stand among the addresses too, without it: the ports win.
        if name.startswith(("addresses", "backends")) and each.readable:
            fixed = name.startswith("backends")
            for mark, data in each.elements.items():
                if isinstance(mark, int) and isinstance(data, Destination) and mark & 0x8000_0000:
                    farm = data.name.partition("/")[0]
                    found[known_as(farm, data.address, data.port if fixed else None)] = mark
    return found


def _program(difference: Difference, told: set[str]) -> list[Change]:
    """The rules that change beside those of farms of which something is told already."""
    found = []
    shared = 0
    for chain in difference.chains:
        parts = chain.name.split("-")
        if parts[0] == "farm" and len(parts) > 2:
            farm = "-".join(parts[1:-1])
            if farm not in told:
                text = f"its rules for IPv{parts[-1]} are written anew; a round robin starts anew"
                found.append(Change("program", farm, "", text))
        else:
            shared += 1
    if shared:
        found.append(Change("program", "", "", f"{shared} shared chains are written anew"))
    for odd in (*difference.odd_maps, *difference.odd_chains):
        text = f"{odd.name} is of another kind: all rules are written anew, within one transaction"
        found.append(Change("program", "", odd.name, text))
    if difference.asleep:
        found.append(Change("program", "", "", "the table was switched off (dormant): it is woken"))
    if difference.stale_maps or difference.stale_chains:
        count = len(difference.stale_maps) + len(difference.stale_chains)
        found.append(Change("program", "", "", f"{count} maps and chains without use are taken away"))
    return found
