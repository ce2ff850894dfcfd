"""Parts of our table, where reading all of it would take too long for what is asked.

The kernel hands out a map as a whole, or elements whose keys are known. Of 100 000 backends
handing out takes 0.3 s, and making values of them as long again; so those that are wanted are
picked out of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from struct import Struct
from typing import NamedTuple

from nftlbc.nft.netlink import parts
from nftlbc.nft.netlink.connection import Connection
from nftlbc.nft.netlink.datatypes import length_of
from nftlbc.nft.netlink.elements import Contents, Counted, count_of, read_elements
from nftlbc.nft.netlink.kernel_table import KernelChain, KernelMap, KernelTable
from nftlbc.nft.netlink.messages import (
    ATTRIBUTE,
    GET_CHAIN,
    GET_ELEMENTS,
    GET_RULE,
    GET_TABLE,
    NEW_CHAIN,
    NEW_ELEMENTS,
    NEW_RULE,
    NEW_TABLE,
    Malformed,
    attribute,
    attributes,
    comment,
    name_attribute,
    number,
)
from nftlbc.nft.netlink.parts import FoundSet
from nftlbc.nft.netlink.reading import OURS, SETS, at_once, elements_of, list_of, steadily
from nftlbc.table.model import ElementKey

_LONGEST = 127
"""Bytes of a chain's name."""
_ONE = Struct("=I")


class Part(NamedTuple):
    """Some elements of a map."""

    contents: Contents
    total: int | None = None
    """Of all its elements, where packets put them there."""


class Picking:
    """Our table at one moment. All methods raise NftError where the kernel refuses."""

    def __init__(self, kernel: Connection) -> None:
        self._kernel = kernel
        found = map(parts.set_of, kernel.dump(*SETS))
        self._sets = {each.name: each for each in found if not each.anonymous}

    @property
    def maps(self) -> Mapping[str, KernelMap]:
        """Their declarations."""
        return {name: each.map for name, each in self._sets.items()}

    def chain(self, name: str) -> tuple[KernelChain, list[range]] | None:
        """A chain with its rules, and the slots of which they choose; None: it is not there."""
        if not name.isascii() or len(name) > _LONGEST or "\0" in name:
            return None
        answer = self._kernel.get(GET_CHAIN, NEW_CHAIN, OURS + name_attribute(3, name))
        if answer is None:
            return None
        found = self._kernel.dump(GET_RULE, NEW_RULE, OURS + name_attribute(2, name))
        rules = tuple(parts.rule_of(each, {})[1] for each in found)
        slots = [some for each in found if (some := parts.slots_of(each)) is not None]
        return replace(parts.chain_of(answer)[1], rules=rules), slots

    def elements(
        self, map: str, keys: Iterable[tuple[int, ...]], *, until_gone: bool = False
    ) -> Part:
        """Those with these keys, of marks or classids; one at a time. Keys that are not there are
        passed over, or end it. In a map that has other keys there are none."""
        shape = self._set(map).shape
        if shape is None or shape.interval:
            return Part(Contents())
        lists = []
        for key in keys:
            packed = b"".join(_ONE.pack(part) for part in key)
            if len(packed) != length_of(shape.key):
                break
            element = attribute(3, attribute(1, attribute(1, attribute(1, packed))))
            asked = OURS + name_attribute(2, map) + element
            answer = self._kernel.get(GET_ELEMENTS, NEW_ELEMENTS, asked)
            if answer is not None:
                lists.append(list_of(answer))
            elif until_gone:
                break
        return Part(read_elements(shape, lists)[0])

    def picked(self, wanted: Mapping[str, Collection[bytes] | None]) -> dict[str, Part]:
        """Of each map the elements in whose bytes one of those stands; None: all elements.

        The bytes may also stand elsewhere in an element than was meant. Maps that are not
        readable are left away.
        """
        names = [name for name in wanted if self._set(name).shape is not None]
        dumps = at_once([elements_of(name) for name in names])
        parts = {}
        for name, dump in zip(names, dumps, strict=True):
            lists = [list_of(each) for each in dump]
            dynamic = "dynamic" in self._set(name).map.flags
            count = sum(map(count_of, lists)) if dynamic else None
            if (some := wanted[name]) is not None:
                lists = [rows for each in lists if (rows := _rows(each, some))]
            shape = self._set(name).shape
            assert shape is not None
            parts[name] = Part(read_elements(shape, lists)[0], count)
        return parts

    def _set(self, name: str) -> FoundSet:
        return self._sets[name]


def _rows(rows: bytes, wanted: Collection[bytes]) -> bytes:
    """The elements of a list in which one of those stands."""
    if not any(each in rows for each in wanted):
        return b""
    found = []
    start, end = 0, len(rows)
    while end - start >= ATTRIBUTE.size:
        length, _ = ATTRIBUTE.unpack_from(rows, start)
        if not ATTRIBUTE.size <= length <= end - start:
            raise Malformed(f"an element of {length} bytes in {end - start}")
        row = rows[start : start + (length + 3 & ~3)]
        if any(each in row for each in wanted):
            found.append(row)
        start += length + 3 & ~3
    return b"".join(found)


def pick(
    take: Callable[[Picking], tuple[Mapping[str, Part], Mapping[str, KernelChain]]],
) -> KernelTable | None:
    """Our table with those contents and chains alone, all of one moment; None: there is none.

    Raises NftError as ``read``.
    """

    def attempt(kernel: Connection, generation: int) -> KernelTable | None:
        answer = kernel.get(GET_TABLE, NEW_TABLE, OURS)
        if answer is None:
            return None
        found = attributes(answer)
        picking = Picking(kernel)
        some, chains = take(picking)
        return KernelTable(
            handle=number(found.get(4)) or 0,
            dormant=bool((number(found.get(2)) or 0) & 1),
            comment=comment(found.get(6)),
            generation=generation,
            maps={
                name: replace(each, contents=some[name].contents, count=some[name].total)
                if name in some
                else each
                for name, each in picking.maps.items()
            },
            chains=chains,
        )

    return steadily(attempt)


def counters(map: str, keys: Iterable[int]) -> list[tuple[ElementKey, Counted]]:
    """What elements of a map have counted until now; those that are not there are left away."""
    wanted = [(key,) for key in keys]
    found = pick(lambda picking: ({map: picking.elements(map, wanted)}, {}))
    return list(found.maps[map].counters.items()) if found and map in found.maps else []
