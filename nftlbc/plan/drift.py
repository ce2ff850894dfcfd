"""What in the kernel's table was not nftlbc's doing: somebody changed it behind our back, or
another version made it. No farms file leads to these, whatever it said before."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nftlbc.nft.difference import Difference, same_rules
from nftlbc.nft.netlink import KernelChain, KernelTable
from nftlbc.nft.rules import digest
from nftlbc.plan.changes import Change
from nftlbc.table.model import OURS, Chain, Destination, Table

_CHAIN = re.compile(
    r"(?:farm-.+-[46]|tracking|pick|refuse|prerouting|output|postrouting|source"
    r"|(?:deliver|serve|stick|learn)[46].*|end|filter-(?:forward|input|output))\Z"
)
_MAP = re.compile(
    r"(?:(?:slots|farms|states|cut|traffic-in|traffic-out)_\d+"
    r"|(?:services|backends|addresses|snat|hairpins)[46]_\d+"
    r"|(?:ranges|own|ports)[46]|sticky[46]_.+)\Z"
)
_FARM = re.compile(r"farm-.+-[46]\Z")
_DIGEST = re.compile(r"[0-9a-f]{8}\Z")
_GROWING = ("prerouting", "output", "source")
"""What their rules are depends on what all farms need: fewer may be another file's doing."""


def drift(kernel: KernelTable, wanted: Table, found: Difference) -> list[Change]:
    """What was changed by hand, as far as it shows."""
    return [Change("drift", "", subject, text) for subject, text in _all(kernel, wanted, found)]


def _all(kernel: KernelTable, wanted: Table, found: Difference) -> Iterator[tuple[str, str]]:
    if found.asleep:
        yield "", "the table was switched off (dormant): it is woken"
    if found.rebuilds:
        odd = [each.name for each in found.odd_maps] + [each.name for each in found.odd_chains]
        names = ", ".join(odd)
        text = f"{names}: of another kind than nftlbc makes; all rules are written anew, at once"
        yield names, text
    for chain in found.dropping:
        yield chain.name, f"chain {chain.name} drops what it does not know: it accepts again"
    for stale in found.stale_chains:
        if not _CHAIN.match(stale.name):
            hooked = ", and is called" if stale.hook else ""
            yield stale.name, f"chain {stale.name} is not nftlbc's{hooked}: it is taken away"
    for old in found.stale_maps:
        if not _MAP.match(old.name):
            yield old.name, f"map {old.name} is not nftlbc's: it is taken away"
    yield from _rules(kernel, wanted)
    if found.maps:
        yield from _elements(kernel)


def _rules(kernel: KernelTable, wanted: Table) -> Iterator[tuple[str, str]]:
    every = [rule for chain in kernel.chains.values() for rule in chain.rules]
    if every and not any(_DIGEST.match(rule.comment or "") for rule in every):
        yield "", "no rule has a digest: another version of nftlbc made them; all are replaced"
        return
    for name in ("prerouting", "output"):
        if name not in kernel.chains:
            yield name, f"chain {name} is missing"
    if "source" in kernel.chains and "postrouting" not in kernel.chains:
        yield "postrouting", "chain postrouting is missing"
    for chain in wanted.chains:
        there = kernel.chains.get(chain.name)
        if there is not None and not same_rules(there, chain):
            yield from _chain(there, chain)
    ends = [kernel.chains.get(name) for name in ("prerouting", "output")]
    if len({len(end.rules) for end in ends if end}) > 1:
        yield "output", "chains prerouting and output don't look into the same maps"


def _chain(there: KernelChain, wanted: Chain) -> Iterator[tuple[str, str]]:
    name = there.name
    foreign = sum(not _DIGEST.match(rule.comment or "") for rule in there.rules)
    if foreign:
        rules = "a rule that is" if foreign == 1 else f"{foreign} rules that are"
        yield name, f"chain {name} has {rules} not nftlbc's"
        return
    old = [rule.comment for rule in there.rules]
    new = [digest(rule) for rule in wanted.rules]
    if set(old) <= set(new) and (len(old) >= len(new) or name not in _GROWING):
        lacking = len(set(new) - set(old))
        what = f"lacks {lacking} of its rules" if lacking else "has its rules in disorder"
        yield name, f"chain {name} {what}"


def _elements(kernel: KernelTable) -> Iterator[tuple[str, str]]:
    marks: set[int] = set()
    pools: dict[int, str] = {}
    slots: dict[str, list[int]] = {}
    for name, each in kernel.maps.items():
        if each.contents is None:
            continue
        kind = name.partition("_")[0].rstrip("46")
        odd = 0
        for key, data in each.elements.items():
            if kind in ("services", "ranges"):
                odd += not _FARM.match(str(data))
            elif kind in ("backends", "addresses") and isinstance(data, Destination):
                odd += "/" not in data.name or not isinstance(key, int)
                if isinstance(key, int):
                    marks.add(key)
                    family = "6" if ":" in data.address else "4"
                    pools[key | OURS] = f"{data.name.partition('/')[0]}-{family}"
        if odd:
            yield name, f"map {name} has {odd} elements that nftlbc would not write"
    lost = 0
    for name, each in kernel.maps.items():
        if name.startswith("slots_") and each.contents is not None:
            for key, mark in each.elements.items():
                pool = pools.get(mark) if isinstance(mark, int) else None
                lost += pool is None
                if pool is not None and isinstance(key, int):
                    slots.setdefault(pool, []).append(key)
    if lost:
        yield "slots", f"{lost} slots lead to backends that are not there"
    torn = [pool for pool, some in slots.items() if max(some) - min(some) + 1 != len(some)]
    for pool in torn:
        yield pool[:-2], f"farm {pool[:-2]} lacks some of its slots"
    both = sum(mark & ~OURS in marks for mark in marks if mark & OURS)
    if both:
        yield "backends", f"{both} backends are there twice, up and down"
    yield from _ports(kernel)


def _ports(kernel: KernelTable) -> Iterator[tuple[str, str]]:
    for family in "46":
        both = [kernel.maps.get(f"{name}{family}") for name in ("own", "ports")]
        keys = [set(each.elements) for each in both if each and each.contents is not None]
        if len(keys) == 2 and keys[0] != keys[1]:
            yield f"ports{family}", f"sets own{family} and ports{family} differ"
