"""How many connections are open to each backend, from the kernel's list of connections.

The kernel picks out those with our mark. Entries of one length are laid out alike, nearly always,
and are read by columns: a million takes about as long as the kernel takes to list them.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from nftlbc.nft.netlink.connection import Connection
from nftlbc.nft.netlink.datatypes import column
from nftlbc.nft.netlink.messages import (
    ATTRIBUTE,
    ATTRIBUTE_TYPE,
    DONE,
    ERROR,
    FAMILY,
    HEADER,
    Malformed,
    attribute,
)
from nftlbc.nft.program import NftError
from nftlbc.table.model import BACKEND_BITS, OURS

_NEW, _GET = 1 << 8 | 0, 1 << 8 | 1
_MARK, _MASK = 8, 21
_PATHS: Final = {(1, 2, 1): "protocol", (4, 1, 1): "state", (_MARK,): "mark"}
"""Where values stand: CTA_TUPLE_ORIG's protocol, the state of a TCP connection, the mark."""
_INSIDE: Final = {path[:n] for path in _PATHS for n in range(1, len(path))}
_TCP: Final = 6
OPEN: Final = frozenset({1, 2, 3})
"""SYN_SENT, SYN_RECV, ESTABLISHED. What is closing or closed stays listed for minutes."""
_WALK: Final = 4_000
"""Walking through the kernel's list takes as long (20 ms) as handing out so many entries: those
of a few backends are better asked for one by one where it is long."""
_Row = tuple[int, int, int]
"""Mark, protocol, state (0 for other than TCP)."""


@dataclass
class Open:
    """Open connections by their backends' numbers (marks without REPLACE_SOURCE)."""

    tcp: Counter[int] = field(default_factory=Counter)
    flows: Counter[int] = field(default_factory=Counter)
    """Of UDP and SCTP: those that the kernel has not forgotten yet."""
    closed: Counter[int] = field(default_factory=Counter)
    """TCP connections that are closing, or closed and not forgotten yet."""

    def of(self, marks: Iterable[int]) -> tuple[int, int]:
        """TCP connections and other flows of several backends together."""
        found = [(self.tcp[mark], self.flows[mark]) for mark in marks]
        return sum(tcp for tcp, _ in found), sum(flows for _, flows in found)


def count(marks: Iterable[int] | None = None) -> Open:
    """The open connections of this network namespace that are ours, or those to backends of
    these numbers.

    marks: without REPLACE_SOURCE. Raises NftError where the kernel does not list them, or not to
    this user.
    """
    found = Open()
    asked: list[int | None] = [None]
    if marks is not None and (wanted := set(marks)) and len(wanted) * _WALK < _listed():
        asked = list(wanted)
    for only in asked:
        rows: Counter[_Row] = Counter()
        with Connection() as kernel:
            for datagram in kernel.datagrams(_GET, picking(only), 0):
                if _take(datagram, rows):
                    break
        for (mark, protocol, state), number in rows.items():
            # A kernel that does not know the filter lists all.
            if mark & OURS and only in (None, mark & BACKEND_BITS):
                kind = found.flows
                if protocol == _TCP:
                    kind = found.tcp if state in OPEN else found.closed
                kind[mark & BACKEND_BITS] += number
    return found


def _listed() -> int:
    """How many connections the kernel lists, of everybody's."""
    try:
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    except (OSError, ValueError):
        return 0


def picking(only: int | None) -> bytes:
    """Attributes that make the kernel list our connections alone, or those of one backend."""
    value, mask = (OURS, OURS) if only is None else (only, BACKEND_BITS)
    return attribute(_MARK, value.to_bytes(4, "big")) + attribute(_MASK, mask.to_bytes(4, "big"))


def _take(datagram: bytes, rows: Counter[_Row]) -> bool:
    """Counts the entries of a datagram; True at the end of the dump."""
    ended = False
    for length, entries in _by_length(datagram).items():
        (kind,) = _KIND.unpack_from(entries, 4)
        if kind in (DONE, ERROR):
            (code,) = _CODE.unpack_from(entries, HEADER.size)
            if code:
                raise NftError("the kernel does not list its connections")
            ended = True
        elif kind == _NEW:
            for some, layout in _alike(entries, length):
                rows.update(_rows(some, layout, length))
    return ended


_LENGTH: Final = Struct("=I")
_KIND: Final = Struct("=H")
_CODE: Final = Struct("=i")


def _by_length(datagram: bytes) -> dict[int, bytes]:
    """The messages one after the other, for each length; what ends the dump is by itself."""
    (length,) = _LENGTH.unpack_from(datagram)
    if length >= HEADER.size and not length % 4 and not len(datagram) % length:
        lengths = set(column("=I", datagram, 0, length))
        kinds = set(column("=H", datagram, 4, length))
        if lengths == {length} and kinds == {_NEW}:
            return {length: datagram}
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    start, end = 0, len(datagram)
    while end - start >= HEADER.size:
        (length,) = _LENGTH.unpack_from(datagram, start)
        if not HEADER.size <= length <= end - start:
            raise Malformed(f"a message of {length} bytes in {end - start}")
        padded = length + 3 & ~3
        found[padded].append(datagram[start : start + padded].ljust(padded, b"\0"))
        start += padded
    return {length: b"".join(some) for length, some in found.items()}


class _Layout(NamedTuple):
    fields: dict[str, int]
    """The offsets of values."""
    headers: Struct
    """What has to be the same in entries that are laid out alike."""


def _alike(entries: bytes, length: int) -> Iterator[tuple[bytes, _Layout]]:
    """Entries of one length, put together by how they are laid out."""
    layout = _layout(entries[:length])
    headers = list(layout.headers.iter_unpack(entries))
    if headers.count(headers[0]) == len(headers):
        yield entries, layout
        return
    groups: defaultdict[tuple[bytes, ...], list[bytes]] = defaultdict(list)
    for header, (entry,) in zip(headers, Struct(f"{length}s").iter_unpack(entries), strict=True):
        groups[header].append(entry)
    for some in groups.values():
        yield from _alike(b"".join(some), length)


def _layout(entry: bytes) -> _Layout:
    fields: dict[str, int] = {}
    spans = [4]  # the kind of message
    _walk(entry, HEADER.size + FAMILY.size, len(entry), (), fields, spans)
    return _Layout(fields, _headers(tuple(spans), len(entry)))


def _walk(
    entry: bytes,
    start: int,
    end: int,
    path: tuple[int, ...],
    fields: dict[str, int],
    spans: list[int],
) -> None:
    while end - start >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(entry, start)
        if not ATTRIBUTE.size <= length <= end - start:
            break
        spans.append(start)
        here = (*path, kind & ATTRIBUTE_TYPE)
        if here in _PATHS:
            fields[_PATHS[here]] = start + ATTRIBUTE.size
        elif here in _INSIDE:
            _walk(entry, start + ATTRIBUTE.size, start + length, here, fields, spans)
        start += length + 3 & ~3


@functools.lru_cache(maxsize=256)
def _headers(spans: tuple[int, ...], length: int) -> Struct:
    parts, at = ["="], 0
    for start in spans:
        parts += [f"{start - at}x", "4s"]
        at = start + 4
    return Struct("".join([*parts, f"{length - at}x"]))


def _rows(entries: bytes, layout: _Layout, length: int) -> Iterable[_Row]:
    number = len(entries) // length
    columns = [
        column(format, entries, layout.fields[name], length)
        if name in layout.fields
        else [0] * number
        for name, format in (("mark", "!I"), ("protocol", "=B"), ("state", "=B"))
    ]
    return zip(*columns, strict=True)
