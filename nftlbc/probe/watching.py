"""The running table as the loop keeps it: read once, changed in step, read again only when
somebody else has changed it, and put back when it is gone. Everything here may wait for the
kernel, and runs in a thread of its own.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from nftlbc.farms import Farm
from nftlbc.nft import kernel as changing
from nftlbc.nft import lock, netlink
from nftlbc.nft.netlink import KernelTable
from nftlbc.nft.program import NftError
from nftlbc.plan import planning, recall
from nftlbc.plan.planning import Plan
from nftlbc.plan.running import Running
from nftlbc.states import CheckState, Remembered, Seconds


class Watched:
    """Raises NftError where the kernel refuses, as all its methods do."""

    def __init__(self) -> None:
        self._events = netlink.Events()
        try:
            kernel = planning.read()
            if kernel is None:
                raise NftError(planning.NO_TABLE, planning.APPLY_FIRST)
        except BaseException:
            self._events.close()
            raise
        self.running = Running.of(kernel, recall.recall(kernel).farms)
        self._stale = self._put_back = self._leaving = False

    def fileno(self) -> int:
        """To poll: something changed in some table."""
        return self._events.fileno()

    def close(self) -> None:
        self._events.close()

    def leave(self) -> None:
        """From now on nobody's lock is waited for."""
        self._leaving = True

    @property
    def farms(self) -> Mapping[str, Farm]:
        return self.running.farms

    def serving(self, marks: Collection[int]) -> set[int]:
        """Those of these backends that connections are sent to."""
        return self.running.serving(marks)

    def disturbed(self) -> bool:
        """Whether somebody else has changed our table since it was read; never waits."""
        self._stale = self._events.drain() or self._stale
        return self._stale

    def refresh(self) -> bool:
        """Reads the table again; True where it was gone and is put back, as it was last.

        What was done by others is taken from the table; what it has not been told yet (averages,
        results in a row) from memory.
        """
        with self._lock():
            self._events.drain()
            kernel = planning.read()
            if kernel is None:
                self._send(self.farms.values())
            else:
                known = recall.recall(kernel).farms
                self.running = Running.of(kernel, [self._with_memory(farm) for farm in known])
            self._stale = False
            put_back, self._put_back = self._put_back, False
            return put_back

    def _lock(self) -> AbstractContextManager[None]:
        return lock.held(wait=lambda: not self._leaving)

    def _with_memory(self, farm: Farm, mine: bool = False) -> Farm:
        """A farm as the table has it, with what this process knows better.

        mine: the state by checks as well. Else it is the table's: who changed it has changed the
        slots too, and the next checks will tell. Of a backend that a hand has held or put back the
        table knows better where its weight begins.
        """
        before = self.farms.get(farm.name)
        if before is None:
            return farm
        memory = {(each.address, each.port): each.remembered for each in before.backends}
        backends = []
        for each in farm.backends:
            known = memory.get((each.address, each.port))
            if known is not None:
                there = each.remembered
                same = known.hand == there.hand
                better = mine or (same and _state(known) == _state(there))
                record = replace(
                    there,
                    check=known.check if better else there.check,
                    measured=known.measured if same else there.measured,
                )
                each = replace(each, remembered=record)
            backends.append(each)
        return replace(
            farm, backends=tuple(backends), checks=before.checks, on_change=before.on_change
        )

    def remember(self, farms: Iterable[Farm]) -> None:
        """Farms of which only what they are checked by has changed."""
        self.running.remember(farms)

    def change(self, farms: Sequence[Farm]) -> Plan:
        """Sends what these farms need in one transaction. ``settling`` has to follow."""
        with self._lock():
            try:
                return self._changed(farms)
            except NftError:
                # Some other program came between, or it will be refused again.
                self._stale = True
                return self._changed(farms)

    def _changed(self, farms: Sequence[Farm]) -> Plan:
        if self._overtaken():
            kernel = planning.read()
            if kernel is None:
                return self._send(self._every(farms))
            farms = self._over_changed(kernel, farms)
        plan = self.running.plan(farms)
        if plan is None:
            return self._send(self._every(farms))
        if plan.transaction.change:
            changing.send(plan.transaction)
            self.running.changed(plan)
            self._own(plan)
        else:
            self.running.remember(farms)
        return plan

    def probed(self, when: Seconds) -> None:
        """Lets the table remember that checks are made."""
        with self._lock():
            plan = None if self._overtaken() else self.running.probed(when)
            if plan is not None:
                changing.send(plan.transaction)
                self.running.changed(plan)
                self._own(plan)

    def _every(self, farms: Sequence[Farm]) -> list[Farm]:
        return list({**self.farms, **{each.name: each for each in farms}}.values())

    def _overtaken(self) -> bool:
        """Whether somebody else has changed our table by now, however many others were changed."""
        generation = netlink.generation()
        known = self.running.kernel.generation == generation
        if self._events.drain() if known else self._events.drain_until(generation):
            self._stale = True
        elif not self._stale:
            self.running.kernel = replace(self.running.kernel, generation=generation)
        return self._stale

    def _over_changed(self, kernel: KernelTable, farms: Sequence[Farm]) -> list[Farm]:
        """Somebody came first: what they did by hand goes on, and what is no longer there is
        left away. The table stays to be read by ``refresh``: there may be new farms."""
        mine = {each.name for each in farms}
        self.running.remember(farms)
        known = [
            self._with_memory(farm, mine=farm.name in mine) for farm in recall.recall(kernel).farms
        ]
        self.running = Running.of(kernel, known)
        return [each for each in known if each.name in mine]

    def weigh(self, farms: Sequence[Farm]) -> list[str]:
        """Takes over new weights. Only where slots change hands the table is changed; returns the
        names of the other farms, whose averages are not written."""
        plan = self.running.plan(farms)
        if plan is None:
            self.change(farms)
            return []
        names = _of_moved_slots(plan)
        waiting = [each for each in farms if each.name not in names]
        self.running.remember(waiting)
        if names:
            self.change([each for each in farms if each.name in names])
        return [each.name for each in waiting]

    def _send(self, farms: Iterable[Farm]) -> Plan:
        """All farms, compared with the table as it is now."""
        kernel, every = planning.read(), tuple(farms)
        checked = int(time.time()) if any(farm.checks for farm in every) else None
        plan = planning.between(kernel, every, probed=checked)
        with self._events.deaf():  # the table is read again in any case
            changing.send(plan.transaction)
        self._put_back = self._put_back or kernel is None
        self._events.drain()  # our own; what comes from now on is told
        again = planning.read()
        if again is None:
            raise NftError("the table is gone again", "does some other program flush the ruleset?")
        self.running = Running.of(again, plan.farms)
        return plan

    def _own(self, plan: Plan) -> None:
        """Takes our own change off the notifications. Whether another one came with it is told by
        the generation, which every transaction moves by one."""
        generation = netlink.generation()
        sent = 1 + bool(plan.transaction.clearing)
        expected = (self.running.kernel.generation + sent) % (1 << 32)
        if generation == expected:
            self._events.drain_until(generation)
            self.running.kernel = replace(self.running.kernel, generation=generation)
        # Else the notifications stay, and the table is read again.


def _state(record: Remembered) -> CheckState:
    return record.check.state if record.check else "up"


def _of_moved_slots(plan: Plan) -> set[str]:
    """The farms whose slots change hands."""
    found: set[str] = set()
    for change in plan.difference.maps if plan.difference else ():
        if change.map.name.startswith("slots"):
            for name, section in change.map.sections.items():
                if not change.come.keys().isdisjoint(section):
                    found.add(name)
    return found
