"""Taking backends out by hand, and putting them back: ``drain``, ``disable`` and ``enable``.

No file is read: the table knows its farms. What was done by hand stands in its records, with who
did it and since when, until it is taken back or the table is gone.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from nftlbc.diagnostics import near
from nftlbc.farms import Backend, Farm
from nftlbc.plan import in_use, planning, recall, returning, settling
from nftlbc.plan.planning import Plan
from nftlbc.plan.recall import Recalled
from nftlbc.plan.running import Running
from nftlbc.plan.settling import Settled
from nftlbc.states import NOTHING, ByHand, HandState

_MOST: Final = 8
"""Names that are told where none is near."""


class NoSuchBackend(Exception):
    """What was named is not in the running table."""

    def __init__(self, message: str, remedy: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class Touched:
    """A backend that was named."""

    farm: str
    before: Backend
    after: Backend
    mark: int

    @property
    def changed(self) -> bool:
        return self.before.remembered.hand != self.after.remembered.hand


@dataclass(frozen=True)
class Done:
    """What was done."""

    touched: tuple[Touched, ...]
    before: Mapping[str, Farm]
    """The farms that are concerned, by name."""
    after: Mapping[str, Farm]
    settled: Settled


def hold(wanted: Sequence[str], state: HandState | None, by: str) -> Done:
    """Puts backends into a state by hand, or (None) takes that back.

    wanted: FARM/BACKEND each; either may have ``*`` for any text. by: the user's name.
    Raises NoSuchBackend; NftError where there is no table, or the change is refused. To be called
    under the lock.
    """
    touched: list[Touched] = []
    before: dict[str, Farm] = {}
    after: dict[str, Farm] = {}
    now = int(time.time())

    def edit(known: Recalled) -> Sequence[Farm]:
        touched.clear()
        named = choose(known.farms, wanted)
        farms = []
        for farm in known.farms:
            names = named.get(farm.name)
            if names is None:
                farms.append(farm)
                continue
            backends = tuple(
                _held(each, state, by, now) if each.name in names else each
                for each in farm.backends
            )
            held = replace(farm, backends=backends)
            before[farm.name] = farm
            after[farm.name] = held = returning.by_hand(farm, held, now)
            touched.extend(
                Touched(farm.name, was, each, known.mark(farm, was))
                for was, each in zip(farm.backends, held.backends, strict=True)
                if was.name in names
            )
            farms.append(after[farm.name])
        return farms

    plan = planning.sent(lambda: _plan(wanted, edit))
    # Those that were so before too: a command may have been killed after its transaction.
    left = {each.mark for each in touched if not each.after.live}
    cut = {each.mark for each in touched if each.after.remembered.cut}
    settled = settling.settled(plan.left | left, plan.cut | cut)
    return Done(tuple(touched), before, after, settled)


def _plan(wanted: Sequence[str], edit: planning.Edit) -> Plan:
    """What does it. The farms that are named are built and compared by themselves, where all are
    known and no more than their own elements and rules change: of 10 000 the others take seconds.
    """
    kernel = planning.running()
    names = in_use.farm_numbers(kernel)
    some = [_matching(names, each.partition("/")[0]) for each in wanted]
    if all(some):
        known = recall.recall(kernel, only=frozenset(chain.from_iterable(some)))
        plan = Running.of(kernel, known.farms).plan(edit(known))
        if plan is not None:
            return plan
    return planning.between(kernel, edit(recall.recall(kernel)))


def _held(backend: Backend, state: HandState | None, by: str, now: int) -> Backend:
    record = backend.remembered
    if (record.hand.state if record.hand else None) == state:
        return backend
    record = replace(record, hand=ByHand(state, by, now) if state else None)
    return replace(backend, remembered=NOTHING if record == NOTHING else record)


def choose(farms: Sequence[Farm], wanted: Sequence[str]) -> dict[str, set[str]]:
    """The names of the backends that are wanted, by their farms. Raises NoSuchBackend."""
    found: dict[str, set[str]] = {}
    by_name = {farm.name: farm for farm in farms}
    for text in wanted:
        farm_name, slash, name = text.partition("/")
        if not slash or not farm_name or not name:
            raise NoSuchBackend(f"{text!r} is not FARM/BACKEND", _example(farms, text))
        some = _matching(by_name, farm_name)
        if not some:
            message = f"there is no farm {farm_name!r} in the running table"
            raise NoSuchBackend(message, _meant(farm_name, by_name))
        names = [(farm, each) for farm in some for each in _names(by_name[farm], name)]
        if not names:
            known = [each.name for farm in some for each in by_name[farm].backends]
            of = f"farm {farm_name} has" if len(some) == 1 else "those farms have"
            raise NoSuchBackend(f"{of} no backend {name!r}", _meant(name, known))
        for farm, each in names:
            found.setdefault(farm, set()).add(each)
    return found


def _matching(farms: Collection[str], pattern: str) -> list[str]:
    if pattern in farms:
        return [pattern]
    return fnmatch.filter(farms, pattern) if "*" in pattern else []


def _names(farm: Farm, pattern: str) -> list[str]:
    names = [each.name for each in farm.backends]
    return [pattern] if pattern in names else fnmatch.filter(names, pattern) * ("*" in pattern)


def _example(farms: Sequence[Farm], text: str) -> str | None:
    full = [f"{farm.name}/{each.name}" for farm in farms for each in farm.backends]
    meant = [each for each in full if text.strip("/") in each.split("/")] or full
    return f"such as {meant[0]}" if meant else None


def _meant(word: str, known: Sequence[str] | Mapping[str, Farm]) -> str | None:
    by_lower = {each.lower(): each for each in known}
    meant = near(word, by_lower)
    if meant:
        return f"did you mean {by_lower[meant]!r}?"
    return f"there is {', '.join(by_lower.values())}" if len(by_lower) <= _MOST else None
