"""A trial without a kernel: the interpreter answers, and a test may falsify what it says."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.explain.interpreter import Interpreter, in_turn
from nftlbc.explain.outcome import Delivered, Packet
from nftlbc.farms import Farm
from nftlbc.sandbox import Answer
from nftlbc.table.build import build
from nftlbc.table.model import Counter
from nftlbc.table.pool import pool_of
from nftlbc.trial import chance, ground, prediction
from nftlbc.trial.judge import judge
from nftlbc.trial.plan import Connection, Plan
from nftlbc.trial.result import Check, Phase, PoolResult, Row, Trial
from nftlbc.trial.rows import Rows
from nftlbc.trial.tally import Memory, Setting
from nftlbc.trial.visits import Planner

BALANCER = {4: "10.255.0.1", 6: "2001:db8:ffff::1"}

Falsify = Callable[[Connection, Answer], Answer]


def farms_of(tmp_path: Path, text: str) -> tuple[Farm, ...]:
    """The farms of a text; a mistake in it is the test's."""
    path = tmp_path / "farms.lb"
    path.write_text(text)
    farms, diagnostics = pipeline.read(str(path))
    assert not has_errors(diagnostics), draw(diagnostics)
    return farms


class World:
    """Farms, the table they are compiled to, and what a kernel would remember."""

    def __init__(self, *farms: Farm, **options: object) -> None:
        self.planner = Planner(ground.clients_of(farms), **options)  # type: ignore[arg-type]
        self.sticky: dict[str, dict[object, int]] = {}
        self.memory: Memory = {}
        self.load(*farms)

    def load(self, *farms: Farm) -> None:
        table = build(farms)
        self._interpreter = Interpreter(table)
        self._turns, self._dice = in_turn(), random.Random(7)
        self.setting = Setting(prediction.of(table), BALANCER, chance.FALSE_ALARM)

    def plan(self, farm: Farm, family: int = 4) -> Plan:
        return self.planner.first(pool_of(farm, family))  # type: ignore[arg-type]

    def again(self, before: Plan, farm: Farm) -> Plan:
        """The plan of the second phase, the farm having changed."""
        pool = pool_of(farm, before.pool.family)
        rows = Rows(pool, before.targets)
        lost = {key for key, row in self.memory.items() if not rows.is_live(row)}
        return self.planner.again(before, pool, lost)

    def answer(self, connection: Connection) -> Answer:
        listener = connection.target.listener
        packet = Packet(
            connection.source,
            connection.source_port,
            listener.address,
            connection.target.port,
            listener.protocol,
            "output" if connection.host == "balancer" else "prerouting",
        )
        walk = self._interpreter.walk(packet, sticky=self.sticky, draw=self._drawn)
        end = walk.outcome
        if not isinstance(end, Delivered):
            return Answer(connection.request, "refused", error="ECONNREFUSED")
        seen = {"kept": connection.source, "masqueraded": BALANCER[listener.family]}
        return Answer(
            connection.request,
            "answered",
            end.address,
            end.port,
            seen.get(end.source, end.source),
            connection.source_port,
        )

    def _drawn(self, counter: Counter) -> int:
        if counter.kind == "random":
            return self._dice.randrange(counter.modulus)
        return self._turns(counter)

    def made(self, plan: Plan, falsify: Falsify | None = None) -> list[tuple[Connection, Answer]]:
        """All connections of a plan, and their answers; the kernel's memory is true, what is
        told of it is falsified."""
        found = [(each, self.answer(each)) for wave in plan.waves for each in wave]
        return [(each, falsify(each, answer) if falsify else answer) for each, answer in found]

    def judge(self, plan: Plan, falsify: Falsify | None = None) -> PoolResult:
        return judge(plan, self.made(plan, falsify), self.memory, self.setting)


def tried(farm: Farm, falsify: Falsify | None = None, family: int = 4) -> PoolResult:
    """One pool's first phase."""
    world = World(farm)
    return world.judge(world.plan(farm, family), falsify)


def trial_of(*pools: PoolResult, farms: int | None = None) -> Trial:
    """A trial of one phase."""
    return Trial((Phase((), pools),), farms or len(pools), len(pools))


def down(farm: Farm, *names: str) -> Farm:
    """The farm with some of its backends down."""
    return replace(
        farm,
        backends=tuple(
            replace(each, state="down") if each.name in names else each for each in farm.backends
        ),
    )


def named(checks: Sequence[Check], name: str) -> Check:
    """The one check of a name."""
    [check] = [check for check in checks if check.name == name]
    return check


def wrong(result: PoolResult) -> set[str]:
    """The names of the checks that failed."""
    return {check.name for check in result.checks if check.ok is False}


def got(rows: Sequence[Row]) -> dict[str, int]:
    return {row.name: row.got for row in rows}
