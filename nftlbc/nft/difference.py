"""What has to change for the kernel's table to be the one that is wanted, and nothing else.

Elements are compared by key and data, rules by the digests that the script writes beside them.
What packets put there (sticky entries, counters, a round robin's position) is in no difference,
so what stays is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nftlbc.nft.netlink import Counted, KernelChain, KernelMap, KernelTable
from nftlbc.nft.rules import digest
from nftlbc.table.model import Chain, ElementData, ElementKey, Map, Table

Some = Mapping[ElementKey, ElementData]


@dataclass(frozen=True)
class MapChange:
    """The elements of one map that go and that come; a changed one does both."""

    map: Map
    gone: Some = field(default_factory=dict)
    come: Some = field(default_factory=dict)
    counters: Mapping[ElementKey, Counted] = field(default_factory=dict)
    """What those that come carry over from those that went."""


@dataclass(frozen=True)
class Difference:
    """From the kernel's table to the wanted one; empty where they are the same."""

    new_maps: tuple[Map, ...] = ()
    maps: tuple[MapChange, ...] = ()
    chains: tuple[Chain, ...] = ()
    """New, or with other rules than the kernel's."""
    stale_maps: tuple[KernelMap, ...] = ()
    stale_chains: tuple[KernelChain, ...] = ()
    odd_maps: tuple[KernelMap, ...] = ()
    """Of a name that is wanted and of another kind: they have to go before it can come, and with
    them all rules for a moment within the transaction."""
    odd_chains: tuple[KernelChain, ...] = ()
    """Hooked in elsewhere than wanted."""
    asleep: bool = False
    """The table is there and switched off."""

    @property
    def empty(self) -> bool:
        return self == Difference()

    @property
    def rebuilds(self) -> bool:
        """Every rule has to be written anew; elements and sticky entries stay where they can."""
        return bool(self.odd_maps or self.odd_chains)


def difference(kernel: KernelTable, wanted: Table) -> Difference:
    """What turns the kernel's table into the wanted one.

    The elements of all maps that are not dynamic must have been read.
    """
    odd_maps = tuple(
        kernel.maps[each.name]
        for each in wanted.maps
        if each.name in kernel.maps and not kernel.maps[each.name].declared_as(each)
    )
    odd_chains = tuple(
        there
        for each in wanted.chains
        if (there := kernel.chains.get(each.name)) is not None and not _hooked_alike(there, each)
    )
    odd = {each.name for each in odd_maps}
    kept = {name: each for name, each in kernel.maps.items() if name not in odd}
    changes = [
        _elements(kept.get(each.name), each) for each in wanted.maps if not each.dynamic
    ]
    all_chains = bool(odd_maps or odd_chains)
    return Difference(
        new_maps=tuple(each for each in wanted.maps if each.name not in kept),
        maps=tuple(change for change in changes if change.gone or change.come),
        chains=tuple(
            each
            for each in wanted.chains
            if all_chains or not _same_rules(kernel.chains.get(each.name), each)
        ),
        stale_maps=tuple(each for name, each in kept.items() if name not in wanted.map),
        stale_chains=tuple(
            each for name, each in kernel.chains.items() if name not in wanted.chain
        ),
        odd_maps=odd_maps,
        odd_chains=odd_chains,
        asleep=kernel.dormant,
    )


def _hooked_alike(there: KernelChain, wanted: Chain) -> bool:
    if wanted.hook is None or there.hook is None:
        return wanted.hook is None and there.hook is None
    hook = (there.hook.name, there.hook.priority, there.hook.type, there.hook.accepts)
    return hook == (wanted.hook.name, wanted.hook.priority, "nat", True)


def _same_rules(there: KernelChain | None, wanted: Chain) -> bool:
    if there is None or len(there.rules) != len(wanted.rules):
        return False
    return all(
        rule.comment == digest(wished)
        for rule, wished in zip(there.rules, wanted.rules, strict=True)
    )


def _elements(there: KernelMap | None, wanted: Map) -> MapChange:
    if there is None:
        return MapChange(wanted, come=wanted.elements)
    old, new = there.elements, wanted.elements
    if old == new:
        return MapChange(wanted)
    gone = {key: data for key, data in old.items() if key not in new or new[key] != data}
    come = {key: data for key, data in new.items() if key not in old or old[key] != data}
    counters = {
        key: there.counters[key] for key in come if key in gone and key in there.counters
    }
    return MapChange(wanted, gone, come, counters)
