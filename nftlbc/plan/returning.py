"""Who comes back where weights move begins with a part of its weight, whoever brings it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nftlbc.farms import Farm
from nftlbc.states import ByCheck, Measured, Seconds

ENTERS_AT: Final = 0.1
"""The part of its weight with which a backend comes back."""


def entering(before: Farm, after: Farm) -> Farm:
    """Those that were down and are up begin with a tenth; alone, with all of it."""
    if not after.moving:
        return after
    backends = list(after.backends)
    for n, (old, new) in enumerate(zip(before.backends, after.backends, strict=True)):
        if new.standing == "up" and old.standing == "down":
            others = any(
                each.takes_new and each is not new and each.family == new.family
                for each in after.backends
            )
            measured = Measured(ENTERS_AT if others else 1.0, 0.0)
            backends[n] = replace(new, remembered=replace(new.remembered, measured=measured))
    return replace(after, backends=tuple(backends))


def by_hand(before: Farm, after: Farm, now: Seconds) -> Farm:
    """The same of those that a hand brings back: they climb from now on."""
    found = entering(before, after)
    backends = list(found.backends)
    for n, (old, new) in enumerate(zip(after.backends, found.backends, strict=True)):
        if new is not old:
            flaps = new.remembered.check.flaps if new.remembered.check else 0
            record = replace(new.remembered, check=ByCheck("up", now, 0, flaps))
            backends[n] = replace(new, remembered=record)
    return replace(found, backends=tuple(backends))
