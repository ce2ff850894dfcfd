"""Whether a packet that is only partly known matches: yes, no, or maybe.

Reads the expressions of nft's JSON. What is not known here is a maybe, so that nothing is
claimed for sure that depends on it.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from nftlbc.doctor.foreign.packet import (
    ALL,
    NOTHING,
    Between,
    Bits,
    Flags,
    Nothing,
    Outside,
    Packet,
    Value,
)

Sets = Mapping[str, tuple[Any, ...]]

_TRANSPORTS: Final = ("tcp", "udp", "sctp", "th", "dccp", "udplite")
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp", 136: "udplite"}
_MOST_ELEMENTS: Final = 4096
"""Elements of one set that are looked at; what lies beyond is a maybe."""


class Truth(enum.Enum):
    NO = 0
    MAYBE = 1
    YES = 2


def negate(truth: Truth) -> Truth:
    return Truth(2 - truth.value)


def any_of(truths: Iterable[Truth]) -> Truth:
    return max(truths, key=lambda truth: truth.value, default=Truth.NO)


def all_of(truths: Iterable[Truth]) -> Truth:
    return min(truths, key=lambda truth: truth.value, default=Truth.YES)


def matches(match: Any, packet: Packet, sets: Sets) -> Truth:
    """A ``match`` of nft's JSON: ``{"op": "==", "left": ..., "right": ...}``."""
    try:
        left, right, op = match["left"], match["right"], match.get("op", "==")
        value = value_of(left, packet)
        if isinstance(value, Nothing):
            return Truth.NO
        if op in ("==", "in"):
            return equals(value, right, sets)
        if op in ("!=", "!"):
            return negate(equals(value, right, sets))
        if op in ("<", ">", "<=", ">="):
            return _compare(value, op, right)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        pass
    return Truth.MAYBE


def value_of(expression: Any, packet: Packet) -> Value | Sequence[Value | None] | None:
    """What an expression is for the packet; None: unknown."""
    if not isinstance(expression, dict) or len(expression) != 1:
        return None
    ((kind, body),) = expression.items()
    if kind == "concat":
        parts = [value_of(part, packet) for part in body]
        if any(isinstance(part, Nothing) for part in parts):
            return NOTHING
        return [None if isinstance(part, list) else part for part in parts]  # type: ignore[misc]
    if kind in ("&", "|"):
        return _masked(kind, body, packet)
    name = _field(kind, body, packet)
    if isinstance(name, Nothing):
        return NOTHING
    return None if name is None else packet.get(name)


def _field(kind: str, body: Any, packet: Packet) -> str | Nothing | None:
    """The name of the packet's field that an expression reads."""
    if kind == "payload" and "field" in body:
        return _payload(str(body.get("protocol")), str(body["field"]), packet)
    if kind == "meta":
        key = str(body["key"])
        return {"iif": "iifname", "oif": "oifname", "mark": "meta mark"}.get(key, key)
    if kind == "ct":
        direction = body.get("dir")
        return f"ct {direction} {body['key']}" if direction else f"ct {body['key']}"
    if kind == "fib" and body.get("result") == "type" and body.get("flags") in (["daddr"], "daddr"):
        return "fib daddr type"
    return None


def _payload(protocol: str, field: str, packet: Packet) -> str | Nothing | None:
    if protocol in _TRANSPORTS:
        transport = packet.get("l4proto")
        if protocol != "th" and transport is not None and transport != protocol:
            return NOTHING
        return f"th {field}" if protocol == "th" or transport == protocol else None
    if (protocol, field) in (("ip", "protocol"), ("ip6", "nexthdr")):
        missing = isinstance(packet.get(f"{protocol} daddr"), Nothing)
        return NOTHING if missing else "l4proto"
    if protocol in ("icmp", "icmpv6") and packet.get("l4proto") in ("tcp", "udp", "sctp"):
        return NOTHING
    return f"{protocol} {field}"


def _masked(kind: str, body: Any, packet: Packet) -> Value | None:
    left, mask = value_of(body[0], packet), body[1]
    if isinstance(left, Nothing):
        return left
    if isinstance(left, Flags) and kind == "&":
        wanted = frozenset(_names(mask))
        unsure = left.others and not wanted <= left.names
        return Flags(left.names & wanted, unsure)
    if isinstance(left, int):
        left = Bits(left)
    if not isinstance(left, Bits) or not isinstance(mask, int):
        return None
    if kind == "&":
        return Bits(left.value & mask, left.known | (~mask & ALL))
    return Bits(left.value | mask, left.known | mask)


def equals(value: Any, right: Any, sets: Sets) -> Truth:
    """Whether a known value is, or is among, what stands at the right of a match."""
    if value is None:
        return Truth.MAYBE
    if isinstance(right, str) and right.startswith("@"):
        elements = sets.get(right[1:])
        return Truth.MAYBE if elements is None else _among(value, elements)
    if isinstance(right, dict) and "set" in right:
        elements = right["set"]
        return _among(value, elements if isinstance(elements, list) else [elements])
    if isinstance(value, Flags):
        return _flags(value, right)
    return equal(value, right)


def _among(value: Any, elements: Sequence[Any]) -> Truth:
    found = any_of(element_is(value, each) for each in elements[:_MOST_ELEMENTS])
    if found is Truth.NO and len(elements) > _MOST_ELEMENTS:
        return Truth.MAYBE
    return found


def element_is(value: Any, element: Any) -> Truth:
    """Whether an element of a set, or the key of a map's, is the value."""
    if isinstance(element, dict) and "elem" in element:
        element = element["elem"]["val"]
    if isinstance(value, Flags):
        return _flags(value, element)
    if isinstance(element, dict) and "concat" in element:
        parts = element["concat"]
        if not isinstance(value, list) or len(parts) != len(value):
            return Truth.MAYBE
        return all_of(
            Truth.MAYBE if one is None else element_is(one, part)
            for one, part in zip(value, parts, strict=True)
        )
    return equal(value, element)


def equal(value: Any, right: Any) -> Truth:
    """A scalar value against a scalar, a prefix or a range."""
    if right == "*":  # the element that catches what is not there
        return Truth.MAYBE
    if isinstance(value, int):
        value = Bits(value)
    if isinstance(value, Bits):
        return _number(value, right)
    if isinstance(value, Outside):
        return _outside(value, right)
    if isinstance(value, Between):
        return _between(value, right)
    if not isinstance(value, str):
        return Truth.MAYBE
    if isinstance(right, dict):
        return _address(value, right)
    if isinstance(right, str):
        if right.endswith("*"):
            return _sure(value.startswith(right[:-1]))
        return _sure(value == right)
    if isinstance(right, int) and not isinstance(right, bool):
        name = _PROTOCOLS.get(right)
        return Truth.MAYBE if name is None else _sure(value == name)
    return Truth.MAYBE


def _number(value: Bits, right: Any) -> Truth:
    if isinstance(right, dict) and "prefix" in right:
        first, length = right["prefix"]["addr"], right["prefix"]["len"]
        mask = ALL << (32 - length) & ALL
        return _number(Bits(value.value & mask, value.known | (~mask & ALL)), first & mask)
    if isinstance(right, dict) and "range" in right:
        first, last = right["range"]
        if value.known != ALL:
            return Truth.MAYBE
        return _sure(first <= value.value <= last)
    if not isinstance(right, int) or isinstance(right, bool):
        return Truth.MAYBE
    if (value.value ^ right) & value.known:
        return Truth.NO
    return Truth.YES if value.known == ALL else Truth.MAYBE


def _address(value: str, right: Any) -> Truth:
    if "prefix" in right:
        prefix = right["prefix"]
        network = _network(str(prefix["addr"]), int(prefix["len"]))
        return _sure(_numbered(value) in network)
    if "range" in right:
        first, last = map(_numbered, map(str, right["range"]))
        here = _numbered(value)
        return _sure(here.version == first.version and int(first) <= int(here) <= int(last))
    return Truth.MAYBE


def _between(value: Between, right: Any) -> Truth:
    if isinstance(right, dict) and "range" in right:
        first, last = right["range"]
        if first <= value.first and value.last <= last:
            return Truth.YES
    elif isinstance(right, int):
        first = last = right
    else:
        return Truth.MAYBE
    return Truth.NO if last < value.first or value.last < first else Truth.MAYBE


def _outside(value: Outside, right: Any) -> Truth:
    """No where all that is asked for is in the network, else maybe."""
    ends = [right]
    if isinstance(right, dict) and "range" in right:
        ends = list(right["range"])
    elif isinstance(right, dict):
        asked = _network(str(right["prefix"]["addr"]), int(right["prefix"]["len"]))
        ends = [asked[0], asked[-1]]
    network = ip_network(value.network)
    inside = all(_numbered(str(end)) in network for end in ends)
    return Truth.NO if inside else Truth.MAYBE


def _flags(value: Flags, right: Any) -> Truth:
    """Implicit in nft: one of the flags is set."""
    if right == 0:
        return Truth.NO if value.names else _unsure(value, Truth.YES)
    wanted = set(_names(right))
    if value.names & wanted:
        return Truth.YES
    return _unsure(value, Truth.NO)


def _unsure(value: Flags, otherwise: Truth) -> Truth:
    return Truth.MAYBE if value.others else otherwise


def _names(right: Any) -> list[str]:
    """The names of ``"dnat"``, ``["new", "related"]`` and ``{"|": [...]}``."""
    if isinstance(right, str):
        return [right]
    if isinstance(right, dict) and "|" in right:
        return [name for part in right["|"] for name in _names(part)]
    if isinstance(right, list):
        return [name for part in right for name in _names(part)]
    raise ValueError(right)


def _compare(value: Any, op: str, right: Any) -> Truth:
    if isinstance(value, int):
        value = Bits(value)
    if not isinstance(value, Bits) or value.known != ALL or not isinstance(right, int):
        return Truth.MAYBE
    number = value.value
    return _sure(
        {"<": number < right, ">": number > right, "<=": number <= right, ">=": number >= right}[op]
    )


def _sure(yes: bool) -> Truth:
    return Truth.YES if yes else Truth.NO


_numbered = functools.lru_cache(maxsize=4096)(ip_address)


@functools.lru_cache(maxsize=4096)
def _network(address: str, length: int) -> Any:
    return ip_network((address, length), strict=False)
