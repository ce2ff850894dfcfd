"""Reading the kernel's table, and what apply would do to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from nftlbc.farms import Farm
from nftlbc.nft import kernel as changing
from nftlbc.nft import netlink, script, sticky
from nftlbc.nft.difference import Difference, MapChange, difference
from nftlbc.nft.netlink import KernelTable
from nftlbc.nft.program import NftError
from nftlbc.nft.transaction import Transaction, transaction
from nftlbc.plan import recall
from nftlbc.plan.in_use import in_use
from nftlbc.plan.recall import Recalled
from nftlbc.plan.remembering import overlay
from nftlbc.states import Seconds, of_text
from nftlbc.table.build import build
from nftlbc.table.model import OURS, Note, Table
from nftlbc.table.numbers import InUse

_TRIES = 3
_NEVER: Final[Seconds] = -1
"""Forget when checks were made."""
NO_TABLE = "there is no table inet nftlbc in this network namespace"
APPLY_FIRST = "load one: nftlbc apply FILE"
Edit = Callable[[Recalled], Sequence[Farm]]


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
    def cut(self) -> set[int]:
        """The marks whose open connections it ends."""
        return {key for each in self._changes("cut") for key in each.come if isinstance(key, int)}

    @property
    def left(self) -> set[int]:
        """The marks that it leaves without a backend that lives."""
        gone, come = set[int](), set[int]()
        for each in (*self._changes("backends"), *self._changes("addresses")):
            gone.update(key for key in each.gone if isinstance(key, int) and key & OURS)
            come.update(key for key in each.come if isinstance(key, int))
        for there in self.difference.stale_maps if self.difference else ():
            if there.name.startswith(("backends", "addresses")) and there.contents:
                gone.update(key for key in there.elements if isinstance(key, int) and key & OURS)
        gone -= come
        for wanted in self.wanted.maps if gone else ():
            # It may have been in both maps, and stay in one.
            if wanted.name.startswith(("backends", "addresses")):
                gone.difference_update(key for key in wanted.elements if isinstance(key, int))
        return gone

    @property
    def failed(self) -> set[int]:
        """The marks of backends that it notes as down by their checks."""
        return {
            key
            for each in self._changes("states")
            for key, note in each.come.items()
            if isinstance(key, int) and isinstance(note, Note) and of_text(note.text).failed
        }

    def named(self, marks: Collection[int]) -> list[str]:
        """``FARM/BACKEND`` of each, as the kernel's table has it, or had it."""
        there = self.kernel.maps.values() if self.kernel else ()
        servers = [each for each in there if each.name.startswith(("backends", "addresses"))]
        found = (
            text
            for each in servers
            if each.contents is not None
            for mark in marks
            # One that is down rests without that bit.
            if (text := each.comments.get(mark) or each.comments.get(mark & ~OURS))
        )
        return sorted(set(found))

    def _changes(self, kind: str) -> list[MapChange]:
        changes = self.difference.maps if self.difference else ()
        return [each for each in changes if each.map.name.startswith(kind)]

    @property
    def silent(self) -> bool:
        """It changes nothing, or nothing but what the table remembers of weights and checks."""
        found = self.difference
        if self.empty or found is None:
            return self.empty
        return replace(found, maps=()).empty and all(
            each.map.name.startswith("states") for each in found.maps
        )

    @property
    def empty(self) -> bool:
        return not self.transaction.change and not self.transaction.clearing


def read() -> KernelTable | None:
    """The kernel's table, but for what packets put there. Raises NftError where that can't be."""
    return netlink.read(elements=lambda each: "dynamic" not in each.flags)


def running() -> KernelTable:
    """The same. Raises NftError where there is none, too."""
    kernel = read()
    if kernel is None:
        raise NftError(NO_TABLE, APPLY_FIRST)
    return kernel


def plan(
    farms: Sequence[Farm],
    ending: Collection[int] | None = (),
    edit: Edit | None = None,
    *,
    probed: bool = False,
) -> Plan:
    """What ``apply`` would do. Raises NftError where the kernel's table can't be read.

    ending: marks of connections; those of removed backends are ended, beside those that are being
        ended. None: all of these have ended.
    edit: changes the farms further when all is known that the table remembers of them.
    probed: checks were made just now.
    """
    kernel = read()
    now = int(time.time())
    # Farms of which none has a check have nothing to remember of them.
    when = None if any(farm.checks for farm in farms) else _NEVER
    if kernel is not None:
        farms = overlay(kernel, farms, now)
    if edit is not None:
        farms = edit(recall.beside(kernel, farms))
    return between(kernel, farms, ending, now if probed else when)


def between(
    kernel: KernelTable | None,
    farms: Sequence[Farm],
    ending: Collection[int] | None = (),
    probed: Seconds | None = None,
) -> Plan:
    """From a table that was read, or none, to the one that farms want, as they are.

    probed: when checks were last made, if the table is to remember another time.
    """
    numbers = (InUse() if kernel is None else in_use(kernel, farms)).asking(farms)
    if probed is not None:
        numbers = replace(numbers, probed=None if probed == _NEVER else probed)
    if ending is None:
        numbers = replace(numbers, ending=frozenset())
    elif ending:
        numbers = replace(numbers, ending={*numbers.ending, *ending})
    wanted = build(farms, numbers)
    if kernel is None:
        return Plan(tuple(farms), None, wanted, None, Transaction(script.write(wanted), ""))
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


def apply(
    farms: Sequence[Farm],
    ending: Collection[int] | None = (),
    edit: Edit | None = None,
    *,
    probed: bool = False,
) -> Plan:
    """Makes the kernel's table what the farms want, and returns what was done.

    Where the table changed between reading and sending (another program's hand, an entry that
    ended), it is read again. Raises NftError where the change is refused all the same.
    """
    return sent(lambda: plan(farms, ending, edit, probed=probed))


def change(edit: Edit, *, probed: bool = False) -> Plan:
    """Changes the running table without a file: the farms that it knows are edited.

    Raises NftError as ``apply``, and where there is no table; and what ``edit`` raises.
    """
    return sent(lambda: changed(edit, probed=probed))


def changed(edit: Edit, *, probed: bool = False) -> Plan:
    """What ``change`` would do."""
    kernel = running()
    now = int(time.time()) if probed else None
    return between(kernel, edit(recall.recall(kernel)), (), now)


def sent(make: Callable[[], Plan]) -> Plan:
    """Carries a plan out; makes another where the table changed meanwhile. Raises NftError where
    the change is refused all the same, and what ``make`` raises."""
    refused: tuple[Transaction, NftError] | None = None
    for _ in range(_TRIES):
        found = make()
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
