"""The running table in the memory of a process that watches it: what it changes itself is known
without reading the table again, and a change to a few farms costs what those farms cost.

A table of 10 000 farms takes two seconds to be read and one to be compared; a backend that dies
must be out of it within milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from nftlbc.farms import FAMILIES, Family, Farm
from nftlbc.nft import netlink
from nftlbc.nft.difference import Difference, MapChange, carried_over, same_rules
from nftlbc.nft.netlink import KernelMap, KernelRule, KernelTable
from nftlbc.nft.rules import digest
from nftlbc.nft.transaction import transaction
from nftlbc.plan.in_use import in_use
from nftlbc.plan.planning import Plan
from nftlbc.states import PROBED_KEY, Seconds, probed_text
from nftlbc.table.build import build
from nftlbc.table.model import (
    OURS,
    Destination,
    ElementData,
    ElementKey,
    Elements,
    Map,
    Note,
    Table,
)
from nftlbc.table.numbers import InUse, known_as, room_for

_BY_MARK = ("backends", "addresses", "states", "cut", "traffic-in", "traffic-out")
"""Maps and sets whose keys are marks of backends, at rest or not."""
_SERVING = tuple(f"{kind}{family}" for kind in ("backends", "addresses") for family in FAMILIES)


@dataclass
class Running:
    """A table, and the farms that it was made from; ``changed`` keeps both in step."""

    kernel: KernelTable
    farms: dict[str, Farm]
    """With all that is remembered of them, by name."""
    numbers: InUse

    @classmethod
    def of(cls, kernel: KernelTable, farms: Iterable[Farm]) -> Running:
        known = tuple(farms)
        return cls(kernel, {farm.name: farm for farm in known}, in_use(kernel, known))

    def plan(self, farms: Sequence[Farm]) -> Plan | None:
        """What makes these farms, known ones with other states or weights, as they are now.

        None where more than their own elements and rules would change: a chain or a map that
        farms share comes or goes, a map is outgrown, or slots have no room where they are.
        """
        owned = _Owned(self, farms)
        maps = _by_kind(self.kernel)
        wanted = build(farms, self._numbers(farms, owned, maps))
        changes = []
        for kind, there in maps.items():
            each = wanted.map.get(there.name) or Map(there.name, f"type {there.key}", there.data)
            change = _change(kind, each, there, owned)
            if change is None:
                return None
            if change.gone or change.come:
                changes.append(change)
        if not _known(wanted, self.kernel):
            return None
        chains = tuple(
            chain
            for chain in wanted.chains
            if chain.name.startswith("farm-")
            and not same_rules(self.kernel.chains.get(chain.name), chain)
        )
        if changes:
            changes = self._counted(changes)
        found = Difference(maps=tuple(changes), chains=chains)
        return Plan(tuple(farms), self.kernel, wanted, found, transaction(found))

    def changed(self, plan: Plan) -> None:
        """A plan of ``plan`` was carried out."""
        assert plan.difference is not None
        for change in plan.difference.maps:
            contents = self.kernel.maps[change.map.name].contents
            assert contents is not None
            for key in change.gone:
                contents.elements.pop(key, None)
                contents.comments.pop(key, None)
                contents.counters.pop(key, None)
            contents.elements.update(change.come)
            contents.counters.update(change.counters)
            for key, data in change.come.items():
                if isinstance(data, Destination):
                    contents.comments[key] = data.name
                elif isinstance(data, Note):
                    contents.comments[key] = data.text
        chains = cast("MutableMapping[str, netlink.KernelChain]", self.kernel.chains)
        for chain in plan.difference.chains:
            old = chains[chain.name]
            sticky = old.rules[0].sticky if old.rules else ()
            rules = tuple(
                KernelRule(0, digest(rule), b"", () if n else sticky)
                for n, rule in enumerate(chain.rules)
            )
            chains[chain.name] = replace(old, rules=rules)
        self._place(plan)
        self.remember(plan.farms)

    def _place(self, plan: Plan) -> None:
        """Where the slots of pools begin now: one that had none may have been placed."""
        starts = cast("MutableMapping[tuple[str, Family], int]", self.numbers.starts)
        slots = next((each for each in plan.wanted.maps if each.name.startswith("slots")), None)
        for farm in plan.farms if slots else ():
            families = {
                self.numbers.marks[known_as(farm.name, each.address, each.port)]: each.family
                for each in farm.backends
            }
            begun: dict[Family, int] = {}
            section = slots.sections.get(farm.name, {}) if slots else {}
            for slot, mark in section.items():
                if isinstance(slot, int) and isinstance(mark, int):
                    family = families[mark]
                    begun[family] = min(slot, begun.get(family, slot))
            starts.update({(farm.name, family): slot for family, slot in begun.items()})

    def probed(self, when: Seconds) -> Plan | None:
        """What lets the table remember when checks were last made; None without a place for it."""
        there = _by_kind(self.kernel).get("states")
        if there is None:
            return None
        old: dict[ElementKey, ElementData] = {}
        if PROBED_KEY in there.elements:
            old[PROBED_KEY] = there.elements[PROBED_KEY]
        states = Map(there.name, f"type {there.key}", None, there.size)
        change = MapChange(states, old, {PROBED_KEY: Note(probed_text(when))})
        found = Difference(maps=(change,))
        return Plan((), self.kernel, Table((), ()), found, transaction(found))

    def serving(self, marks: Collection[int]) -> set[int]:
        """Those of these backends that connections are sent to."""
        maps = _by_kind(self.kernel)
        there = [maps[kind].elements for kind in _SERVING if kind in maps]
        return {mark for mark in marks if any(mark in each for each in there)}

    def remember(self, farms: Iterable[Farm]) -> None:
        """Farms whose records alone changed."""
        self.farms.update((farm.name, farm) for farm in farms)

    def _counted(self, changes: Sequence[MapChange]) -> list[MapChange]:
        """With what those that move have counted until now, not until they were last read."""
        found = []
        for each in changes:
            if each.map.counter and each.gone:
                counted = netlink.counters(
                    each.map.name, [key for key in each.gone if isinstance(key, int)]
                )
                found.append(replace(each, counters=carried_over(counted, each.come)))
            else:
                found.append(each)
        return found

    def _numbers(
        self, farms: Sequence[Farm], owned: _Owned, maps: Mapping[str, KernelMap]
    ) -> InUse:
        """Those of these farms alone, and the sizes of all maps."""
        every = self.numbers
        pools = [(farm.name, family) for farm in farms for family in farm.families]
        return InUse(
            owned.marks,
            {farm.name: every.farms[farm.name] for farm in farms},
            {pool: every.starts[pool] for pool in pools if pool in every.starts},
            owned.slots,
            sizes={kind: each.size for kind, each in maps.items() if each.size is not None},
        )


class _Owned:
    """The elements of some farms in the running table."""

    def __init__(self, running: Running, farms: Sequence[Farm]) -> None:
        numbers = running.numbers
        slots = _by_kind(running.kernel).get("slots")
        there: Elements = slots.elements if slots else {}
        self.marks: dict[str, int] = {}
        self.slots: dict[tuple[str, Family], list[int]] = {}
        self.slot_keys: set[ElementKey] = set()
        for farm in farms:
            own = {}
            for each in farm.backends:
                name = known_as(farm.name, each.address, each.port)
                own[name] = numbers.marks[name]
            self.marks.update(own)
            marks = set(own.values())
            for family in farm.families:
                start = numbers.starts.get((farm.name, family))
                found: list[int] = []
                while start is not None and isinstance(mark := there.get(start + len(found)), int):
                    if mark not in marks:
                        break
                    found.append(mark)
                if found and start is not None:
                    self.slot_keys.update(range(start, start + len(found)))
                self.slots[farm.name, family] = found
        self.by_mark: set[ElementKey] = {
            key for mark in self.marks.values() for key in (mark, mark & ~OURS)
        }
        self.records: set[ElementKey] = set()
        records = _by_kind(running.kernel).get("farms")
        for farm in farms if records else ():
            piece = 0
            while records and (key := (numbers.farms[farm.name], piece)) in records.elements:
                self.records.add(key)
                piece += 1

    def keys(self, kind: str) -> set[ElementKey]:
        if kind == "slots":
            return self.slot_keys
        if kind == "farms":
            return self.records
        return self.by_mark if kind.rstrip("46") in _BY_MARK else set()


def _by_kind(kernel: KernelTable) -> dict[str, KernelMap]:
    """The maps that don't change by themselves, without the sizes in their names. Of two sizes of
    one the emptied one only waits to be cleared away."""
    found: dict[str, KernelMap] = {}
    for name, each in kernel.maps.items():
        if each.contents is not None and "dynamic" not in each.flags:
            kind = name.partition("_")[0]
            if kind not in found or len(each.elements) > len(found[kind].elements):
                found[kind] = each
    return found


def _change(kind: str, wanted: Map, there: KernelMap, owned: _Owned) -> MapChange | None:
    old, new = there.elements, wanted.elements
    own = owned.keys(kind)
    gone = {key: old[key] for key in own if key in old and new.get(key, _ABSENT) != old[key]}
    come = {key: data for key, data in new.items() if old.get(key, _ABSENT) != data}
    fixed = kind not in ("slots", "farms") and kind.rstrip("46") not in _BY_MARK
    if any(key in old and key not in own for key in come) or (come and fixed):
        return None
    left = len(old) - len(gone) + len(come)
    if kind in ("cut", "states") and any(key in there.leases for key in gone):
        return None
    outgrown = there.size is not None and room_for(left) > there.size
    if (gone or come) and (outgrown or (kind in ("cut", "slots") and not left)):
        return None
    return MapChange(replace(wanted, size=there.size, counter=there.counter), gone, come)


_ABSENT = object()


def _known(wanted: Table, kernel: KernelTable) -> bool:
    """Every map and every shared chain is there. What rules of base chains and of ``source`` name
    depends on all farms, and not on their states."""
    return all(each.name in kernel.maps for each in wanted.maps if each.elements) and all(
        chain.name in kernel.chains
        if chain.hook is not None or chain.name == "source"
        else same_rules(kernel.chains.get(chain.name), chain)
        for chain in wanted.chains
        if not chain.name.startswith("farm-")
    )
