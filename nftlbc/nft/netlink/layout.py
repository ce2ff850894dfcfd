"""How the attributes of a map's elements stand in memory.

The kernel writes all elements of a map alike, but for texts of different lengths. So elements of
one length are compared with the headers of one of them, all at once, and their values are then
read by columns. What differs is put into groups that don't: there is one way of reading.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final

from nftlbc.nft.netlink.messages import ATTRIBUTE, ATTRIBUTE_TYPE, COMMENT, Malformed

Field = str
Span = tuple[int, int]
"""Offset and length."""

_ELEMENT: Final = {
    1: "key",
    2: "data",
    3: "flags",
    4: "timeout",
    5: "expiration",
    6: "userdata",
    7: "expression",
    9: "object",
    10: "end",
    11: "expressions",
}
_VALUE: Final = {1: "value"}
_NESTS: Final[Mapping[str, Mapping[int, str]]] = {
    "list": {1: "element"},
    "element": _ELEMENT,
    "key": _VALUE,
    "end": _VALUE,
    "data": {1: "value", 2: "verdict"},
    "verdict": {1: "code", 2: "chain"},
    "expressions": {1: "expression"},
    "expression": {1: "name", 2: "counter"},
    "counter": {1: "bytes", 2: "packets"},
}
"""The attributes in which others stand, by their path's last part, and the names of those.
Only a counter is looked into among expressions."""
_TEXTS: Final = ("chain", "object")
"""Ended by a NUL, which is left away."""


@dataclass(frozen=True)
class Layout:
    fields: Mapping[Field, Span]
    """Where values are: ``key``, ``end``, ``data``, ``code``, ``chain``, ``flags``, ``timeout``,
    ``expiration``, ``bytes``, ``packets``, ``object``, ``comment``; those that there are.
    Texts are without the NUL at their end."""
    fixed: Struct
    """The headers, and all else that has to be the same in each element."""


def groups(rows: bytes, length: int) -> Iterator[tuple[bytes, Layout]]:
    """Elements of one length, put together by how they are laid out."""
    layout = layout_of(rows[:length])
    headers = list(layout.fixed.iter_unpack(rows))
    if headers.count(headers[0]) == len(headers):
        yield rows, layout
        return
    alike: dict[tuple[bytes, ...], list[bytes]] = defaultdict(list)
    each = Struct(f"{length}s").iter_unpack(rows)
    for header, (row,) in zip(headers, each, strict=True):
        alike[header].append(row)
    for some in alike.values():
        # These are alike where the first element of all has its headers, which need not be
        # where the first of these has them.
        yield from groups(b"".join(some), length)


def layout_of(element: bytes) -> Layout:
    """The layout of one element, from the header around it on."""
    walk = _Walk(element)
    walk.attributes(0, len(element), "list")
    return Layout(walk.fields, _fixed(tuple(walk.fixed), len(element)))


class _Walk:
    def __init__(self, element: bytes) -> None:
        self.element = element
        self.fields: dict[Field, Span] = {}
        self.fixed: list[Span] = []
        self._counts = False
        """The expression that is walked is a counter."""

    def attributes(self, start: int, end: int, inside: str) -> None:
        while end - start >= ATTRIBUTE.size:
            length, kind = ATTRIBUTE.unpack_from(self.element, start)
            if not ATTRIBUTE.size <= length <= end - start:
                raise Malformed(f"an attribute of {length} bytes in {end - start}")
            self.fixed.append((start, ATTRIBUTE.size))
            name = _NESTS[inside].get(kind & ATTRIBUTE_TYPE, "")
            self._value(name, inside, start + ATTRIBUTE.size, start + length)
            start += length + 3 & ~3

    def _value(self, name: str, inside: str, start: int, end: int) -> None:
        if name == "userdata":
            self._user_data(start, end)
        elif name == "name":
            self.fixed.append((start, end - start))
            self._counts = self.element[start:end] == b"counter\0"
        elif name == "counter" and not self._counts:
            pass
        elif name in _NESTS:
            self.attributes(start, end, name)
        elif name == "value":
            self.fields[inside] = (start, end - start)
        elif name in _TEXTS:
            self.fields[name] = (start, end - start - 1)
        elif name:
            self.fields[name] = (start, end - start)

    def _user_data(self, start: int, end: int) -> None:
        while end - start >= 2:
            kind, length = self.element[start : start + 2]
            self.fixed.append((start, 2))
            start += 2
            if kind == COMMENT and 0 < length <= end - start:
                self.fields.setdefault("comment", (start, length - 1))
            start += length


@functools.lru_cache(maxsize=1024)
def _fixed(spans: tuple[Span, ...], length: int) -> Struct:
    """Takes those spans out of an element, those that touch as one."""
    parts = []
    at = 0
    for start, size in spans:
        if start != at:
            parts += [f"{start - at}x", f"{size}s"]
        elif parts:
            parts[-1] = f"{int(parts[-1][:-1]) + size}s"
        else:
            parts.append(f"{size}s")
        at = start + size
    return Struct(f"={''.join(parts)}{length - at}x")
