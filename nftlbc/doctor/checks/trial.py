"""Does this kernel take the table? The script is loaded where it can do nothing: in a network
namespace that ends with the nft that loads it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from nftlbc import pipeline
from nftlbc.doctor.checks.constructs import CONSTRUCTS, SAMPLE
from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok, unique
from nftlbc.doctor.machine import Machine, Ran
from nftlbc.doctor.situation import Situation
from nftlbc.farms import Farm
from nftlbc.nft import program, refusal
from nftlbc.sandbox.refusal import explain_refusal

_NAME: Final = "kernel-features"
_MOST_FARMS: Final = 64
_MOST_ROWS: Final = 8
"""Listeners and backends of a farm: a transaction in an unprivileged namespace takes 150 KB."""
_DEADLINE: Final = 60.0

_Row = TypeVar("_Row")


def check(situation: Situation) -> Iterator[Finding]:
    """Tries one farm of each shape, or without a file all that a farm can have; where the kernel
    refuses that, each construct alone.
    """
    trial = _Trial(situation.machine)
    script = pipeline.script(_shapes(situation.farms) or SAMPLE)
    ran = trial.load(script)
    if ran.status == 0:
        what = "all that the farms need" if situation.farms else "all that a farm can need"
        yield ok(_NAME, f"the kernel takes {what} (tried in a throw-away namespace)")
        return
    missing = [each for each in CONSTRUCTS if trial.load(each.script).status != 0]
    if not missing:
        told = refusal.explain(program.Answer(ran.status, ran.output, ran.errors), script)
        yield Finding(_NAME, Verdict.PROBLEM, told.message, "apply would fail", told.remedy)
        return
    yield Finding(
        _NAME,
        Verdict.PROBLEM,
        f"nft and this kernel refuse {'; '.join(each.what for each in missing)}",
        "apply would fail" if situation.farms else "farms that need it can't be loaded",
        "load what is missing (for a container: on its host); where that fails, the kernel was"
        " built without it or is older than 5.10, and another one is needed",
        commands=tuple(f"modprobe {each}" for each in unique(each.module for each in missing)),
        affects=tuple(each.name for each in missing),
    )


class _Trial:
    """nft in a namespace. Raises Unseen where there is no nft, or no namespace to be had."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        try:
            self._nft = program.find()
        except program.NftError as problem:
            raise Unseen(problem.message) from None
        self._unshare = self._way_in()

    def _way_in(self) -> list[str]:
        """Root keeps its user namespace, in which alone a transaction may be large."""
        own = ["unshare", "--net"]
        ways = [["unshare", "--user", "--map-root-user", "--net"]]
        if os.geteuid() == 0:
            ways.insert(0, own)
        errors = ""
        for way in ways:
            ran = self._machine.run([*way, "true"])
            if ran.status == 0:
                return way
            errors = ran.errors
        full = "No space left" in errors
        raise Unseen(explain_refusal(errno.ENOSPC if full else errno.EPERM))

    def load(self, script: str) -> Ran:
        argv = [*self._unshare, self._nft, "-f", "-"]
        return self._machine.run(argv, script, deadline=_DEADLINE)


def _shapes(farms: Sequence[Farm]) -> list[Farm]:
    """One farm of each shape, with a few of its rows: the program without its data."""
    found: dict[object, Farm] = {}
    for farm in farms:
        shape = (
            farm.families,
            farm.forward.kind,
            farm.hairpin,
            farm.count_traffic,
            farm.balance.scheduler,
            farm.balance.keys,
            farm.persistence and farm.persistence.keys,
            frozenset((each.first == each.last, each.to is None) for each in farm.listeners),
            frozenset(each.port is None for each in farm.backends),
        )
        found.setdefault(shape, farm)
        if len(found) == _MOST_FARMS:
            break
    return [
        replace(
            farm,
            listeners=_few(farm.listeners, lambda each: (each.family, each.first == each.last)),
            backends=_few(farm.backends, lambda each: (each.family, each.port is None)),
            quorum=1,
        )
        for farm in found.values()
    ]


def _few(rows: Sequence[_Row], kind: Callable[[_Row], object]) -> tuple[_Row, ...]:
    """A few of each kind."""
    kept: dict[object, list[_Row]] = {}
    for row in rows:
        same = kept.setdefault(kind(row), [])
        if len(same) < _MOST_ROWS:
            same.append(row)
    return tuple(row for same in kept.values() for row in same)
