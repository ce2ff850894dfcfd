"""Netlink's bytes: messages, attributes and nft's user data.

The numbers are those of linux/netlink.h, linux/netfilter/nfnetlink.h and
linux/netfilter/nf_tables.h; what libnftnl keeps in user data is in its udata.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from nftlbc.nft.program import NftError

HEADER: Final = Struct("=IHHII")
"""Length with the header, type, flags, sequence number, port."""
FAMILY: Final = Struct("!BBH")
"""What begins each message of netfilter's: family, version, resource."""
ATTRIBUTE: Final = Struct("=HH")
"""Length with this header and without padding, type."""
ATTRIBUTE_TYPE: Final = 0x3FFF
"""The two bits above say that it nests, and its byte order."""

ERROR, DONE = 2, 3
REQUEST, ACK, DUMP, INTERRUPTED = 0x1, 0x4, 0x300, 0x10
BEGIN, END = 16, 17
"""Of a transaction."""

INET: Final = 1
NF_TABLES: Final = 10 << 8
NEW_TABLE, GET_TABLE = NF_TABLES | 0, NF_TABLES | 1
NEW_CHAIN, GET_CHAIN = NF_TABLES | 3, NF_TABLES | 4
NEW_RULE, GET_RULE = NF_TABLES | 6, NF_TABLES | 7
NEW_SET, GET_SET = NF_TABLES | 9, NF_TABLES | 10
NEW_ELEMENTS, GET_ELEMENTS = NF_TABLES | 12, NF_TABLES | 13
NEW_GENERATION, GET_GENERATION = NF_TABLES | 15, NF_TABLES | 16

OWNER: Final = 1
"""In messages of each kind, the attribute that names the table."""
COMMENT: Final = 0
"""The type of a comment in the user data of tables, chains, rules and elements."""


class Malformed(NftError):
    """The kernel's answer is not what its headers say; no kernel is known that sends such."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the kernel's answer can't be understood: {what}")


class Message(NamedTuple):
    kind: int
    flags: int
    sequence: int
    payload: bytes
    """What follows the header of netlink."""


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    start, end = 0, len(datagram)
    while end - start >= HEADER.size:
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram, start)
        if not HEADER.size <= length <= end - start:
            raise Malformed(f"a message of {length} bytes in {end - start}")
        yield Message(kind, flags, sequence, datagram[start + HEADER.size : start + length])
        start += length + 3 & ~3


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """The attributes from an offset on, by their type. Of one type, the last."""
    return dict(attribute_list(data, start))


def attribute_list(data: bytes, start: int = 0) -> list[tuple[int, bytes]]:
    """The attributes from an offset on, in their order."""
    found = []
    end = len(data)
    while end - start >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data, start)
        if not ATTRIBUTE.size <= length <= end - start:
            raise Malformed(f"an attribute of {length} bytes in {end - start}")
        found.append((kind & ATTRIBUTE_TYPE, data[start + ATTRIBUTE.size : start + length]))
        start += length + 3 & ~3
    return found


def attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def name_attribute(kind: int, name: str) -> bytes:
    return attribute(kind, name.encode() + b"\0")


def text(value: bytes) -> str:
    """A string, ended by a NUL."""
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")


def number(value: bytes | None) -> int | None:
    """A number of any width in network byte order; None where the attribute is missing."""
    return None if value is None else int.from_bytes(value, "big")


def comment(user_data: bytes | None, kind: int = COMMENT) -> str | None:
    """The comment in user data, which is a row of type, length and value."""
    data = user_data or b""
    start = 0
    while len(data) - start >= 2:
        length = data[start + 1]
        if data[start] == kind:
            return text(data[start + 2 : start + 2 + length])
        start += 2 + length
    return None
