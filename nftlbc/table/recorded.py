"""What the kernel's table keeps of a farm for its own sake: what its maps and rules don't tell.

``drain``, ``status`` and ``explain --live`` know from it what was applied, without any file. It is
the farm's statements in the language itself, those that are not the default, and two of its own:
``backends`` for their order, weights and states, and ``idle`` for the numbers of those that no slot
leads to, so that a farm's backends are found without reading those of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from socket import AF_INET6, inet_aton, inet_pton
from typing import Final, NamedTuple, TypeVar

from nftlbc.farms import Address, Backend, BackendState, Balance, Farm, Forward, Milliseconds
from nftlbc.states import LONGEST

_LETTERS: Final[Mapping[BackendState, str]] = {"up": "", "drain": "d", "down": "x"}
_STATES: Final[Mapping[str, BackendState]] = {text: state for state, text in _LETTERS.items()}
_BACKEND: Final = re.compile(r"(\d{1,6})(?:\*(\d{1,6}))?(b?)([dx]?)\Z")
_IDLE: Final = "idle "
_MARK: Final = re.compile(r"[0-9a-f]{8}\Z")


class Configured(NamedTuple):
    """What the file says of a backend beyond its name and place."""

    weight: int = 1
    backup: bool = False
    state: BackendState = "up"


def record(farm: Farm, idle: Sequence[int] = ()) -> str:
    """The record of a farm; empty where all is the default.

    idle: the marks of its backends without a slot.
    """
    marks = [f"{_IDLE}{' '.join(f'{mark:08x}' for mark in idle)}"] if idle else []
    return "; ".join([*_backends(farm.backends), *statements(farm), *marks])


def pieces(text: str) -> list[str]:
    """The record cut, at blanks, to what one element's comment holds."""
    if len(text) <= LONGEST:
        return [text]
    import textwrap

    return textwrap.wrap(text, LONGEST, break_on_hyphens=False)


def whole(parts: Mapping[int, str]) -> str:
    """The record from its pieces by their numbers; what is missing ends it."""
    found = []
    for number in range(len(parts)):
        if number not in parts:
            break
        found.append(parts[number])
    return " ".join(found)


def _backends(backends: Sequence[Backend]) -> Iterator[str]:
    """``backends 0*2 1 2b 3*0d``: in the file's order, each by its number in the order of
    addresses, with its weight unless that is 1, ``b`` for a backup, ``d`` drain, ``x`` down."""
    if len(backends) == 1:
        places: Iterable[int] = (0,)
    else:
        spots = [place(each.address, each.port) for each in backends]
        by_spot = {spot: number for number, spot in enumerate(sorted(spots))}
        places = [by_spot[spot] for spot in spots]
    texts = [
        f"{number}{'' if each.weight == 1 else f'*{each.weight}'}"
        f"{'b' if each.backup else ''}{_LETTERS[each.state]}"
        for number, each in zip(places, backends, strict=True)
    ]
    if texts != [str(number) for number in range(len(texts))]:
        yield f"backends {' '.join(texts)}"


def place(address: Address, port: int | None) -> tuple[int, bytes, int]:
    """Sorts backends by family, address and port."""
    if ":" in address:
        return 6, inet_pton(AF_INET6, address), port or 0
    return 4, inet_aton(address), port or 0


def statements(farm: Farm) -> Iterator[str]:
    """Its settings, those that are not the default, in the words of docs/language.md."""
    forward, balance, persistence = farm.forward, farm.balance, farm.persistence
    if forward != Forward():
        to = f" to {', '.join(forward.addresses)}" if forward.addresses else ""
        yield f"forward {forward.kind}{to}"
    if balance != Balance():
        slots = f" slots {balance.slots}" if balance.scheduler == "consistent" else ""
        yield f"balance {balance}{slots}"
    if persistence is not None:
        keys = ", ".join(map(str, persistence.keys))
        size = f" size {persistence.size}" if persistence.size is not None else ""
        yield f"persist {keys} for {_time(persistence.timeout)}{size}"
    if farm.quorum != 1:
        yield f"quorum {farm.quorum}"
    if farm.hairpin:
        yield "hairpin"
    if farm.on_down != "keep":
        yield f"on-down {farm.on_down}"
    if farm.when_all_down != "refuse":
        yield f"when-all-down {farm.when_all_down}"
    if farm.slow_start:
        yield f"slow-start {_time(farm.slow_start)}"
    if farm.count_traffic:
        yield "count traffic"


def _time(milliseconds: Milliseconds) -> str:
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def split(text: str) -> tuple[str, str]:
    """A record's list of backends, and its statements in the language; either may be empty."""
    backends, rest = "", []
    for statement in text.split("; ") if text else ():
        if statement.startswith("backends "):
            backends = statement.removeprefix("backends ")
        elif not statement.startswith(_IDLE):
            rest.append(statement)
    return backends, "; ".join(rest)


def idle(text: str) -> list[int]:
    """The marks of the backends that no slot leads to."""
    words = [each for each in text.split("; ") if each.startswith(_IDLE)]
    return [int(word, 16) for each in words for word in each.split()[1:] if _MARK.match(word)]


Ordered = TypeVar("Ordered")


def configured(text: str, ordered: Sequence[Ordered]) -> list[tuple[Ordered, Configured]]:
    """What a list of backends says of those of a farm, in the file's order.

    ordered: they themselves, in the order of ``place``. Those that the list does not name (the
    table was changed by hand) come last and are plain.
    """
    found: dict[int, Configured] = {}
    for each in text.split():
        match = _BACKEND.match(each)
        if match and (number := int(match[1])) < len(ordered):
            weight = int(match[2]) if match[2] else 1
            found[number] = Configured(weight, bool(match[3]), _STATES[match[4]])
    rest = [number for number in range(len(ordered)) if number not in found]
    every = [*found.items(), *((number, Configured()) for number in rest)]
    return [(ordered[number], known) for number, known in every]
