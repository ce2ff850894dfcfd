"""What has to change for the kernel's table to be the one that is wanted, and nothing else.

Elements are compared by key and data, rules by the digests that the script writes beside them.
What packets put there (sticky entries, counters, a round robin's position) is in no difference,
so what stays is not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nftlbc.nft.elements import key_texts
from nftlbc.nft.netlink import Counted, KernelChain, KernelMap, KernelTable
from nftlbc.nft.rules import digest
from nftlbc.nft.sticky import Carried
from nftlbc.nft.words import Unwritable
from nftlbc.table.model import OURS, Chain, ElementData, ElementKey, Map, Table

Some = Mapping[ElementKey, ElementData]


@dataclass(frozen=True)
class MapChange:
    """The elements of one map that go and that come; a changed one does both."""

    map: Map
    gone: Some = field(default_factory=dict)
    come: Some = field(default_factory=dict)
    counters: Mapping[ElementKey, Counted] = field(default_factory=dict)
    """What those that come carry over from those that went."""
    anew: bool = False
    """It has elements that can't be named in a script: it is emptied as a whole."""


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
    dropping: tuple[Chain, ...] = ()
    """Wanted ones that drop what they don't know: their policy is changed back."""
    asleep: bool = False
    """The table is there and switched off."""
    sticky: tuple[Carried, ...] = ()
    """Entries that go on in another map."""

    @property
    def empty(self) -> bool:
        return self == Difference()

    @property
    def rebuilds(self) -> bool:
        """Every rule has to be written anew; elements and sticky entries stay where they can."""
        return bool(self.odd_maps or self.odd_chains)


def difference(kernel: KernelTable, wanted: Table) -> Difference:
    """What turns the kernel's table into the wanted one, but for sticky entries.

    The elements of all maps that are not dynamic must have been read.
    """
    odd_maps = tuple(
        kernel.maps[each.name]
        for each in wanted.maps
        if each.name in kernel.maps and not kernel.maps[each.name].declared_as(each)
    )
    there = kernel.chains
    pairs = [(there[each.name], each) for each in wanted.chains if each.name in there]
    odd_chains = tuple(old for old, each in pairs if not _hooked_alike(old, each))
    odd = {each.name for each in odd_maps}
    kept = {name: each for name, each in kernel.maps.items() if name not in odd}
    changes = [_elements(kernel, kept, each) for each in wanted.maps if not each.dynamic]
    all_chains = bool(odd_maps or odd_chains)
    return Difference(
        new_maps=tuple(each for each in wanted.maps if each.name not in kept),
        maps=tuple(change for change in changes if change.gone or change.come),
        chains=tuple(
            each
            for each in wanted.chains
            if all_chains or not same_rules(there.get(each.name), each)
        ),
        stale_maps=tuple(each for name, each in kept.items() if name not in wanted.map),
        stale_chains=tuple(
            each for name, each in kernel.chains.items() if name not in wanted.chain
        ),
        odd_maps=odd_maps,
        odd_chains=odd_chains,
        dropping=tuple(
            each for old, each in pairs if old.hook and not old.hook.accepts and not all_chains
        ),
        asleep=kernel.dormant,
    )


def _hooked_alike(there: KernelChain, wanted: Chain) -> bool:
    if wanted.hook is None or there.hook is None:
        return wanted.hook is None and there.hook is None
    hook = (there.hook.name, there.hook.priority, there.hook.type)
    return hook == (wanted.hook.name, wanted.hook.priority, wanted.hook.type)


def same_rules(there: KernelChain | None, wanted: Chain) -> bool:
    """Whether a chain has the rules that are wanted, by their digests.

    A rule that was replaced by hand with its digest taken along is not noticed: its handle stays,
    and what the kernel has of a rule differs from one nft to the next, so that there is nothing
    to compare it with.
    """
    if there is None or len(there.rules) != len(wanted.rules):
        return False
    return all(
        rule.comment == digest(wished)
        for rule, wished in zip(there.rules, wanted.rules, strict=True)
    )


def _elements(kernel: KernelTable, kept: Mapping[str, KernelMap], wanted: Map) -> MapChange:
    there = kept.get(wanted.name)
    new = wanted.elements
    if there is None:
        return MapChange(wanted, come=new, counters=_counters(kernel, wanted, {}, new))
    old = there.elements
    if old == new:
        return MapChange(wanted)
    gone = {key: data for key, data in old.items() if key not in new or new[key] != data}
    if not _nameable(wanted, gone):
        return MapChange(wanted, old, new, _counters(kernel, wanted, old, new), anew=True)
    come = {key: data for key, data in new.items() if key not in old or old[key] != data}
    return MapChange(wanted, gone, come, _counters(kernel, wanted, gone, come))


def _nameable(wanted: Map, gone: Some) -> bool:
    """Whether all keys can be written; what was put there by hand may have others."""
    try:
        key_texts(wanted, list(gone))
    except (Unwritable, TypeError, ValueError):
        return False
    return True


def _counters(
    kernel: KernelTable, wanted: Map, gone: Some, come: Some
) -> dict[ElementKey, Counted]:
    """What backends have counted elsewhere: under their names before, at rest while they were
    down, in a map of another size."""
    if not wanted.counter or not come:
        return {}
    base = wanted.name.partition("_")[0]
    counted: list[tuple[ElementKey, Counted]] = []
    for name, each in kernel.maps.items():
        if name.partition("_")[0] != base or each.contents is None:
            continue
        going = gone if name == wanted.name and gone else each.counters
        if name == wanted.name and not gone and each.declared_as(wanted):
            continue
        counted += [(key, each.counters[key]) for key in going if key in each.counters]
    return carried_over(counted, come)


def carried_over(
    counted: Iterable[tuple[ElementKey, Counted]], come: Some
) -> dict[ElementKey, Counted]:
    """What backends that come have counted, at rest or not, by their keys now."""
    found: dict[ElementKey, Counted] = {}
    for key, (packets, bytes_) in counted:
        if packets and isinstance(key, int):
            before = found.get(key | OURS, Counted(0, 0))
            found[key | OURS] = Counted(before.packets + packets, before.bytes + bytes_)
    return {key: found[key | OURS] for key in come if isinstance(key, int) and key | OURS in found}
