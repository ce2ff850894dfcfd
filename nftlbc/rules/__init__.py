"""What no grammar can see: farms that are each well written and can't be, alone or together.

Works on the typed farms, so both forms of a file are held to the same rules. Farms whose file
has mistakes are judged by what is known of them (``Farm.mistaken``).
"""

from __future__ import annotations

from collections.abc import Sequence

from nftlbc.diagnostics import Also, Diagnostic, error
from nftlbc.farms import Farm
from nftlbc.rules import backends, checks, listeners, settings

__all__ = ["check"]


def check(farms: Sequence[Farm]) -> list[Diagnostic]:
    """The mistakes and warnings of farms made from one file and all that it includes.

    The places may be None, for farms made in code. Takes time n log n in the number of listeners
    and linear in all else.
    """
    found: list[Diagnostic] = []
    _names(farms, found)
    listeners.check(farms, found)
    for farm in farms:
        backends.check(farm, found)
        settings.check(farm, found)
        checks.check(farm, found)
    return _once(found)


def _names(farms: Sequence[Farm], found: list[Diagnostic]) -> None:
    if len({farm.name for farm in farms}) == len(farms):
        return
    first: dict[str, Farm] = {}
    for farm in farms:
        if farm.name not in first:
            first[farm.name] = farm
            continue
        place = first[farm.name].place("name")
        also = Also("first here", place) if place else None
        found.append(error(f"farm {farm.name} is defined twice", farm.place("name"), None, also))


def _once(found: list[Diagnostic]) -> list[Diagnostic]:
    """What is said of defaults is said once, not for every farm that has them."""
    told: dict[tuple[object, ...], Diagnostic] = {}
    for each in found:
        place = each.place
        where = (id(place[0]), *place[1:]) if place else (id(each),)
        told.setdefault((each.message, *where), each)
    return list(told.values())
