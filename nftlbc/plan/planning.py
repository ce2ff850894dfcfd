"""Reading the kernel's table, and what apply would do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nftlbc.farms import Farm
from nftlbc.nft import kernel as changing
from nftlbc.nft import netlink, script, sticky
from nftlbc.nft.difference import Difference, difference
from nftlbc.nft.netlink import KernelTable
from nftlbc.nft.program import NftError
from nftlbc.nft.transaction import Transaction, transaction
from nftlbc.plan.in_use import in_use
from nftlbc.table.build import build
from nftlbc.table.model import Table

_TRIES = 3


@dataclass(frozen=True)
class Plan:
    """What lies between the kernel's table and the one that farms want."""

    farms: tuple[Farm, ...]
    kernel: KernelTable | None
    """None: there is no table yet."""
    wanted: Table
    difference: Difference | None
    """None without a table: all of it is new."""
    transaction: Transaction

    @property
    def empty(self) -> bool:
        return not self.transaction.change and not self.transaction.clearing


def plan(farms: Sequence[Farm]) -> Plan:
    """What ``apply`` would do. Raises NftError where the kernel's table can't be read."""
    kernel = netlink.read(elements=lambda each: "dynamic" not in each.flags)
    if kernel is None:
        wanted = build(farms)
        return Plan(tuple(farms), None, wanted, None, Transaction(script.write(wanted), ""))
    wanted = build(farms, in_use(kernel, farms))
    found = difference(kernel, wanted)
    if found.chains or found.odd_maps:
        found = replace(found, sticky=_carried(kernel, wanted))
    return Plan(tuple(farms), kernel, wanted, found, transaction(found))


def _carried(kernel: KernelTable, wanted: Table) -> tuple[sticky.Carried, ...]:
    """Sticky entries are read where some of them have to go over into another map, else not."""
    moves = sticky.moves(kernel, wanted)
    if not moves:
        return ()
    names = sticky.needed(moves)
    there = netlink.read(elements=lambda each: each.name in names, program=False)
    entries = {name: each for name, each in there.maps.items() if name in names} if there else {}
    return sticky.carried(moves, entries)


def apply(farms: Sequence[Farm]) -> Plan:
    """Makes the kernel's table what the farms want, and returns what was done.

    Where the table changed between reading and sending (another program's hand, an entry that
    ended), it is read again. Raises NftError where the change is refused all the same.
    """
    refused: tuple[Transaction, NftError] | None = None
    for _ in range(_TRIES):
        found = plan(farms)
        if refused is not None and refused[0] == found.transaction:
            break
        try:
            changing.send(found.transaction)
        except NftError as refusal:
            refused = found.transaction, refusal
        else:
            return found
    assert refused is not None
    raise refused[1]
