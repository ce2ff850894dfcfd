"""What of a table's text may get into a script, and how numbers and masks are written there.

Names and addresses are the only text in a table. No blank, quote, sign or newline can be in
one, so that whatever came from a farms file stays one word of the script.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Final

NAME_CHARACTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./"
LONGEST_NOTE: Final = 128
"""The kernel's comments are not longer."""
ADDRESS_CHARACTERS: Final = b"0123456789abcdef:."


class Unwritable(ValueError):
    """A table that can't be written: a mistake of the pass that made it, never of a user."""


def plain(texts: Iterable[str], characters: bytes = NAME_CHARACTERS) -> None:
    """Raises Unwritable where a text is empty or has another character than those."""
    every = list(texts)
    joined = "".join(every)
    if "" in every or not joined.isascii() or joined.encode().translate(None, characters):
        odd = next((t for t in every if not t or t.encode().translate(None, characters)), "")
        raise Unwritable(f"{odd!r} is not a plain name or address")


@functools.lru_cache(maxsize=4096)
def name(text: str) -> str:
    """The name itself, once it is known to be one."""
    plain((text,))
    return text


def note(text: str) -> str:
    """A comment of several words; raises Unwritable where it is none."""
    if not 0 < len(text) <= LONGEST_NOTE or text.encode("ascii", "replace").translate(
        None, NAME_CHARACTERS + b" =;,:*+"
    ):
        raise Unwritable(f"{text!r} is no note")
    return text


def mark(number: int) -> str:
    return f"0x{number:08x}"


def time(milliseconds: int) -> str:
    """In one number where it has at most the 8 digits that nft reads of one."""
    seconds, odd = divmod(milliseconds, 1000)
    if not odd:
        return f"{seconds:d}s"
    return f"{milliseconds:d}ms" if milliseconds < 100_000_000 else f"{seconds:d}s{odd:d}ms"


def priority(number: int) -> str:
    """A farm's number as ``meta priority`` has it: two halves in hexadecimals."""
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


@functools.cache
def netmask(family: int, prefix: int) -> str:
    """A prefix length as nft masks an address with it."""
    if family == 6:
        return str(IPv6Network((0, prefix)).netmask)
    return str(IPv4Network((0, prefix)).netmask)
