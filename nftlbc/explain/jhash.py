"""The kernel's ``jhash`` over nft's registers, for saying where a hashed client goes.

Bob Jenkins' lookup3 (2006, public domain), in the form that Linux gives it: the initial value
is added to the length in bytes and to the seed. Its words are read in the machine's own byte
order, here little-endian as on every machine that is likely to balance (x86, ARM, RISC-V,
POWER as it is run today).
"""

from __future__ import annotations

import struct
from typing import Final

_INITIAL: Final = 0xDEAD_BEEF
_WORD: Final = 0xFFFF_FFFF


def jhash(key: bytes, seed: int) -> int:
    """The 32-bit hash of a key.

    The parts of a concatenation are filled up with zeros to 4 bytes each, as they lie in nft's
    registers. A key of one part is hashed in its own length: a port alone is 2 bytes.
    """
    words = struct.unpack(f"<{(len(key) + 3) // 4}I", key + bytes(-len(key) % 4))
    a = b = c = (_INITIAL + len(key) + seed) & _WORD
    at = 0
    while len(words) - at > 3:
        a, b, c = _mix((a + words[at]) & _WORD, (b + words[at + 1]) & _WORD, c + words[at + 2])
        at += 3
    rest = words[at:]
    if not rest:
        return c
    a += rest[0]
    b += rest[1] if len(rest) > 1 else 0
    c += rest[2] if len(rest) > 2 else 0
    return _final(a & _WORD, b & _WORD, c & _WORD)


def scaled(number: int, modulus: int) -> int:
    """A 32-bit number brought into ``[0, modulus)``: by its upper bits, not by the remainder."""
    return (number * modulus) >> 32


def _rotated(word: int, bits: int) -> int:
    return ((word << bits) & _WORD) | (word >> (32 - bits))


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    c &= _WORD
    a = ((a - c) & _WORD) ^ _rotated(c, 4)
    c = (c + b) & _WORD
    b = ((b - a) & _WORD) ^ _rotated(a, 6)
    a = (a + c) & _WORD
    c = ((c - b) & _WORD) ^ _rotated(b, 8)
    b = (b + a) & _WORD
    a = ((a - c) & _WORD) ^ _rotated(c, 16)
    c = (c + b) & _WORD
    b = ((b - a) & _WORD) ^ _rotated(a, 19)
    a = (a + c) & _WORD
    c = ((c - b) & _WORD) ^ _rotated(b, 4)
    b = (b + a) & _WORD
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    c = ((c ^ b) - _rotated(b, 14)) & _WORD
    a = ((a ^ c) - _rotated(c, 11)) & _WORD
    b = ((b ^ a) - _rotated(a, 25)) & _WORD
    c = ((c ^ b) - _rotated(b, 16)) & _WORD
    a = ((a ^ c) - _rotated(c, 4)) & _WORD
    b = ((b ^ a) - _rotated(a, 14)) & _WORD
    return ((c ^ b) - _rotated(b, 24)) & _WORD
