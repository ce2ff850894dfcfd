"""When a certificate ends.

Python's ssl tells nothing of a certificate that it was not asked to verify but its bytes (DER), so
the one field that is wanted is looked up there: RFC 5280, 4.1.
"""

from __future__ import annotations

import calendar
import time
from typing import Final

from nftlbc.farms import Milliseconds

SOON: Final[Milliseconds] = 14 * 86_400_000
"""A warning comes so long before, where ``expires-within`` does not say it."""
_SEQUENCE, _VERSION, _UTC_TIME, _GENERAL_TIME = 0x30, 0xA0, 0x17, 0x18


def warning(der: bytes | None, within: Milliseconds) -> str | None:
    """What is to be said about a certificate that ends within a time, or has ended."""
    try:
        left = not_after(der or b"") - time.time()
    except ValueError:
        return "certificate without a readable end"
    if left * 1000 > within:
        return None
    if left < 0:
        return f"certificate expired {_told(-left)} ago"
    return f"certificate expires in {_told(left)}"


def _told(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a minute"


def not_after(der: bytes) -> float:
    """Seconds since 1970. Raises ValueError where these are not the bytes of a certificate."""
    _, certificate, _ = _part(der, _SEQUENCE)
    _, rest, _ = _part(certificate, _SEQUENCE)
    if rest[:1] == bytes([_VERSION]):
        _, _, rest = _part(rest)
    for _ in ("serial number", "signature", "issuer"):
        _, _, rest = _part(rest)
    _, validity, _ = _part(rest, _SEQUENCE)
    _, _, rest = _part(validity)
    kind, text, _ = _part(rest)
    if kind not in (_UTC_TIME, _GENERAL_TIME):
        raise ValueError("no time")
    digits = text.decode("ascii")
    if kind == _UTC_TIME:  # two digits of the year, of 1950 to 2049
        digits = ("20" if digits < "50" else "19") + digits
    return calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%SZ"))


def _part(data: bytes, wanted: int | None = None) -> tuple[int, bytes, bytes]:
    """The first value: its tag, its content, and what follows it."""
    if len(data) < 2 or (wanted is not None and data[0] != wanted):
        raise ValueError("no certificate")
    length, begin = data[1], 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(data[2:begin], "big")
    if begin > 6 or begin + length > len(data):
        raise ValueError("cut short")
    return data[0], data[begin : begin + length], data[begin + length :]
