"""The elements of a map as nft reads them, a line each.

A map is written by columns (all first parts of its keys, all second parts, ...), which takes
a third of the time of one element after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from nftlbc.nft import words
from nftlbc.nft.words import ADDRESS_CHARACTERS, Unwritable, plain
from nftlbc.table.model import Destination, ElementData, ElementKey, Elements, Map, Note

Column = Callable[[Sequence[Any]], list[str]]


def element_lines(each: Map, elements: Elements) -> list[str]:
    """Each element of a map or set: ``KEY : DATA``, ``KEY comment "NAME" : DATA``,
    ``KEY comment "NOTE"`` or ``KEY``."""
    keys = key_texts(each, list(elements))
    if each.leased:
        return [f"{text}{_lease(each, key)}" for text, key in zip(keys, elements, strict=True)]
    if each.data is None:
        return [_noted(key, data) for key, data in zip(keys, elements.values(), strict=True)]
    data: list[Any] = list(elements.values())
    if data and isinstance(data[0], Destination):
        written = _destinations(each, data)
    else:
        written = _DATA[each.data](data)
    return [f"{key} {text}" for key, text in zip(keys, written, strict=True)]


def _lease(each: Map, key: ElementKey) -> str:
    return f" timeout {words.time(each.leased[key])}" if key in each.leased else ""


def _noted(key: str, data: ElementData) -> str:
    return f'{key} comment "{words.note(data.text)}"' if isinstance(data, Note) else key


def key_texts(each: Map, keys: Sequence[Any]) -> list[str]:
    """The keys alone, which is all that deleting takes."""
    parts = each.key.split(" ", 1)[1].split(" . ")
    if len(parts) == 1:
        # A map from mark to mark holds slots, which are numbers to count with.
        slots = each.data == parts[0]
        return _decimals(keys) if slots else _PARTS[parts[0]](keys)
    columns = list(zip(*keys, strict=True))
    if keys and len(columns) != len(parts):
        raise Unwritable(f"{each.name} has keys of {len(columns)} parts")
    written = [_PARTS[part](column) for part, column in zip(parts, columns, strict=False)]
    return [" . ".join(key) for key in zip(*written, strict=True)]


def _destinations(each: Map, data: Sequence[Destination]) -> list[str]:
    plain([destination.name for destination in data])
    plain([destination.address for destination in data], ADDRESS_CHARACTERS)
    if each.data is not None and each.data.endswith(" . inet_service"):
        return [f'comment "{name}" : {address} . {port:d}' for address, port, name in data]
    return [f'comment "{name}" : {address}' for address, _, name in data]


def _marks(column: Sequence[int]) -> list[str]:
    return [f"0x{mark:08x}" for mark in column]


def _decimals(column: Sequence[int]) -> list[str]:
    return [f"{number:d}" for number in column]


def _ports(column: Sequence[int | tuple[int, int]]) -> list[str]:
    return [
        f"{p:d}" if isinstance(p, int) else f"{p[0]:d}" if p[0] == p[1] else f"{p[0]:d}-{p[1]:d}"
        for p in column
    ]


def _priorities(column: Sequence[int]) -> list[str]:
    return list(map(words.priority, column))


def _addresses(column: Sequence[str]) -> list[str]:
    plain(column, ADDRESS_CHARACTERS)
    return list(column)


def _names(column: Sequence[str]) -> list[str]:
    plain(column)
    return list(column)


_PARTS: Final[dict[str, Column]] = {
    "mark": _marks,
    "ct mark": _marks,
    "meta priority": _priorities,
    "ipv4_addr": _addresses,
    "ipv6_addr": _addresses,
    "ip saddr": _addresses,
    "ip daddr": _addresses,
    "ip6 saddr": _addresses,
    "ip6 daddr": _addresses,
    "inet_proto": _names,
    "meta l4proto": _names,
    "inet_service": _ports,
    "th sport": _ports,
    "th dport": _ports,
}


def _data(prefix: str, column: Column) -> Column:
    return lambda values: [f"{prefix}{text}" for text in column(values)]


_DATA: Final[dict[str, Column]] = {
    **{part: _data(": ", column) for part, column in _PARTS.items()},
    "verdict": _data(": goto ", _names),
}
