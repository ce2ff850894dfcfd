"""From one answer of the kernel's to a map's declaration, a chain or a rule."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from nftlbc.nft.netlink import datatypes
from nftlbc.nft.netlink.elements import Shape
from nftlbc.nft.netlink.kernel_table import KernelChain, KernelHook, KernelMap, KernelRule
from nftlbc.nft.netlink.messages import attribute_list, attributes, comment, number, text

_HOOKS: Final = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_ANONYMOUS, _INTERVAL, _MAP, _OBJECTS = 0x1, 0x4, 0x8, 0x40
_FLAGS: Final = {0x2: "constant", _INTERVAL: "interval", 0x10: "timeout", 0x20: "dynamic"}
_SET_COMMENT: Final = 7
"""In the user data of sets, where 0 is something else."""
_DIGEST: Final = 16
_STICKY: Final = re.compile(rb"(?<=\0)sticky?[46][-.\w]*(?=\0)")
"""A name among a rule's expressions, which ends with a NUL; the header before it does too."""

_CHOOSING: Final = {b"numgen\0": (2, 4), b"hash\0": (4, 6)}
"""Expressions, and the attributes of their modulus and offset."""


class FoundSet(NamedTuple):
    """A map or set of any kind."""

    name: str
    anonymous: bool
    map: KernelMap
    shape: Shape | None
    """None where it is not readable."""
    elements: int | None
    """How many it has; told since kernel 6.16."""


def set_of(payload: bytes) -> FoundSet:
    found = attributes(payload)
    name = text(found.get(2, b""))
    flags = number(found.get(3)) or 0
    key_type, key_length = number(found.get(4)) or 0, number(found.get(5)) or 0
    data_type, data_length = number(found.get(6)) or 0, number(found.get(7)) or 0
    timeout = number(found.get(11)) or 0
    key, data = datatypes.known(key_type, key_length), datatypes.known(data_type, data_length)
    data_name: str | None = None
    if flags & _OBJECTS:
        data_name, data = "object", None
    elif flags & _MAP:
        data_name = datatypes.name(data_type, data_length)
    interval = bool(flags & _INTERVAL)
    shape = None
    has_data = data is not None or data_name in (None, "object", "verdict")
    # An interval set of one part keeps the ends of its intervals as elements of their own.
    if key is not None and has_data and not (interval and len(key) == 1):
        shape = Shape(key, data, interval, timeout)
    declared = KernelMap(
        name=name,
        handle=number(found.get(16)) or 0,
        key=datatypes.name(key_type, key_length),
        data=data_name,
        size=number(attributes(found.get(9, b"")).get(1)),
        flags=frozenset(word for bit, word in _FLAGS.items() if flags & bit),
        counter=_counts(found),
        timeout=timeout,
        comment=comment(found.get(13), _SET_COMMENT),
        readable=shape is not None,
    )
    return FoundSet(name, bool(flags & _ANONYMOUS), declared, shape, number(found.get(20)))


def _counts(found: dict[int, bytes]) -> bool:
    """Whether a counter is among the expressions of a set: one of them, or a list."""
    expressions = [value for _, value in attribute_list(found.get(18, b""))]
    expressions.append(found.get(17, b""))
    return any(attributes(each).get(1) == b"counter\0" for each in expressions)


def chain_of(payload: bytes) -> tuple[str, KernelChain]:
    """The chain, and the name of its table."""
    found = attributes(payload)
    hook = None
    if 4 in found:
        place = attributes(found[4])
        position = number(place.get(1)) or 0
        hook = KernelHook(
            _HOOKS[position] if position < len(_HOOKS) else f"hook {position}",
            int.from_bytes(place.get(2, b""), "big", signed=True),
            text(found.get(7, b"")),
            number(found.get(5)) != 0,
        )
    name = text(found.get(3, b""))
    handle = number(found.get(2)) or 0
    return text(found.get(1, b"")), KernelChain(name, handle, hook, comment(found.get(12)))


def rule_of(payload: bytes, anonymous: Mapping[str, bytes]) -> tuple[str, KernelRule]:
    """The rule, and the name of its chain.

    anonymous: what stands for the names of anonymous sets in the digest.
    """
    found = attributes(payload)
    expressions = found.get(4, b"")
    names = _STICKY.findall(expressions) if b"\0stick" in expressions else ()
    if b"__set" in expressions or b"__map" in expressions:
        expressions = _without_names(expressions, anonymous)
    digest = hashlib.blake2b(expressions, digest_size=_DIGEST).digest()
    sticky = tuple(dict.fromkeys(map(text, names)))
    rule = KernelRule(number(found.get(3)) or 0, comment(found.get(7)), digest, sticky)
    return text(found.get(2, b"")), rule


def slots_of(payload: bytes) -> range | None:
    """The slots of which a rule chooses one, with numgen, jhash or symhash."""
    for _, expression in attribute_list(attributes(payload).get(4, b"")):
        found = attributes(expression)
        places = _CHOOSING.get(found.get(1, b""))
        if places is not None:
            modulus, offset = (number(attributes(found.get(2, b"")).get(each)) for each in places)
            return range(offset or 0, (offset or 0) + (modulus or 0))
    return None


def _without_names(expressions: bytes, anonymous: Mapping[str, bytes]) -> bytes:
    """The same with what anonymous sets hold in place of their names, which differ from one
    loading to the next, and are of different lengths."""
    parts = []
    for _, expression in attribute_list(expressions):
        found = attributes(expression)
        kind = found.get(1, b"")
        if kind != b"lookup\0":
            parts.append(expression)
            continue
        for which, value in attribute_list(found.get(2, b"")):
            held = anonymous.get(text(value), value) if which == 1 else value
            parts.append(kind + bytes([which]) + held)
    return b"".join(parts)
