"""The elements of a map: from the kernel's dump to the model's keys and data."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final, NamedTuple

from nftlbc.farms import Milliseconds
from nftlbc.nft.netlink.datatypes import DataType, column, columns
from nftlbc.nft.netlink.layout import Layout, groups
from nftlbc.nft.netlink.messages import ATTRIBUTE, Malformed, text
from nftlbc.table.model import Destination, ElementData, ElementKey, Note

_LENGTH: Final = Struct("=H")
_NUMBERS: Final = {4: "!I", 8: "!Q"}
_GOTO, _JUMP = -4, -3
_VERDICTS: Final = {0: "drop", 1: "accept", -1: "continue", -5: "return"}
CATCH_ALL: Final = "*"
"""The key of the element that stands for all that are not there; no map of ours has one."""


class Counted(NamedTuple):
    packets: int
    bytes: int


class Lease(NamedTuple):
    """How long an element lives when it is not refreshed."""

    timeout: Milliseconds
    left: Milliseconds


@dataclass
class Contents:
    """The elements of a map or set, and what the kernel keeps beside them, by the same keys."""

    elements: dict[ElementKey, ElementData] = field(default_factory=dict)
    """As in ``model.Map.elements``. Addresses with a comment are a Destination of that name, in a
    set a comment is a Note;
    a verdict that is not a goto is its text, ``jump CHAIN`` or ``drop``."""
    comments: dict[ElementKey, str] = field(default_factory=dict)
    counters: dict[ElementKey, Counted] = field(default_factory=dict)
    leases: dict[ElementKey, Lease] = field(default_factory=dict)
    """Of elements that end; the others stay."""


class Shape(NamedTuple):
    """What of its declaration is needed to read a map's elements."""

    key: tuple[DataType, ...]
    data: tuple[DataType, ...] | None
    """None in sets and where the data are verdicts or objects."""
    interval: bool
    timeout: Milliseconds
    """Of elements that have none of their own; 0: they stay."""


def read_elements(shape: Shape, lists: Iterable[bytes]) -> tuple[Contents, int]:
    """The elements of the lists (the values of NFTA_SET_ELEM_LIST_ELEMENTS) of a dump, and how
    many the lists have, which is more where one of them is there twice."""
    contents = Contents()
    count = 0
    for length, chunks in _by_length(lists).items():
        for rows, layout in groups(b"".join(chunks), length):
            _add(contents, shape, rows, length, layout)
            count += len(rows) // length
    return contents, count


def _by_length(lists: Iterable[bytes]) -> dict[int, list[bytes]]:
    """The elements one after the other, for each length."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for rows in lists:
        if len(rows) < ATTRIBUTE.size:
            continue
        (length,) = _LENGTH.unpack_from(rows)
        if _all_of(length, rows):
            found[length].append(rows)
            continue
        start, end = 0, len(rows)
        while start < end:
            (length,) = _LENGTH.unpack_from(rows, start)
            if not ATTRIBUTE.size <= length <= end - start:
                raise Malformed(f"an element of {length} bytes in {end - start}")
            found[length].append(rows[start : start + length])
            start += length + 3 & ~3
    return found


def count_of(rows: bytes) -> int:
    """How many elements a list has."""
    if len(rows) < ATTRIBUTE.size:
        return 0
    length: int = _LENGTH.unpack_from(rows)[0]
    if _all_of(length, rows):
        return len(rows) // length
    return sum(len(some) for some in _by_length([rows]).values())


def _all_of(length: int, rows: bytes) -> bool:
    """Whether every element of the list is of that length, which is how most maps are."""
    if length < ATTRIBUTE.size or length % 4 or len(rows) % length:
        return False
    return all(each == length for each in column("=H", rows, 0, length))


def _add(contents: Contents, shape: Shape, rows: bytes, length: int, layout: Layout) -> None:
    """Adds elements that are all laid out alike."""
    where = layout.fields
    number = len(rows) // length

    def numbers(name: str) -> list[int]:
        start, size = where[name]
        if size not in _NUMBERS:
            raise Malformed(f"a number of {size} bytes")
        return column(_NUMBERS[size], rows, start, length)

    def texts(name: str) -> list[str]:
        start, size = where[name]
        return _decoded(column(f"={size}s", rows, start, length))

    keys = _keys(shape, rows, length, layout)
    comments = texts("comment") if "comment" in where else None
    data: Iterable[Any]
    if "code" in where:
        chains = texts("chain") if "chain" in where else [""] * number
        data = map(_verdict, numbers("code"), chains)
    elif "object" in where:
        data = texts("object")
    elif "data" in where and shape.data:
        data = _data(shape.data, columns(shape.data, rows, where["data"], length), comments)
    else:
        data = [None] * number if comments is None else map(Note, comments)
    contents.elements.update(zip(keys, data, strict=True))
    if comments is not None:
        contents.comments.update(zip(keys, comments, strict=True))
    if "packets" in where and "bytes" in where:
        counted = map(Counted, numbers("packets"), numbers("bytes"))
        contents.counters.update(zip(keys, counted, strict=True))
    if "expiration" in where:
        # The kernel names a timeout only where it is not the map's.
        timeouts = numbers("timeout") if "timeout" in where else [shape.timeout] * number
        leases = map(Lease, timeouts, numbers("expiration"))
        contents.leases.update(zip(keys, leases, strict=True))


def _decoded(column: list[bytes]) -> list[str]:
    """The same as text; all at once, which takes a fifth of the time."""
    found = b"\0".join(column).decode("utf-8", "replace").split("\0")
    return found if len(found) == len(column) else [text(each) for each in column]


def _keys(shape: Shape, rows: bytes, length: int, layout: Layout) -> list[Any]:
    if "key" not in layout.fields:
        return [CATCH_ALL] * (len(rows) // length)
    parts = columns(shape.key, rows, layout.fields["key"], length)
    if shape.interval:
        ends = columns(shape.key, rows, layout.fields.get("end", layout.fields["key"]), length)
        parts = [
            list(map(_interval if kind.name == "inet_service" else _one_or_interval, first, last))
            for kind, first, last in zip(shape.key, parts, ends, strict=True)
        ]
    return parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))


def _interval(first: Any, last: Any) -> Any:
    return first, last


def _one_or_interval(first: Any, last: Any) -> Any:
    return first if first == last else (first, last)


def _data(
    parts: tuple[DataType, ...], values: list[list[Any]], comments: list[str] | None
) -> Iterable[Any]:
    names = tuple(part.name for part in parts)
    if names in (("ipv4_addr", "inet_service"), ("ipv6_addr", "inet_service")):
        return map(Destination, *values, comments or [""] * len(values[0]))
    if comments is not None and names in (("ipv4_addr",), ("ipv6_addr",)):
        return map(Destination, values[0], [None] * len(values[0]), comments)
    return values[0] if len(values) == 1 else zip(*values, strict=True)


@functools.lru_cache(maxsize=1024)
def _verdict(code: int, chain: str) -> str:
    code = code - (1 << 32) if code >> 31 else code
    if code == _GOTO:
        return chain
    return f"jump {chain}" if code == _JUMP else _VERDICTS.get(code, f"verdict {code}")
