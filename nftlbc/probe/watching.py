"""The running table as the loop keeps it: read once, changed in step, read again only when
somebody else has changed it, and put back when it is gone. Everything here may wait for the
kernel, and runs in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nftlbc.farms import Farm
from nftlbc.nft import kernel as changing
from nftlbc.nft import lock, netlink
from nftlbc.nft.program import NftError
from nftlbc.plan import planning, recall, settling
from nftlbc.plan.planning import Plan
from nftlbc.plan.running import Running
from nftlbc.plan.settling import Settled


class Watched:
    """Raises NftError where the kernel refuses, as all its methods do."""

    def __init__(self) -> None:
        self._events = netlink.Events()
        kernel = planning.read()
        if kernel is None:
            self._events.close()
            raise NftError(planning.NO_TABLE, planning.APPLY_FIRST)
        self.running = Running.of(kernel, recall.recall(kernel).farms)

    def fileno(self) -> int:
        """To poll: something changed in some table."""
        return self._events.fileno()

    def close(self) -> None:
        self._events.close()

    @property
    def farms(self) -> Mapping[str, Farm]:
        return self.running.farms

    def disturbed(self) -> bool:
        """Whether somebody else has changed our table; never waits."""
        return self._events.drain()

    def refresh(self) -> bool:
        """Reads the table again; True where it was gone and is put back, as it was last.

        What was done by hand is taken from the table, what checks found from memory.
        """
        with lock.held():
            self._events.drain()
            kernel = planning.read()
            if kernel is None:
                self._send(tuple(self.farms.values()))
                return True
            known = recall.recall(kernel).farms
            self.running = Running.of(kernel, [self._with_memory(farm) for farm in known])
            return False

    def _with_memory(self, farm: Farm) -> Farm:
        """A farm as the table has it, with what this process knows better."""
        before = self.farms.get(farm.name)
        if before is None:
            return farm
        memory = {(each.address, each.port): each.remembered for each in before.backends}
        backends = []
        for each in farm.backends:
            mine = memory.get((each.address, each.port))
            if mine is not None:
                record = replace(each.remembered, check=mine.check, measured=mine.measured)
                each = replace(each, remembered=record)
            backends.append(each)
        return replace(
            farm, backends=tuple(backends), checks=before.checks, on_change=before.on_change
        )

    def remember(self, farms: Iterable[Farm]) -> None:
        """Farms of which only what they are checked by has changed."""
        self.running.remember(farms)

    def change(self, farms: Sequence[Farm]) -> tuple[Plan, Settled]:
        """Sends what these farms need in one transaction, and settles what follows from it."""
        with lock.held():
            if self._events.drain():
                farms = self._over_changed(farms)
            plan = self.running.plan(farms)
            if plan is not None and not plan.transaction.change:
                self.running.remember(farms)
                return plan, Settled()
            if plan is not None:
                changing.send(plan.transaction)
                self.running.changed(plan)
                self._own(plan)
            else:
                plan = self._send([*{**self.farms, **{each.name: each for each in farms}}.values()])
            return plan, settling.settle(plan)

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

    def _over_changed(self, farms: Sequence[Farm]) -> list[Farm]:
        """Somebody came first: what they did by hand goes on, and what is no longer there is
        left away."""
        kernel = planning.read()
        mine = {each.name: each for each in farms}
        if kernel is None:
            return list(farms)
        self.running.remember(mine.values())
        known = [self._with_memory(farm) for farm in recall.recall(kernel).farms]
        self.running = Running.of(kernel, known)
        return [each for each in known if each.name in mine]

    def _send(self, farms: Sequence[Farm]) -> Plan:
        """All farms, compared with the table as it is now."""
        kernel = planning.read()
        plan = planning.between(kernel, farms)
        changing.send(plan.transaction)
        again = planning.read()
        if again is None:
            raise NftError("the table is gone again", "does some other program flush the ruleset?")
        self.running = Running.of(again, farms)
        self._events.drain()
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


def _of_moved_slots(plan: Plan) -> set[str]:
    """The farms whose slots change hands."""
    found: set[str] = set()
    for change in plan.difference.maps if plan.difference else ():
        if change.map.name.startswith("slots"):
            for name, section in change.map.sections.items():
                if not change.come.keys().isdisjoint(section):
                    found.add(name)
    return found
