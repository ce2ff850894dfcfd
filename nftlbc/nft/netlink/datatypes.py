"""The types of keys and data: their numbers, and columns of bytes as the model's values.

The kernel knows nothing of types; nft hands it their numbers to keep, six bits for each part of
a concatenation. In a concatenation each part begins at a multiple of four bytes.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address
from struct import Struct
from typing import Any, Final, NamedTuple

from nftlbc.nft.netlink.messages import Malformed

_BITS: Final = 6
VERDICT: Final = 0xFFFF_FF00

_PROTOCOLS: Final = {6: "tcp", 17: "udp", 132: "sctp"}


def _protocols(column: Iterable[int]) -> list[str | int]:
    return [_PROTOCOLS.get(number, number) for number in column]


def _addresses4(column: Iterable[bytes]) -> list[str]:
    return list(map(socket.inet_ntoa, column))


def _addresses6(column: Iterable[bytes]) -> list[str]:
    return list(map(_address6, column))


def _address6(address: bytes) -> str:
    """Canonical text. ``inet_ntop`` takes a sixth of ipaddress's time, but ends addresses that
    begin with 80 zeros as if they were IPv4 ones."""
    if address.startswith(bytes(10)):
        return str(IPv6Address(address))
    return socket.inet_ntop(socket.AF_INET6, address)


class DataType(NamedTuple):
    """How values of a type stand in memory."""

    name: str
    """As nft calls it."""
    length: int
    """Bytes, without padding."""
    format: str
    """For struct, with the byte order."""
    values: Callable[[Iterable[Any]], list[Any]] = list


_TYPES: Final = {
    7: DataType("ipv4_addr", 4, "=4s", _addresses4),
    8: DataType("ipv6_addr", 16, "=16s", _addresses6),
    12: DataType("inet_proto", 1, "=B", _protocols),
    13: DataType("inet_service", 2, "!H"),
    19: DataType("mark", 4, "=I"),
    23: DataType("classid", 4, "=I"),
}

_DECLARED: Final = {
    "ct mark": "mark",
    "meta priority": "classid",
    "meta l4proto": "inet_proto",
    "th sport": "inet_service",
    "th dport": "inet_service",
    "ip saddr": "ipv4_addr",
    "ip daddr": "ipv4_addr",
    "ip6 saddr": "ipv6_addr",
    "ip6 daddr": "ipv6_addr",
}


@functools.cache
def known(number: int, length: int) -> tuple[DataType, ...] | None:
    """The parts of a type; None where it is none that our tables have.

    length: bytes in all.
    """
    parts: list[DataType] = []
    while number:
        part = _TYPES.get(number & (1 << _BITS) - 1)
        if part is None:
            return None
        parts.insert(0, part)
        number >>= _BITS
    return tuple(parts) if parts and length == length_of(parts) else None


def length_of(parts: Sequence[DataType]) -> int:
    """Bytes of a key or of data; parts of a concatenation are padded, the last one too."""
    if len(parts) == 1:
        return parts[0].length
    return sum(_padded(part.length) for part in parts)


def name(number: int, length: int) -> str:
    """A type in nft's words, ``ipv4_addr . inet_service``; an unknown one as its number."""
    if number == VERDICT:
        return "verdict"
    parts = known(number, length)
    if parts is None:
        return f"type {number} of {length} bytes"
    return " . ".join(part.name for part in parts)


@functools.cache
def declared(text: str) -> str:
    """The same for the words of a Map, which may be ``type`` or ``typeof``."""
    words = text.removeprefix("typeof ").removeprefix("type ")
    return " . ".join(_DECLARED.get(word, word) for word in words.split(" . "))


def _padded(length: int) -> int:
    return length + 3 & ~3


def columns(
    parts: tuple[DataType, ...], rows: bytes, where: tuple[int, int], stride: int
) -> list[list[Any]]:
    """The values at a place (offset and length) in each row, a column for each part."""
    start, length = where
    if length != length_of(parts):
        raise Malformed(f"a value of {length} bytes, and not {length_of(parts)}")
    found = []
    for part in parts:
        found.append(part.values(column(part.format, rows, start, stride)))
        start += _padded(part.length)
    return found


def column(format: str, rows: bytes, start: int, stride: int) -> list[Any]:
    """One value of each row, at an offset in it."""
    return [value for (value,) in _row(format, start, stride).iter_unpack(rows)]


@functools.lru_cache(maxsize=1024)
def _row(format: str, start: int, stride: int) -> Struct:
    order, one = format[0], format[1:]
    rest = stride - start - Struct(format).size
    return Struct(f"{order}{start}x{one}{rest}x")
