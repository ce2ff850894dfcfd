"""A difference as one nft transaction: all of it happens at one moment, or nothing does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nftlbc.nft import words
from nftlbc.nft.difference import Difference, MapChange, Some
from nftlbc.nft.elements import element_lines, key_texts
from nftlbc.nft.netlink import Counted, KernelMap
from nftlbc.nft.rules import signed
from nftlbc.nft.script import TABLE, chain_head, declaration, kind
from nftlbc.nft.sticky import Carried
from nftlbc.table.model import ElementKey, Map


class Transaction(NamedTuple):
    change: str
    """The script that makes the table the wanted one; empty where it is."""
    clearing: str
    """What nothing points to any more. By itself, after the other: kernels before 6.2 refuse to
    delete a chain in the transaction that takes the element to it away, and nothing is lost when
    it fails."""


def transaction(wanted: Difference) -> Transaction:
    """The scripts for a difference; both are empty where there is none."""
    if wanted.empty:
        return Transaction("", "")
    clearing = "".join(
        [
            *(f"delete {_kind(each)} {TABLE} {each.name}\n" for each in wanted.stale_maps),
            *(
                f"delete chain {TABLE} {each.name}\n"
                for each in wanted.stale_chains
                if each.hook is None
            ),
        ]
    )
    return Transaction("".join(f"{line}\n" for line in _change(wanted)), clearing)


def _change(wanted: Difference) -> Iterator[str]:
    if wanted.asleep:
        yield f"add table {TABLE}"
    # What is of another kind can go only when no rule looks at it and no element leads to it.
    if wanted.rebuilds:
        yield f"flush table {TABLE}"
    for stale in wanted.stale_chains:
        yield f"flush chain {TABLE} {stale.name}"
    for old in (*wanted.stale_maps, *wanted.odd_maps):
        yield f"flush {_kind(old)} {TABLE} {old.name}"
    for change in wanted.maps:
        yield from _gone(change)
    for base in (*wanted.odd_chains, *(each for each in wanted.stale_chains if each.hook)):
        yield f"delete chain {TABLE} {base.name}"
    for odd in wanted.odd_maps:
        yield f"delete {_kind(odd)} {TABLE} {odd.name}"
    if wanted.new_maps:
        declared = "".join(map(declaration, wanted.new_maps))
        yield f"table {TABLE} {{\n{declared}}}"
    if wanted.chains or wanted.dropping:
        # An empty declaration of each, for the rules of others that lead there.
        yield f"table {TABLE} {{"
        for chain in wanted.chains:
            yield from (*chain_head(chain), "    }")
        for chain in wanted.dropping:
            yield from (*chain_head(chain), "        policy accept;", "    }")
        yield "}"
    for change in wanted.maps:
        yield from _come(change)
    for carried in wanted.sticky:
        yield from _carried(carried)
    for chain in wanted.chains:
        if not wanted.rebuilds:
            yield f"flush chain {TABLE} {chain.name}"
        for rule in chain.rules:
            yield f"add rule {TABLE} {chain.name} {signed(rule)}"


def _kind(there: KernelMap) -> str:
    return "set" if there.data is None else "map"


def _gone(change: MapChange) -> Iterator[str]:
    if change.anew:
        yield f"flush {kind(change.map)} {TABLE} {change.map.name}"
    elif change.gone:
        yield _command("delete", change.map, key_texts(change.map, list(change.gone)))


def _come(change: MapChange) -> Iterator[str]:
    if not change.come:
        return
    lines = element_lines(change.map, change.come)
    if change.counters:
        lines = list(_counted(lines, change.come, change.counters))
    yield _command("add", change.map, lines)


def _carried(carried: Carried) -> Iterator[str]:
    each = carried.map
    if carried.gone:
        yield _command("delete", each, key_texts(each, list(carried.gone)))
    if carried.come:
        timeout = words.time(each.timeout or 0)
        keys = key_texts(each, list(carried.come))
        lines = [
            f"{key} timeout {timeout} expires {words.time(entry.left)} : {words.mark(entry.mark)}"
            for key, entry in zip(keys, carried.come.values(), strict=True)
        ]
        yield _command("add", each, lines)


def _command(verb: str, each: Map, lines: list[str]) -> str:
    listed = ",\n".join(f"    {line}" for line in lines)
    return f"{verb} element {TABLE} {each.name} {{\n{listed}\n}}"


def _counted(lines: list[str], come: Some, counters: Mapping[ElementKey, Counted]) -> Iterator[str]:
    """The elements with the counters that they carry over."""
    for key, line in zip(come, lines, strict=True):
        counted = counters.get(key)
        if counted is None:
            yield line
        else:
            text, comment, rest = line.partition(" comment ")
            so_far = f" counter packets {counted.packets:d} bytes {counted.bytes:d}"
            yield f"{text}{so_far}{comment}{rest}"
