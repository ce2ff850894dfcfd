"""One run: ask everybody, decide, change the table in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nftlbc.farms import Farm
from nftlbc.nft import conntrack, lock
from nftlbc.nft.conntrack import Open
from nftlbc.nft.program import NftError
from nftlbc.plan import planning, recall, settling
from nftlbc.plan.planning import Plan
from nftlbc.plan.recall import Recalled
from nftlbc.plan.remembering import overlay
from nftlbc.plan.settling import Settled
from nftlbc.probe import judging, loads, packages
from nftlbc.probe.asking import Progress, Series, Uses, ask_all, with_checks
from nftlbc.probe.deciding import Decision, decide
from nftlbc.probe.target import Target, targets

DEADLINE = 50.0
"""Seconds for all checks of a run: a minute's cron job has ended before the next one begins."""


@dataclass(frozen=True)
class Options:
    deadline: float = DEADLINE
    hold: bool = True
    """Silence of more than half is believed only when it lasts."""
    dry: bool = False
    """The table is not changed."""
    wait: bool = True
    """For the lock."""
    cut: bool = False
    """``apply`` ends the connections of removed backends."""


@dataclass(frozen=True)
class Run:
    """What one run found and did."""

    uses: Uses
    found: dict[Target, Series]
    before: tuple[Farm, ...]
    decision: Decision
    plan: Plan
    settled: Settled

    @property
    def below(self) -> list[str]:
        """Farms below their quorum, of those that somebody checks."""
        checked = {use.farm.name for some in self.uses.values() for use in some}
        return judging.below_quorum(each for each in self.decision.farms if each.name in checked)


def probe(file: Sequence[Farm], options: Options, progress: Progress | None = None) -> Run:
    """Checks the backends of the running table and moves what must move.

    file: the farms of the farms file, which alone knows the checks. What else is new in it waits
    for ``apply``. Raises NftError where there is no table, or the kernel refuses.
    """
    kernel = planning.read()
    if kernel is None:
        raise NftError(planning.NO_TABLE, planning.APPLY_FIRST)
    known = recall.recall(kernel).farms
    return _run(with_checks(known, file), file, options, progress, applying=False)


def apply(
    farms: Sequence[Farm],
    options: Options,
    progress: Progress | None = None,
) -> Run:
    """Checks the backends of a farms file, and makes the table what the file says with the states
    that follow: no client ever meets a backend that was dead before the first load."""
    kernel = planning.read()
    known = overlay(kernel, farms, int(time.time())) if kernel is not None else tuple(farms)
    return _run(known, farms, options, progress, applying=True)


def _run(
    asked: Sequence[Farm],
    file: Sequence[Farm],
    options: Options,
    progress: Progress | None,
    *,
    applying: bool,
) -> Run:
    uses = packages.askable(targets(asked))
    found = asyncio.run(ask_all(uses, options.deadline, progress))
    made: list[tuple[tuple[Farm, ...], Decision]] = []

    def edit(recalled: Recalled) -> Sequence[Farm]:
        known = recalled if applying else replace(recalled, farms=with_checks(recalled.farms, file))
        connections = _connections(known.farms)
        decision = decide(known, uses, found, connections, int(time.time()), hold=options.hold)
        made[:] = [(known.farms, decision)]
        return decision.farms

    if options.dry:
        settled = Settled()
        plan = planning.plan(file, edit=edit) if applying else planning.changed(edit)
    else:
        with lock.held(wait=options.wait):
            if applying:
                ending = conntrack.count().tcp if options.cut else ()
                plan = planning.apply(file, ending, edit, probed=bool(uses))
            else:
                plan = planning.change(edit, probed=bool(uses))
            settled = settling.settle(plan)
    before, decision = made[0]
    return Run(uses, found, before, decision, plan, settled)


def called(run: Run) -> Iterator[str]:
    """Calls the commands of farms in which a state or the quorum changed; yields what went wrong.
    Not to be called under the lock."""
    from nftlbc import on_change

    for before, after in zip(run.before, run.decision.farms, strict=True):
        if after.on_change and after != before:
            yield from on_change.call(after.on_change, on_change.events(before, after))


def _connections(farms: Sequence[Farm]) -> Open | None:
    if not loads.counts_connections(farms):
        return None
    try:
        return conntrack.count()
    except NftError:
        return None  # its weights drift to the configured ones
