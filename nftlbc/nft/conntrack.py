"""How many connections are open to each backend, and which, from the kernel's list of connections.

The kernel picks out those with our mark. Entries of one length are laid out alike, nearly always,
and are counted without a look at each: a million takes little longer than the kernel takes to list
them, which is two thirds of it; in two halves at once where there are two processors.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from nftlbc.nft.netlink.connection import Connection
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
SYN_SENT: Final = 1
OPEN: Final = frozenset({SYN_SENT, 2, 3})
"""SYN_SENT, SYN_RECV, ESTABLISHED. What is closing or closed stays listed for minutes."""
_WALK: Final = 4_000
"""Walking through the kernel's list takes as long (20 ms) as handing out so many entries: those
of a few backends are better asked for one by one where it is long."""
_LONG: Final = 20_000
"""A list of so many is read in two halves at once."""
_Row = tuple[int, int, int]
"""Mark, protocol, state (0 for other than TCP)."""


class _Kind(NamedTuple):
    protocol: int
    names: tuple[str, ...]
    """Of what is counted, ``state`` and ``mark``, as they stand in an entry."""


_Tally = defaultdict[_Kind, Counter[tuple[int, ...]]]


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
    found, listed = Open(), _listed()
    asked = _parts(frozenset(marks or ()), listed)
    if asked == [_ALL] and listed > _LONG:
        asked = [_Part(OURS | half, OURS | 1) for half in (0, 1)]
    for rows in _side_by_side(asked) if listed > _LONG else map(_listing, asked):
        for (mark, protocol, state), number in rows.items():
            kind = found.flows
            if protocol == _TCP:
                kind = found.tcp if state in OPEN else found.closed
            kind[mark & BACKEND_BITS] += number
    return found


def entries(marks: Collection[int]) -> list[bytes]:
    """What the kernel lists of these backends, each entry as attributes behind ``FAMILY``.

    marks: without REPLACE_SOURCE. Raises NftError as ``count``.
    """
    wanted, found = frozenset(marks), list[bytes]()

    def take(layout: _Layout, alike: bytes) -> None:
        names = layout.kind.names
        if "mark" not in names:
            return
        at, length = names.index("mark"), len(layout.mask)
        meant = [row[at] & BACKEND_BITS in wanted for row in layout.columns.iter_unpack(alike)]
        if any(meant):
            behind = Struct(f"{HEADER.size}x{length - HEADER.size}s").iter_unpack(alike)
            found.extend(entry for (entry,) in itertools.compress(behind, meant))

    for part in _parts(wanted, _listed()) if wanted else ():
        _dump(part, take)
    return found


class _Part(NamedTuple):
    """Connections whose marks have this value in these bits."""

    value: int
    mask: int


_ALL: Final = _Part(OURS, OURS)


def _parts(marks: Collection[int], listed: int) -> list[_Part]:
    """What the kernel is asked for: each of these backends by itself, or all that is ours."""
    if len(marks) == 1 or (marks and len(marks) * _WALK < listed):
        return [_Part(mark, BACKEND_BITS) for mark in marks]
    return [_ALL]


def _side_by_side(asked: Iterable[_Part]) -> Iterable[Counter[_Row]]:
    """While the kernel works on one list, another one is read."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(_listing, asked))


def _listing(part: _Part) -> Counter[_Row]:
    tally: _Tally = defaultdict(Counter)
    _dump(part, lambda layout, alike: _count(tally, layout, alike))
    # A kernel that does not know the filter lists all.
    return Counter(
        {
            row: number
            for row, number in _rows(tally).items()
            if row[0] & OURS and row[0] & part.mask == part.value
        }
    )


def _listed() -> int:
    """How many connections the kernel lists, of everybody's."""
    try:
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    except (OSError, ValueError):
        return 0


def _picking(part: _Part) -> bytes:
    return attribute(_MARK, part.value.to_bytes(4, "big")) + attribute(
        _MASK, part.mask.to_bytes(4, "big")
    )


def _dump(part: _Part, take: _Take) -> None:
    with Connection() as kernel:
        for datagram in kernel.datagrams(_GET, _picking(part), 0):
            if _read(datagram, take):
                return


def _read(datagram: bytes, take: _Take) -> bool:
    """Hands over the entries of a datagram, those together that are laid out alike; True at the
    end of the dump."""
    ended = False
    for length, entries in _by_length(datagram).items():
        (kind,) = _KIND.unpack_from(entries, 4)
        if kind in (DONE, ERROR):
            (code,) = _CODE.unpack_from(entries, HEADER.size)
            if code:
                raise NftError("the kernel does not list its connections")
            ended = True
        elif kind == _NEW:
            for layout, alike in _alike(entries, length):
                take(layout, alike)
    return ended


_LENGTH: Final = Struct("=I")
_KIND: Final = Struct("=H")
_CODE: Final = Struct("=i")


def _by_length(datagram: bytes) -> dict[int, bytes]:
    """The messages one after the other, for each length; what ends the dump is by itself."""
    found: defaultdict[int, list[bytes]] = defaultdict(list)
    start, end = 0, len(datagram)
    length_at = _LENGTH.unpack_from
    while end - start >= HEADER.size:
        (length,) = length_at(datagram, start)
        if not HEADER.size <= length <= end - start:
            raise Malformed(f"a message of {length} bytes in {end - start}")
        if length & 3:
            padded = length + 3 & ~3
            found[padded].append(datagram[start : start + padded].ljust(padded, b"\0"))
            start += padded
        else:
            found[length].append(datagram[start : start + length])
            start += length
    return {length: b"".join(some) for length, some in found.items()}


class _Layout(NamedTuple):
    """How entries are laid out, by one of them."""

    mask: bytes
    """The bytes that have to be the same in all: headers, and the protocol."""
    same: bytes
    columns: Struct
    kind: _Kind

    def fits(self, entries: bytes) -> bool:
        """Bytes are compared as one large number: many entries cost little more than one."""
        mask, same = _repeated(self.mask, self.same, len(entries) // len(self.mask))
        return int.from_bytes(entries, "little") & mask == same


@functools.lru_cache(maxsize=128)
def _repeated(mask: bytes, same: bytes, number: int) -> tuple[int, int]:
    return int.from_bytes(mask * number, "little"), int.from_bytes(same * number, "little")


_Take = Callable[[_Layout, bytes], None]
_last: Final[dict[int, _Layout]] = {}
"""By their length, how entries were laid out last."""


def _alike(entries: bytes, length: int) -> Iterator[tuple[_Layout, bytes]]:
    """Entries of one length, those together that are laid out alike."""
    layout = _last.get(length)
    while layout is None or not layout.fits(entries):
        layout = _last[length] = _layout(entries[:length])
        if not layout.fits(entries):
            several = [entry for (entry,) in Struct(f"{length}s").iter_unpack(entries)]
            fits = [layout.fits(entry) for entry in several]
            yield layout, b"".join(itertools.compress(several, fits))
            entries = b"".join(entry for entry, does in zip(several, fits, strict=True) if not does)
    yield layout, entries


def _count(tally: _Tally, layout: _Layout, alike: bytes) -> None:
    tally[layout.kind].update(layout.columns.iter_unpack(alike))


def _rows(tally: _Tally) -> Counter[_Row]:
    rows: Counter[_Row] = Counter()
    for (protocol, names), counted in tally.items():
        for values, number in counted.items():
            row = dict(zip(names, values, strict=True))
            rows[row.get("mark", 0), protocol, row.get("state", 0)] += number
    return rows


def _layout(entry: bytes) -> _Layout:
    fields: dict[str, int] = {}
    spans = [(0, 6)]  # the length, and the kind of message
    _walk(entry, HEADER.size + FAMILY.size, len(entry), (), fields, spans)
    where = fields.pop("protocol", None)
    if where is not None:
        spans.append((where, 1))
    mask = bytearray(len(entry))
    for start, size in spans:
        mask[start : start + size] = b"\xff" * size
    names = tuple(sorted(fields, key=fields.__getitem__))
    format, at = "!", 0
    for name in names:
        code, size = ("I", 4) if name == "mark" else ("B", 1)
        format += f"{fields[name] - at}x{code}"
        at = fields[name] + size
    return _Layout(
        bytes(mask),
        bytes(a & b for a, b in zip(entry, mask, strict=True)),
        Struct(f"{format}{len(entry) - at}x"),
        _Kind(entry[where] if where is not None else 0, names),
    )


def _walk(
    entry: bytes,
    start: int,
    end: int,
    path: tuple[int, ...],
    fields: dict[str, int],
    spans: list[tuple[int, int]],
) -> None:
    while end - start >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(entry, start)
        if not ATTRIBUTE.size <= length <= end - start:
            break
        spans.append((start, ATTRIBUTE.size))
        here = (*path, kind & ATTRIBUTE_TYPE)
        if here in _PATHS:
            fields[_PATHS[here]] = start + ATTRIBUTE.size
        elif here in _INSIDE:
            _walk(entry, start + ATTRIBUTE.size, start + length, here, fields, spans)
        start += length + 3 & ~3
