"""The numbers that a running table has, read from its elements: whoever has one keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from nftlbc import states
from nftlbc.farms import Family, Farm
from nftlbc.nft.netlink import KernelTable
from nftlbc.states import Seconds
from nftlbc.table.model import BACKEND_BITS, OURS, Destination, ElementKey, Note
from nftlbc.table.numbers import InUse, farm_hash, known_as, slot_hash

FARM_CHAIN = re.compile(r"farm-(?P<farm>.+)-(?P<family>[46])\Z")
_NUMBER = re.compile(r"0x[0-9a-f]{8}\Z")


def in_use(kernel: KernelTable, farms: Sequence[Farm]) -> InUse:
    """The elements of all maps that are not dynamic must have been read."""
    marks, pools = _marks(kernel)
    slots = _slots(kernel)
    starts = _starts(slots, farms, pools)
    return InUse(
        marks,
        farm_numbers(kernel),
        starts,
        _moving(slots, farms, starts, pools),
        probed=probed(kernel),
        ending=ending(kernel),
    )


def probed(kernel: KernelTable) -> Seconds | None:
    """When checks were last made, or NOT_YET; None: no farm has some, as far as it remembers."""
    found = (text for key, text in notes(kernel, "states") if key == states.PROBED_KEY)
    return next(map(states.probed_of, found), None)


def notes(kernel: KernelTable, kind: str) -> Iterator[tuple[ElementKey, str]]:
    """What the sets of a kind, ``states`` or ``farms``, keep beside their elements."""
    for name, each in kernel.maps.items():
        if name.partition("_")[0] == kind and each.contents is not None:
            for key, data in each.elements.items():
                if isinstance(data, Note):
                    yield key, data.text


def destinations(kernel: KernelTable, kind: str) -> Iterator[tuple[str, int, Destination]]:
    """The elements of all maps of a kind, ``backends`` or ``addresses``: map, mark and where it
    leads."""
    for name, each in kernel.maps.items():
        if name.startswith(kind) and each.contents is not None:
            for mark, data in each.elements.items():
                if isinstance(mark, int) and isinstance(data, Destination):
                    yield name, mark, data


def ending(kernel: KernelTable) -> frozenset[int]:
    """The marks of removed backends whose connections are being ended."""
    return frozenset(
        mark
        for name, each in kernel.maps.items()
        if name.startswith("cut_") and each.contents is not None
        for mark in each.leases
        if isinstance(mark, int)
    )


def marks(kernel: KernelTable) -> dict[str, int]:
    """The numbers of backends by what they are hashed from (``known_as``)."""
    return _marks(kernel)[0]


def _marks(kernel: KernelTable) -> tuple[dict[str, int], dict[int, tuple[str, Family]]]:
    """The numbers of backends by what they are hashed from, and their pools by number."""
    found: dict[str, int] = {}
    pools: dict[int, tuple[str, Family]] = {}
    # A backend with a port may stand among the addresses too, without it.
    for kind in ("backends", "addresses"):
        for name, mark, (address, port, comment) in destinations(kernel, kind):
            mark |= OURS  # where it is down it lacks that bit
            farm, _, backend = comment.partition("/")
            if mark in pools or mark & BACKEND_BITS != mark or not backend:
                continue
            if found.setdefault(known_as(farm, address, port), mark) == mark:
                pools[mark] = (farm, 6 if name.startswith(f"{kind}6") else 4)
    return found, pools


def farm_numbers(kernel: KernelTable) -> dict[str, int]:
    """The numbers of farms, by name."""
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name, chain in kernel.chains.items():
        match = FARM_CHAIN.match(name)
        if match is None or (farm := match["farm"]) in found:
            continue
        written = chain.comment or ""
        number = int(written, 16) if _NUMBER.match(written) else farm_hash(farm)
        if number not in taken and 0 < number < 1 << 31:
            taken.add(number)
            found[farm] = number
    return found


def _slots(kernel: KernelTable) -> dict[ElementKey, object]:
    slots: dict[ElementKey, object] = {}
    for name, each in kernel.maps.items():
        if name.startswith("slots") and each.contents is not None:
            slots.update(each.elements)
    return slots


def _moving(
    slots: Mapping[ElementKey, object],
    farms: Sequence[Farm],
    starts: Mapping[tuple[str, Family], int],
    pools: Mapping[int, tuple[str, Family]],
) -> dict[tuple[str, Family], list[int]]:
    """The slots of pools whose weights were measured, from mark to mark."""
    found = {}
    for farm in farms:
        if farm.moving and any(each.remembered.measured for each in farm.backends):
            for family in farm.families:
                pool = farm.name, family
                marks: list[int] = []
                at = starts.get(pool)
                while at is not None and isinstance(mark := slots.get(at + len(marks)), int):
                    if pools.get(mark) != pool:
                        break
                    marks.append(mark)
                found[pool] = marks
    return found


def _starts(
    slots: Mapping[ElementKey, object],
    farms: Sequence[Farm],
    pools: Mapping[int, tuple[str, Family]],
) -> dict[tuple[str, Family], int]:
    found: dict[tuple[str, Family], int] = {}
    elsewhere: set[tuple[str, Family]] = set()
    for farm in farms:
        for family in farm.families:
            pool = farm.name, family
            start = slot_hash(*pool)
            if pools.get(slots.get(start)) == pool:  # type: ignore[call-overload]
                found[pool] = start
            else:
                elsewhere.add(pool)
    if elsewhere:
        for slot, mark in slots.items():
            there = pools.get(mark) if isinstance(mark, int) else None
            if there in elsewhere and isinstance(slot, int):
                found[there] = min(slot, found.get(there, slot))
    return found
