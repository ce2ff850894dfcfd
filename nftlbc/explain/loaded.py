"""A table as the kernel holds it once it is loaded: what can be found in it, and how quickly."""

from __future__ import annotations

import bisect
from typing import cast

from nftlbc.table.model import Chain, ElementData, ElementKey, Hook, KeyPart, Map, Table


class InterpreterError(Exception):
    """The table holds what the kernel would have refused, or what is not known here."""


class Loaded:
    def __init__(self, table: Table) -> None:
        self._table = table
        self._intervals: dict[str, _Intervals] = {}
        hooked = [(each.hook, each) for each in table.chains if each.hook is not None]
        self._hooked: list[tuple[Hook, Chain]] = sorted(
            ((hook, each) for hook, each in hooked if hook.type == "nat"),
            key=lambda each: each[0].priority,
        )

    def base_chains(self, hook: str) -> tuple[Chain, ...]:
        """Those that translate, in the order in which the kernel calls them."""
        return tuple(chain for its, chain in self._hooked if its.name == hook)

    def chain(self, name: str) -> Chain:
        try:
            return self._table.chain[name]
        except KeyError:
            raise InterpreterError(f"there is no chain {name}") from None

    def map(self, name: str) -> Map:
        try:
            return self._table.map[name]
        except KeyError:
            raise InterpreterError(f"there is no map {name}") from None

    def element(self, name: str, key: ElementKey) -> tuple[bool, ElementData]:
        """Whether a map or set that is not dynamic has the key, and what is there."""
        elements = self.map(name).elements
        if self.map(name).interval:
            intervals = self._intervals.get(name)
            if intervals is None:
                intervals = self._intervals[name] = _Intervals(self.map(name))
            return intervals.find(key)
        found = key in elements
        return found, elements[key] if found else None


class _Intervals:
    """The ranges of an interval map, by the parts of the key before the port and in order."""

    def __init__(self, map: Map) -> None:
        self._ranges: dict[tuple[KeyPart, ...], list[tuple[int, int, ElementData]]] = {}
        for key, data in map.elements.items():
            rest, port = _parts(key)
            if not isinstance(port, tuple):
                raise InterpreterError(f"{map.name}: {key!r} does not end in a range")
            self._ranges.setdefault(rest, []).append((*port, data))
        for ranges in self._ranges.values():
            ranges.sort(key=lambda each: each[0])

    def find(self, key: ElementKey) -> tuple[bool, ElementData]:
        rest, port = _parts(key)
        ranges = self._ranges.get(rest, [])
        at = bisect.bisect_right(ranges, cast(int, port), key=lambda each: each[0]) - 1
        if at >= 0 and cast(int, port) <= ranges[at][1]:
            return True, ranges[at][2]
        return False, None


def _parts(key: ElementKey) -> tuple[tuple[KeyPart, ...], KeyPart]:
    """All parts but the last, and the last."""
    if not isinstance(key, tuple) or len(key) < 2:
        raise InterpreterError(f"{key!r} is no key of an interval map")
    return tuple(key[:-1]), key[-1]
