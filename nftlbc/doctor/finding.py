"""What a check found, as a value."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MOST = 4
"""Things that a sentence names; more are counted."""


class Verdict(enum.Enum):
    """The worst first, which is the order in which people read them."""

    PROBLEM = "problem"
    """Connections fail, or nearly surely will."""
    WARNING = "warning"
    """They may fail: it depends on what can't be seen from here, or on what comes later."""
    NOT_CHECKED = "not checked"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    """Of the check: ``ip-forward``, ``listener-address``. It never changes its meaning."""
    verdict: Verdict
    what: str
    """What is so; for NOT_CHECKED: why nobody looked."""
    why: str | None = None
    """What comes of it."""
    mend: str | None = None
    """What to do, in words; a line of it may be one to be copied."""
    commands: tuple[str, ...] = ()
    """Shell commands that mend it now, to be run in this order."""
    lasting: tuple[str, ...] = ()
    """Shell commands that let it last over a reboot."""
    statements: tuple[str, ...] = ()
    """Lines for the farms file that mend it in another way."""
    affects: tuple[str, ...] = ()
    """Whom it concerns, all of them: ``farm web``, ``web/app1``, an address."""


class Unseen(Exception):
    """Something can't be looked at; the check that needs it says so."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def ok(name: str, what: str) -> Finding:
    return Finding(name, Verdict.OK, what)


def not_checked(name: str, reason: str) -> Finding:
    return Finding(name, Verdict.NOT_CHECKED, reason)


def some(things: Sequence[str], most: int = _MOST) -> str:
    """``a, b, c``; of many the first ones, and how many more there are."""
    named = list(dict.fromkeys(things))
    if len(named) <= most:
        return ", ".join(named)
    return f"{', '.join(named[:most])} and {len(named) - most} more"


def unique(things: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order of their first."""
    return tuple(dict.fromkeys(things))
