"""Our table as the kernel has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nftlbc.farms import Milliseconds
from nftlbc.nft.netlink import datatypes
from nftlbc.nft.netlink.elements import Contents, Counted, Lease
from nftlbc.table.model import ElementData, ElementKey, Map


@dataclass(frozen=True)
class KernelMap:
    """A named map, or a set where ``data`` is None."""

    name: str
    handle: int
    key: str
    """In nft's words, ``mark`` or ``classid . ipv4_addr``, whether declared with type or typeof;
    a type that no map of ours has as ``type NUMBER of LENGTH bytes``."""
    data: str | None
    """The same, or ``verdict``, or ``object``."""
    size: int | None
    flags: frozenset[str]
    """``constant``, ``dynamic``, ``interval``, ``timeout``."""
    counter: bool
    """Its elements count."""
    timeout: Milliseconds
    """Of elements that have none of their own; 0: they stay."""
    comment: str | None
    readable: bool
    """Its keys and data are of types that maps of ours have."""
    contents: Contents | None = None
    """None where they were not asked for, and in a map that is not readable."""
    count: int | None = None
    """How many elements it has, where the contents are a part of them."""

    @property
    def elements(self) -> Mapping[ElementKey, ElementData]:
        """As in ``model.Map.elements``. All four raise LookupError where they were not read."""
        return self._read.elements

    @property
    def comments(self) -> Mapping[ElementKey, str]:
        return self._read.comments

    @property
    def counters(self) -> Mapping[ElementKey, Counted]:
        return self._read.counters

    @property
    def leases(self) -> Mapping[ElementKey, Lease]:
        """Of the elements that end."""
        return self._read.leases

    @property
    def _read(self) -> Contents:
        if self.contents is None:
            raise LookupError(f"the elements of {self.name} were not read")
        return self.contents

    def declared_as(self, wanted: Map) -> bool:
        """Whether it is of the types, the size and the flags that a map shall have: nothing in
        the way of filling it with that map's elements. Its default timeout is not compared."""
        data = None if wanted.data is None else datatypes.declared(wanted.data)
        return (
            (self.name, self.key, self.data) == (wanted.name, datatypes.declared(wanted.key), data)
            and self.flags == frozenset(wanted.flags)
            and self.counter == wanted.counter
            and (wanted.size is None or self.size == wanted.size)
        )


class KernelHook(NamedTuple):
    """Where the kernel calls a base chain."""

    name: str
    priority: int
    type: str
    """``nat``, ``filter`` or ``route``."""
    accepts: bool
    """The policy."""


class KernelRule(NamedTuple):
    handle: int
    comment: str | None
    digest: bytes
    """16 bytes that tell whether two rules are the same instructions, on one kernel. What an
    anonymous set holds is part of it, its name is not, which differs from one loading to the
    next. nft 1.0.6 and 1.1 keep the values of some rules in different registers, and then the
    digests differ."""
    sticky: tuple[str, ...] = ()
    """The chains and maps of sticky clients that it names."""


@dataclass(frozen=True)
class KernelChain:
    name: str
    handle: int
    hook: KernelHook | None
    comment: str | None
    rules: tuple[KernelRule, ...] = ()
    """In the order in which they run."""


@dataclass(frozen=True)
class KernelTable:
    """table inet nftlbc, all of it at one moment (but for dynamic maps, which packets change
    while they are read)."""

    handle: int
    dormant: bool
    """Somebody switched it off: its chains are not called."""
    comment: str | None
    generation: int
    """Of the kernel's whole ruleset, when it was read."""
    maps: Mapping[str, KernelMap]
    """Maps and sets, without the anonymous ones of rules."""
    chains: Mapping[str, KernelChain]
    """Empty where they were not asked for."""
