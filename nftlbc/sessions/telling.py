"""Sticky entries as a table for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, Final

from nftlbc.diagnostics import printable
from nftlbc.farms import KeyField
from nftlbc.sessions.entries import Group, Served, Sessions
from nftlbc.table.model import BACKEND_BITS, KeyPart
from nftlbc.times import left

_WIDTH: Final = 80
_HEAD: Final = ("farm", "client", "backend", "left")
_PARTS: Final[tuple[KeyField, ...]] = (
    "source-ip",
    "source-port",
    "destination-ip",
    "destination-port",
)

Row = tuple[str, str, str, str]


def lines(found: Sessions) -> Iterator[str]:
    """A line for each entry, with a head; none where there is nothing. At most 80 characters:
    long names are cut, and end in ``~``."""
    rows = [row for group in found.groups for row in _rows(group, found.backends)]
    if not rows:
        return
    farms, clients, backends, times = zip(_HEAD, *rows, strict=True)
    client, time = max(map(len, clients)), max(map(len, times))
    farm, backend = _fitting(
        max(map(len, set(farms))), max(map(len, set(backends))), _WIDTH - client - time - 6
    )
    cut = {text: _cut(text, farm) for text in set(farms)}
    cut_backends = {text: _cut(text, backend) for text in set(backends)}
    for one, two, three, four in zip(farms, clients, backends, times, strict=True):
        yield f"{cut[one]}  {two:{client}}  {cut_backends[three]}  {four:>{time}}"


def _fitting(first: int, second: int, room: int) -> tuple[int, int]:
    """The widths of two columns: the shorter one keeps its own where it can."""
    if first + second <= room:
        return first, second
    half = room // 2
    if first <= half:
        return first, room - first
    return (room - second, second) if second <= half else (half, room - half)


def _cut(text: str, width: int) -> str:
    return f"{text:{width}}" if len(text) <= width else f"{text[: width - 1]}~"


def _rows(group: Group, backends: Mapping[int, Served]) -> Iterable[Row]:
    names = {mark: _backend(group, mark, backends)[1] for mark in set(group.marks)}
    times = ("stays" if each is None else left(each) for each in group.left)
    named = (names[mark] for mark in group.marks)
    return zip(repeat(_farm(group), len(group)), _clients(group), named, times, strict=True)


def _farm(group: Group) -> str:
    """Its name; that of one that the table has no more, or its number, in parentheses."""
    if not group.gone:
        return group.farm or ""
    if group.farm is not None:
        return f"({printable(group.farm)})"
    return "(?)" if group.number is None else f"(0x{group.number:08x})"


def _backend(group: Group, mark: int, backends: Mapping[int, Served]) -> tuple[str | None, str]:
    """Its name, and the same as it is shown; with what keeps it from serving the client."""
    served = backends.get(mark & BACKEND_BITS)
    if served is None:
        return None, f"(0x{mark:08x})"
    name = printable(served.name)
    if served.farm != group.farm:
        return None, f"(of {printable(served.farm)}: {name})"
    if not group.used:
        return served.name, f"{name} (left over)"
    return served.name, name if served.live else f"{name} (down)"


def _clients(group: Group) -> Iterable[str]:
    """``198.51.100.7``, ``198.51.100.0/24``, ``198.51.100.7:40000 -> 203.0.113.10:80``,
    ``hashed 0x0000002a``."""
    if group.form.kind == "hashed":
        return [f"hashed 0x{key:08x}" for key in group.keys]
    if group.form.kind == "damaged":
        return [f"damaged: {printable(str(key))}"[:40] for key in group.keys]
    source = _ends(group, "source-ip", "source-port")
    target = _ends(group, "destination-ip", "destination-port")
    if target is None:
        return source or []
    if source is None:
        return (f"-> {to}" for to in target)
    return (f"{from_} -> {to}" for from_, to in zip(source, target, strict=True))


def _ends(group: Group, address: KeyField, port: KeyField) -> Iterable[str] | None:
    addresses, ports = group.part(address), group.part(port)
    if addresses is None:
        return None if ports is None else (f":{each}" for each in ports)
    network = f"/{group.bits[address]}" if address in group.bits else ""
    if ports is None:
        return (f"{each}{network}" for each in addresses) if network else map(str, addresses)
    begin, end = ("[", "]") if group.form.family == 6 else ("", "")
    pairs = zip(addresses, ports, strict=True)
    return (f"{begin}{each}{network}{end}:{its}" for each, its in pairs)


def as_json(found: Sessions) -> dict[str, Any]:
    """``{"sessions": [{"farm", "client", "backend", "mark", "left_ms", "state"}, ...]}``.

    ``state`` is ``known``, ``backend-down``, ``backend-unknown``, ``left-over`` (the farm no longer
    looks there), ``farm-gone`` or ``damaged``; all but the first two serve nobody.
    """
    return {
        "sessions": [each for group in found.groups for each in _records(group, found.backends)]
    }


def _records(group: Group, backends: Mapping[int, Served]) -> Iterator[dict[str, Any]]:
    about = {mark: _about(group, mark, backends) for mark in set(group.marks)}
    clients = _clients_json(group)
    for client, mark, time in zip(clients, group.marks, group.left, strict=True):
        backend, state = about[mark]
        yield {
            "farm": group.farm,
            "client": client,
            "backend": backend,
            "mark": mark,
            "left_ms": time,
            "state": state,
        }


def _about(group: Group, mark: int, backends: Mapping[int, Served]) -> tuple[str | None, str]:
    name, _ = _backend(group, mark, backends)
    served = backends.get(mark & BACKEND_BITS)
    if group.form.kind == "damaged":
        state = "damaged"
    elif group.gone:
        state = "farm-gone"
    elif not group.used:
        state = "left-over"
    elif name is None or served is None:
        state = "backend-unknown"
    else:
        state = "known" if served.live else "backend-down"
    return name, state


def _clients_json(group: Group) -> Iterable[dict[str, KeyPart]]:
    if group.form.kind != "plain":
        word = "hash" if group.form.kind == "hashed" else "key"
        return ({word: key if isinstance(key, int) else str(key)} for key in group.keys)
    columns: dict[str, Iterable[KeyPart]] = {}
    for field in _PARTS:
        column = group.part(field)
        if column is not None:
            bits = group.bits.get(field)
            columns[field] = column if bits is None else [f"{each}/{bits}" for each in column]
    names = tuple(columns)
    return (dict(zip(names, each, strict=True)) for each in zip(*columns.values(), strict=True))
