"""Sticky entries whose map changes: a farm's clients are known by another map when its times,
its sizes or the way it shares them change, and what is known of them goes along."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nftlbc.farms import Milliseconds
from nftlbc.nft.netlink import KernelMap, KernelTable, Lease
from nftlbc.nft.netlink.datatypes import declared
from nftlbc.table.model import Chain, ElementKey, Jump, Lookup, Map, SetMark, SetPriority, Table

_FARM_CHAIN = re.compile(r"farm-.+-[46]\Z")
_ROOM = 16
"""A part of so many of a shared map is left to the clients that come meanwhile."""
_NEARLY_OVER: Milliseconds = 5_000
"""What ends within the time that a transaction may take is not named in it: naming an element
that is gone would make all of it fail."""


class Move(NamedTuple):
    """A farm's clients get from one map to another."""

    farm: str
    """Empty: those of all farms, because the map itself is replaced."""
    number: int | None
    """The first part of their keys; None: all entries of the map are theirs."""
    source: str
    target: Map


class Entry(NamedTuple):
    mark: int
    left: Milliseconds


@dataclass(frozen=True)
class Carried:
    """What one map gets."""

    map: Map
    come: Mapping[ElementKey, Entry] = field(default_factory=dict)
    gone: Sequence[ElementKey] = ()
    """Older entries of the same clients, from when the farm had that map before."""
    farms: tuple[str, ...] = ()
    lost: int = 0
    """For these there was no room, or their new time is over already."""


def moves(kernel: KernelTable, wanted: Table) -> list[Move]:
    """The farms whose clients are known by another map than before, though by the same keys."""
    old_maps = {
        name: rule.sticky[0]
        for name, chain in kernel.chains.items()
        if name.startswith("stick")
        for rule in chain.rules[:1]
        if rule.sticky
    }
    new_maps = {
        chain.name: name
        for chain in wanted.chains
        if chain.name.startswith("stick") and (name := looked_up(chain)) is not None
    }
    found = []
    for chain in wanted.chains:
        number, label = announced(chain)
        if number is None or label not in new_maps:
            continue
        target = wanted.map[new_maps[label]]
        there = kernel.chains.get(chain.name)
        rules = there.rules if there else ()
        before = next((rule.sticky[0] for rule in rules if rule.sticky), "")
        source = old_maps.get(before, "")
        if (
            source in kernel.maps
            and source != target.name
            and known_by(source, before) == known_by(target.name, label)
            and _alike(kernel.maps[source], target)
        ):
            shared = " . " in target.key and "meta priority" in target.key
            found.append(Move(chain.name[5:-2], number if shared else None, source, target))
    # A map of the right name and another kind.
    for each in wanted.maps:
        same = kernel.maps.get(each.name)
        if each.dynamic and same and not same.declared_as(each) and _alike(same, each):
            found.append(Move("", None, each.name, each))
    return found


def looked_up(chain: Chain) -> str | None:
    for statement in chain.rules[0]:
        if isinstance(statement, SetMark) and isinstance(statement.value, Lookup):
            return statement.value.map
    return None


def announced(chain: Chain) -> tuple[int | None, str]:
    """A farm's number and the chain in which it looks for known clients."""
    if chain.rules and _FARM_CHAIN.match(chain.name):
        match chain.rules[0]:
            case (SetPriority(int(number)), Jump(label)) if label.startswith("stick"):
                return number, label
    return None, ""


def label_of(kernel: KernelTable, chain: str) -> str | None:
    """The chain in which a farm's chain looks for known clients, as the kernel has it."""
    rules = kernel.chains[chain].rules if chain in kernel.chains else ()
    return next((rule.sticky[0] for rule in rules if rule.sticky), None)


def map_of(kernel: KernelTable, chain: str) -> str | None:
    """The map in which a farm's chain looks for known clients."""
    label = label_of(kernel, chain)
    return label_of(kernel, label) if label else None


def known_by(map: str, chain: str) -> tuple[str, str]:
    """What clients are known by, from a map's name; what addresses are cut to, from a chain's."""
    return f"{map}_".split("_")[1], f"{chain}_".split("_")[1]


def _alike(there: KernelMap, wanted: Map) -> bool:
    return there.readable and (there.key, there.data) == (declared(wanted.key), "mark")


def needed(found: Iterable[Move]) -> frozenset[str]:
    """The maps whose entries have to be read."""
    return frozenset(name for move in found for name in (move.source, move.target.name))


def carried(found: Sequence[Move], entries: Mapping[str, KernelMap]) -> tuple[Carried, ...]:
    """The entries that go over, with the time that they have left.

    entries: the maps of ``needed``, with their elements.
    """
    by_target: dict[str, list[Move]] = {}
    for move in found:
        by_target.setdefault(move.target.name, []).append(move)
    result = []
    for name, some in by_target.items():
        made = _carried(some, entries, entries.get(name))
        if made.come or made.lost:
            result.append(made)
    return tuple(result)


def _carried(
    found: Sequence[Move], entries: Mapping[str, KernelMap], there: KernelMap | None
) -> Carried:
    target = found[0].target
    come: dict[ElementKey, Entry] = {}
    considered = 0
    for source in dict.fromkeys(move.source for move in found):
        if source not in entries:
            continue
        some = [move for move in found if move.source == source]
        numbers = None if any(m.number is None for m in some) else {m.number for m in some}
        for key, lease, mark in _of_farms(entries[source], numbers):
            considered += 1
            left = _left(lease, target.timeout or 0)
            if left > 0:
                come[key] = Entry(mark, left)
    replaced = any(move.source == target.name for move in found)
    older = {} if there is None or replaced else there.elements
    gone = []
    for key in [key for key in come if key in older] if older else []:
        lease = there.leases.get(key) if there else None
        if lease and lease.left < _NEARLY_OVER:
            del come[key]
        else:
            gone.append(key)
    room = target.size if target.size is not None else 65_535
    room = max(0, room - room // _ROOM - len(older) + len(gone)) if older or room > 4096 else room
    if len(come) > room:
        best = heapq.nlargest(room, come.items(), key=lambda item: item[1].left)
        come = dict(best)
        gone = [key for key in gone if key in come]
    farms = tuple(move.farm for move in found if move.farm)
    return Carried(target, come, gone, farms, considered - len(come))


def _of_farms(
    there: KernelMap, numbers: set[int | None] | None
) -> Iterable[tuple[ElementKey, Lease | None, int]]:
    for key, mark in there.elements.items():
        if isinstance(mark, int) and (
            numbers is None or (isinstance(key, tuple) and key[0] in numbers)
        ):
            yield key, there.leases.get(key), mark


def _left(lease: Lease | None, timeout: Milliseconds) -> Milliseconds:
    """As long as if the new time had held when the client last came."""
    if lease is None:
        return timeout
    return min(timeout, timeout - (lease.timeout - lease.left))
