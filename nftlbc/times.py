"""Spans of time as a person reads them."""

from __future__ import annotations

from nftlbc.farms import Milliseconds

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def left(time: Milliseconds) -> str:
    """What is left of a time, in its two largest units: ``4m 12s``, ``1d 0h``, ``0s``."""
    seconds = time // 1000
    for number, (unit, name) in enumerate(_UNITS[:-1]):
        if seconds >= unit:
            smaller, its = _UNITS[number + 1]
            return f"{seconds // unit}{name} {seconds % unit // smaller}{its}"
    return f"{seconds}s"
