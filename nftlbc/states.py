"""What is known of a backend beyond its farms file: what was done by hand, and what checks found.

The kernel's table remembers it, as a short record beside the backend's number; there is no other
place. The states by the file, by hand and by the checks are three things, and the worst counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

Seconds = int
"""Since 1970, as the system's clock says."""
HandState = Literal["drain", "let-go", "disable"]
CheckState = Literal["up", "drain", "down"]
Standing = Literal["up", "drain", "down"]

LONGEST: Final = 128
"""Characters of an element's comment in the kernel."""
_BY, _WHY = 14, 13
"""Characters of a user's name and of a reason; with these every record fits."""
_ODD: Final = re.compile(r"[^A-Za-z0-9_.+-]+")
_ORDER: Final[dict[str, int]] = {"up": 0, "drain": 1, "let-go": 2, "down": 2, "disable": 2}
_STANDING: Final[tuple[Standing, ...]] = ("up", "drain", "down")


@dataclass(frozen=True, slots=True)
class ByHand:
    """``drain``, ``drain --let-go`` or ``disable``, until ``enable``."""

    state: HandState
    by: str
    """The user's name."""
    since: Seconds


@dataclass(frozen=True, slots=True)
class ByCheck:
    """What the checks say."""

    state: CheckState
    """``drain``: an agent on it says so."""
    since: Seconds
    row: int = 0
    """Results in a row that say otherwise: successes of one that is down, failures of one up
    that were not believed."""
    flaps: int = 0
    """Changes that followed soon upon each other."""
    why: str = ""
    """A short word: ``refused``, ``timeout``, ``status-503``."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A dynamic weight, and what the next one is worked out from."""

    weight: float
    """Live, as a multiple of the configured one."""
    load: float
    """The averaged load, in the scheduler's unit; 0: none was measured yet."""
    missing: int = 0
    """Runs in a row without a figure."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The record of one backend."""

    hand: ByHand | None = None
    check: ByCheck | None = None
    measured: Measured | None = None
    filed: Seconds | None = None
    """Since when its file says ``state drain`` or ``down``, where that was seen to change."""

    def standing(self, filed: Standing) -> Standing:
        """The worst of what file, hand and checks say."""
        worst = _ORDER[filed]
        if self.hand is not None:
            worst = max(worst, _ORDER[self.hand.state])
        if self.check is not None:
            worst = max(worst, _ORDER[self.check.state])
        return _STANDING[worst]

    @property
    def failed(self) -> bool:
        """Its checks hold it down."""
        return self.check is not None and self.check.state == "down"

    @property
    def cut(self) -> bool:
        """Its open connections are ended."""
        return self.hand is not None and self.hand.state == "disable"


PROBED_KEY: Final = 0
"""The key, no backend's, beside which the table remembers when checks were last made."""
STALE: Final[Seconds] = 600
"""Checks that were made so long ago are not being made any more: cron makes them every minute."""
NOT_YET: Final[Seconds] = 0
"""When checks were last made where farms have some, and nobody has made them."""


def probed_text(when: Seconds) -> str:
    return f"probed={when:d}"


def probed_of(text: str) -> Seconds | None:
    kind, _, when = text.partition("=")
    try:
        return _seconds(when) if kind == "probed" else None
    except ValueError:
        return None


NOTHING: Final = Remembered()
"""Of a backend that is plainly as its file says."""


def text(record: Remembered) -> str:
    """The record as the kernel keeps it: words, at most 128 characters; empty for NOTHING.

    Words: ``hand=STATE/WHO/SINCE``, ``check=STATE/SINCE/ROW/FLAPS/WHY``,
    ``weight=FACTOR/LOAD/MISSING``, ``file=SINCE``.
    """
    return " ".join(_words(record))


def _words(record: Remembered) -> Iterator[str]:
    if (hand := record.hand) is not None:
        yield f"hand={hand.state}/{word(hand.by, _BY)}/{hand.since:d}"
    if (check := record.check) is not None:
        why = word(check.why, _WHY) if check.why else ""
        row, flaps = min(check.row, 999), min(check.flaps, 99)
        yield f"check={check.state}/{check.since:d}/{row:d}/{flaps:d}/{why}"
    if (measured := record.measured) is not None:
        missing = min(measured.missing, 99)
        yield f"weight={_figure(measured.weight)}/{_figure(measured.load)}/{missing:d}"
    if record.filed is not None:
        yield f"file={record.filed:d}"


def _figure(number: float) -> str:
    return f"{number:.4g}"


def word(text: str, most: int) -> str:
    """The text as one word of plain characters, cut to so many."""
    return _ODD.sub("-", text)[:most] or "-"


def of_text(text: str) -> Remembered:
    """The record from what the kernel keeps. Words that are not understood, of another version
    or somebody's hand, count as if they were not there."""
    found = NOTHING
    for each in text.split():
        kind, _, rest = each.partition("=")
        read = _READERS.get(kind)
        if read is not None:
            try:
                found = read(found, rest.split("/"))
            except (ValueError, IndexError, OverflowError):
                continue
    return found


def _hand(found: Remembered, parts: list[str]) -> Remembered:
    state, by, since = parts[:3]
    for known in ("drain", "let-go", "disable"):
        if state == known:
            return replace(found, hand=ByHand(known, word(by, _BY), _seconds(since)))
    return found


def _check(found: Remembered, parts: list[str]) -> Remembered:
    state, since, row, flaps, why = parts[:5]
    for known in ("up", "drain", "down"):
        if state == known:
            why = word(why, _WHY) if why else ""
            check = ByCheck(known, _seconds(since), _count(row), _count(flaps), why)
            return replace(found, check=check)
    return found


def _measured(found: Remembered, parts: list[str]) -> Remembered:
    weight, load = float(parts[0]), float(parts[1])
    if not (0 < weight <= 1e6 and 0 <= load <= 1e12):
        return found
    return replace(found, measured=Measured(weight, load, _count(parts[2])))


def _filed(found: Remembered, parts: list[str]) -> Remembered:
    return replace(found, filed=_seconds(parts[0]))


def _seconds(text: str) -> Seconds:
    number = int(text)
    if not 0 <= number < 10**10:
        raise ValueError(text)
    return number


def _count(text: str) -> int:
    return min(max(int(text), 0), 999)


_READERS: Final = {"hand": _hand, "check": _check, "weight": _measured, "file": _filed}
