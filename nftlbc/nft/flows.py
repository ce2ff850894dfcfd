"""Connections one by one: those of some backends, and taking flows off the kernel's list.

A flow of UDP or SCTP goes where its entry says for as long as packets come; without the entry its
next packet is balanced anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from nftlbc.farms import Family
from nftlbc.nft import conntrack
from nftlbc.nft.netlink.connection import Connection
from nftlbc.nft.netlink.messages import (
    FAMILY,
    Malformed,
    attribute,
    attribute_list,
    attributes,
    number,
)
from nftlbc.table.model import BACKEND_BITS

_DELETE: Final = 1 << 8 | 2
_NESTED: Final = 0x8000
_ORIGINAL, _PROTOCOL, _MARK, _ID, _ZONE = 1, 4, 8, 12, 18
"""CTA_TUPLE_ORIG, CTA_PROTOINFO, ... of linux/netfilter/nfnetlink_conntrack.h."""
_FAMILIES: Final[dict[int, tuple[Family, int, int]]] = {2: (4, 1, 2), 10: (6, 3, 4)}
"""By AF_INET and AF_INET6: the family, and the attributes of its addresses."""
_BATCH: Final = 64
"""Requests at once: their answers fit into a socket's buffer."""
TCP: Final = 6
UDP: Final = 17


class Flow(NamedTuple):
    """A connection, or what the kernel takes for one of UDP or SCTP."""

    mark: int
    """Its backend's number, without REPLACE_SOURCE."""
    protocol: int
    state: int
    """Of TCP, as in linux/netfilter/nf_conntrack_tcp.h: 3 is ESTABLISHED; else 0."""
    family: Family
    client: bytes
    client_port: int
    listener: bytes
    listener_port: int
    known_as: bytes
    """What names it to the kernel."""


def of(marks: Collection[int]) -> list[Flow]:
    """All that the kernel lists of these backends, in this network namespace.

    marks: without REPLACE_SOURCE. Raises NftError where the kernel does not list them.
    """
    found = map(_flow, conntrack.entries(marks))
    return [each for each in found if each is not None]


def _flow(entry: bytes) -> Flow | None:
    parts = attributes(entry, FAMILY.size)
    mark = (number(parts.get(_MARK)) or 0) & BACKEND_BITS
    family = _FAMILIES.get(entry[0])
    if family is None or _ORIGINAL not in parts:
        return None
    ends = attributes(parts[_ORIGINAL])
    addresses, protocol = attributes(ends.get(1, b"")), attributes(ends.get(2, b""))
    state = 0
    for _, info in attribute_list(parts.get(_PROTOCOL, b"")):
        state = attributes(info).get(1, b"\0")[0]
    if protocol.get(1) != bytes([TCP]):
        state = 0
    version, source, target = family
    try:
        return Flow(
            mark,
            protocol[1][0],
            state,
            version,
            addresses[source],
            number(protocol.get(2)) or 0,
            addresses[target],
            number(protocol.get(3)) or 0,
            b"".join(
                attribute(kind | (_NESTED if kind == _ORIGINAL else 0), parts[kind])
                for kind in (_ORIGINAL, _ID, _ZONE)
                if kind in parts
            ),
        )
    except KeyError:
        raise Malformed("a connection without its addresses") from None


def forget(flows: Sequence[Flow]) -> int:
    """Takes flows off the kernel's list; how many were still there.

    A younger flow between the same ends has another number, and stays. Raises NftError where the
    kernel does not allow it.
    """
    done = 0
    families = {4: 2, 6: 10}
    with Connection() as kernel:
        for some in _batches(flows):
            asked = [(families[each.family], each.known_as) for each in some]
            done += kernel.done(_DELETE, asked)
    return done


def _batches(flows: Sequence[Flow]) -> Iterator[Sequence[Flow]]:
    for start in range(0, len(flows), _BATCH):
        yield flows[start : start + _BATCH]
