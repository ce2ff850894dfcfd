"""The kernel's table to be walked: its own elements, states and sticky entries.

The kernel's rules can't be read back as statements, but the table tells which farms it was made
from, and farms tell their rules. Where those are not the kernel's, by their digests, that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nftlbc.explain.outcome import Packet
from nftlbc.explain.story import listening
from nftlbc.farms import Farm, Milliseconds
from nftlbc.nft import netlink
from nftlbc.nft.difference import difference
from nftlbc.nft.netlink import KernelTable
from nftlbc.nft.program import NftError
from nftlbc.nft.sticky import announced, looked_up
from nftlbc.plan.in_use import in_use
from nftlbc.plan.planning import NO_TABLE
from nftlbc.plan.planning import read as read_table
from nftlbc.plan.recall import recall
from nftlbc.table.build import build
from nftlbc.table.model import ElementKey, Table

_MOST = 3
"""Chains or maps that are named; more are counted."""


@dataclass(frozen=True)
class Memory:
    """The sticky entries that matter to one packet."""

    marks: dict[str, dict[ElementKey, int]] = field(default_factory=dict)
    """By map and key."""
    left: Mapping[ElementKey, Milliseconds] = field(default_factory=dict)
    """How long they stay; those that end."""


@dataclass(frozen=True)
class Live:
    farms: tuple[Farm, ...]
    table: Table
    """The rules that the farms make, with the elements that the kernel has."""
    memory: Memory
    drift: tuple[str, ...]
    """How the kernel's table differs from the one that its farms make."""


def read(packet: Packet) -> Live:
    """The kernel's table, and what it remembers of who may be the packet's client.

    Raises NftError where there is no table or it can't be read.
    """
    kernel = read_table()
    if kernel is None:
        raise NftError(NO_TABLE, "load one: nftlbc apply FILE")
    farms = recall(kernel).farms
    wanted = build(farms, in_use(kernel, farms))
    memory = _memory(farms, wanted, packet)
    return Live(farms, _as_it_is(kernel, wanted), memory, tuple(_drift(kernel, wanted)))


def _as_it_is(kernel: KernelTable, wanted: Table) -> Table:
    there = {
        name: each
        for name, each in kernel.maps.items()
        if each.contents is not None and "dynamic" not in each.flags
    }
    maps = tuple(
        replace(each, sections={"": there[each.name].elements}) if each.name in there else each
        for each in wanted.maps
    )
    return Table(maps, wanted.chains)


def _memory(farms: Sequence[Farm], wanted: Table, packet: Packet) -> Memory:
    """Only the map in which the farm that is asked for knows its clients is read."""
    found = listening(farms, packet)
    chain = wanted.chain.get(f"farm-{found[0].name}-{packet.family}") if found else None
    _, label = announced(chain) if chain else (None, "")
    name = looked_up(wanted.chain[label]) if label else None
    if name is None:
        return Memory()
    table = netlink.read(elements=lambda each: each.name == name, program=False)
    there = table.maps.get(name) if table else None
    if there is None or there.contents is None or there.data != "mark":
        return Memory()
    marks = {key: mark for key, mark in there.elements.items() if isinstance(mark, int)}
    return Memory({name: marks}, {key: lease.left for key, lease in there.leases.items()})


def _drift(kernel: KernelTable, wanted: Table) -> Iterator[str]:
    """What waits to be cleared away does nothing, and is none."""
    found = difference(kernel, wanted)
    if found.asleep:
        yield "the table is switched off (dormant): the kernel balances nothing"
    chains = [each.name for each in (*found.chains, *found.dropping)]
    chains += [each.name for each in found.stale_chains if each.hook]
    if chains:
        yield f"other rules than its farms make in {_some('chain', chains)}"
    maps = [each.map.name for each in found.maps]
    if maps:
        yield f"other elements than its farms make in {_some('map', maps)}"


def _some(word: str, names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) > _MOST:
        return f"{len(names)} {word}s"
    return f"{word}{'' if len(names) == 1 else 's'} {', '.join(names)}"
