"""The part of the kernel's table that has to do with one farm, read in a fraction of the time.

A farm's chain tells its slots, its record the backends without a slot; elements whose keys are
known come one by one, and of the maps of listeners the farm's are picked out.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nftlbc.farms import FAMILIES
from nftlbc.nft import netlink
from nftlbc.nft.netlink import KernelChain, KernelTable, Picking
from nftlbc.nft.netlink.picking import Part
from nftlbc.plan.in_use import farm_numbers
from nftlbc.states import PROBED_KEY
from nftlbc.table import recorded
from nftlbc.table.model import OURS, Note

_PIECES = 10_000
"""Of a farm's record; more than there can be."""
_MOST_SLOTS = 1 << 17
"""Of a pool; more than a farms file can ask for."""


def one_farm(name: str) -> KernelTable | None:
    """The table with what belongs to one farm; contents are None where nothing can.

    None: there is no table. Without chains: there is no such farm. Raises NftError where the
    kernel's table can't be read.
    """

    def take(table: Picking) -> tuple[Mapping[str, Part], Mapping[str, KernelChain]]:
        reading = _Reading(table, name)
        return (reading.parts() if reading.chains else {}), reading.chains

    return netlink.pick(take)


@dataclass
class _Reading:
    table: Picking
    name: str
    chains: dict[str, KernelChain] = field(default_factory=dict)
    """The farm's, and those in which it looks for known clients."""
    slots: list[range] = field(default_factory=list)

    def __post_init__(self) -> None:
        for family in FAMILIES:
            found = self.table.chain(f"farm-{self.name}-{family}")
            if found is None:
                continue
            chain, slots = found
            self.chains[chain.name] = chain
            self.slots += slots
            for label in (label for rule in chain.rules for label in rule.sticky):
                if (known := self.table.chain(label)) is not None:
                    self.chains[label] = known[0]
        self.number = farm_numbers(KernelTable(0, False, None, 0, {}, self.chains)).get(self.name)
        self.kinds: defaultdict[str, list[str]] = defaultdict(list)
        for each in self.table.maps:
            self.kinds[each.partition("_")[0].rstrip("46")].append(each)

    def parts(self) -> dict[str, Part]:
        servers = self.kinds["backends"] + self.kinds["addresses"]
        found = self._known_servers()
        found.update(self.table.picked(self._wanted(found, servers)))
        marks = _marks(found, servers)
        for each in self.kinds["states"] + self.kinds["traffic-in"] + self.kinds["traffic-out"]:
            found[each] = self.table.elements(each, ((mark,) for mark in (PROBED_KEY, *marks)))
        return found

    def _known_servers(self) -> dict[str, Part]:
        """Its record, its slots, and the backends that these name."""
        found: dict[str, Part] = {}
        for each in self.kinds["farms"]:
            pieces = ((self.number or 0, piece) for piece in range(_PIECES))
            found[each] = self.table.elements(each, pieces, until_gone=True)
        for each in self.kinds["slots"]:
            slots = ((slot,) for some in self.slots for slot in some[:_MOST_SLOTS])
            found[each] = self.table.elements(each, slots)
        # Those that are down rest without that bit.
        keys = [key for mark in self._named(found) for key in (mark, mark & ~OURS)]
        for each in self.kinds["backends"] + self.kinds["addresses"]:
            found[each] = self.table.elements(each, ((key,) for key in keys))
        return found

    def _named(self, found: Mapping[str, Part]) -> set[int]:
        """The marks that its slots and its record name."""
        slots = [found[each].contents.elements.values() for each in self.kinds["slots"]]
        marks = {mark for some in slots for mark in some if isinstance(mark, int)}
        for each in self.kinds["farms"]:
            notes = found[each].contents.elements.values()
            pieces = [note.text for note in notes if isinstance(note, Note)]
            marks.update(recorded.idle(recorded.whole(dict(enumerate(pieces)))))
        return marks

    def _wanted(
        self, found: Mapping[str, Part], servers: Iterable[str]
    ) -> dict[str, list[bytes] | None]:
        """What has to be picked out of whole maps."""
        listens = [f"\0farm-{self.name}-{family}\0".encode() for family in FAMILIES]
        wanted: dict[str, list[bytes] | None] = {
            **dict.fromkeys(self.kinds["services"] + self.kinds["ranges"], listens),
            **dict.fromkeys(self.kinds["ports"]),
        }
        marks = set(_marks(found, servers))
        slots = sum(len(found[each].contents.elements) for each in self.kinds["slots"])
        if not marks or marks != self._named(found) or slots < sum(map(len, self.slots)):
            # A hand was there: of all backends, those that bear the farm's name.
            serves = [f"{self.name}/".encode()]
            wanted.update(dict.fromkeys(servers, serves))
        rules = [rule for chain in self.chains.values() for rule in chain.rules]
        for each in {label for rule in rules for label in rule.sticky} & set(self.table.maps):
            shared = self.table.maps[each].key.startswith("classid . ")
            number = (self.number or 0).to_bytes(4, sys.byteorder)
            wanted[each] = [number] if shared else None
        return wanted


def _marks(found: Mapping[str, Part], servers: Iterable[str]) -> list[int]:
    """The backends that have been found."""
    keys = {key for each in servers if each in found for key in found[each].contents.elements}
    return sorted({key | OURS for key in keys if isinstance(key, int)})
