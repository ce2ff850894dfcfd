"""A difference as one nft transaction: all of it happens at one moment, or nothing does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nftlbc.nft.difference import Difference, MapChange, Some
from nftlbc.nft.elements import element_lines, key_texts
from nftlbc.nft.netlink import Counted, KernelMap
from nftlbc.nft.rules import signed
from nftlbc.nft.script import TABLE, declaration
from nftlbc.table.model import Chain, ElementKey, Map


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
    change = "\n".join(_change(wanted))
    clearing = "".join(
        [
            *(f"delete {_kind(each)} {TABLE} {each.name}\n" for each in wanted.stale_maps),
            *(f"delete chain {TABLE} {each.name}\n" for each in wanted.stale_chains),
        ]
    )
    return Transaction(change, clearing)


def _change(wanted: Difference) -> Iterator[str]:
    if wanted.asleep:
        yield f"add table {TABLE}"
    if wanted.rebuilds:
        # What is of another kind can go only when no rule looks at it.
        yield f"flush table {TABLE}"
        for there in wanted.odd_chains:
            yield f"delete chain {TABLE} {there.name}"
        for odd in wanted.odd_maps:
            yield f"delete {_kind(odd)} {TABLE} {odd.name}"
    if wanted.new_maps:
        declared = "".join(map(declaration, wanted.new_maps))
        yield f"table {TABLE} {{\n{declared}}}"
    if wanted.chains:
        # An empty declaration of each, for the rules of others that lead there.
        yield f"table {TABLE} {{"
        for chain in wanted.chains:
            yield _declared(chain)
        yield "}"
    for stale in wanted.stale_chains:
        yield f"flush chain {TABLE} {stale.name}"
    for old in wanted.stale_maps:
        yield f"flush {_kind(old)} {TABLE} {old.name}"
    for change in wanted.maps:
        yield from _elements(change)
    for chain in wanted.chains:
        if not wanted.rebuilds:
            yield f"flush chain {TABLE} {chain.name}"
        for rule in chain.rules:
            yield f"add rule {TABLE} {chain.name} {signed(rule)}"
    yield ""


def _kind(there: KernelMap) -> str:
    return "set" if there.data is None else "map"


def _declared(chain: Chain) -> str:
    if chain.hook is None:
        return f"    chain {chain.name} {{\n    }}"
    hook, priority = chain.hook.name, chain.hook.priority
    return f"    chain {chain.name} {{\n        type nat hook {hook} priority {priority:d};\n    }}"


def _elements(change: MapChange) -> Iterator[str]:
    each = change.map
    if change.gone:
        yield _command("delete", each, key_texts(each, list(change.gone)))
    if change.come:
        lines = element_lines(each, change.come)
        if change.counters:
            lines = list(_counted(lines, change.come, change.counters))
        yield _command("add", each, lines)


def _command(verb: str, each: Map, lines: list[str]) -> str:
    listed = ",\n".join(f"    {line}" for line in lines)
    return f"{verb} element {TABLE} {each.name} {{\n{listed}\n}}"


def _counted(
    lines: list[str], come: Some, counters: Mapping[ElementKey, Counted]
) -> Iterator[str]:
    """The elements with the counters that they carry over."""
    for key, line in zip(come, lines, strict=True):
        counted = counters.get(key)
        if counted is None:
            yield line
        else:
            text, comment, rest = line.partition(" comment ")
            so_far = f" counter packets {counted.packets:d} bytes {counted.bytes:d}"
            yield f"{text}{so_far}{comment}{rest}"
