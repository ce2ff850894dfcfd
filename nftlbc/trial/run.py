"""A trial from beginning to end: plan it, build its sandbox, make the connections, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from nftlbc.farms import Farm
from nftlbc.nft import program
from nftlbc.nft import script as nft_script
from nftlbc.sandbox.request import Answer
from nftlbc.sandbox.sandbox import Sandbox
from nftlbc.table.model import Table
from nftlbc.table.pool import pool_of
from nftlbc.trial import chance, ground, prediction
from nftlbc.trial.checks import open_connections
from nftlbc.trial.choice import preference
from nftlbc.trial.judge import judge
from nftlbc.trial.plan import Connection, Plan
from nftlbc.trial.result import Check, Phase, PoolResult, Trial
from nftlbc.trial.rows import Rows
from nftlbc.trial.tally import Memory, Setting
from nftlbc.trial.visits import AIM, Planner

BUDGET = 6000
"""Connections in all; farms beyond are not tried."""

_AT_ONCE = 64
_PATIENCE = 2.0
"""Seconds until a connection counts as silent."""
_LESS_PATIENCE = 0.3
"""The same, once a whole pool was silent: others will be."""

Progress = Callable[[int, int, str], None]
"""Called with the connections made, those planned, and the farm that is tried."""


@dataclass(frozen=True)
class Options:
    clients: int | None = None
    """For each pool; None: as many as are good for its way of balancing."""
    connections: int | None = None
    """In all; None: 60 for each pool, BUDGET at most."""
    down: tuple[tuple[str, str], ...] = ()
    """Farms and backends that go down for a second phase."""


@dataclass
class _PoolTrial:
    """A pool from phase to phase."""

    plan: Plan
    memory: Memory = field(default_factory=dict)
    began: float = 0.0
    """When its first client came, by the monotonic clock."""
    held: list[Answer] = field(default_factory=list)

    @property
    def farm(self) -> str:
        return self.plan.pool.farm.name


def try_farms(
    farms: Sequence[Farm],
    options: Options = Options(),
    *,
    nft: str | None = None,
    write: ground.Write = nft_script.write,
    progress: Progress | None = None,
) -> Trial:
    """Tries valid farms in a sandbox.

    nft: the command; None: the one of this machine.
    write: from the table to the script that is loaded.
    Raises SandboxError (SandboxNotAllowed, ProgramMissing) and NftError where the system
    refuses.
    """
    nft = nft or program.find()
    program.version(nft)
    return _Run(farms, options, nft, write, progress or (lambda *_: None)).run()


class _Run:
    def __init__(
        self,
        farms: Sequence[Farm],
        options: Options,
        nft: str,
        write: ground.Write,
        progress: Progress,
    ) -> None:
        self._farms = list(farms)
        self._options = options
        self._nft = nft
        self._write = write
        self._progress = progress
        self._clients = ground.clients_of(farms)
        self._doubt = chance.FALSE_ALARM / self._draws()
        self._patience = _PATIENCE

    def run(self) -> Trial:
        planner = Planner(
            self._clients,
            aim=self._aim,
            wanted=self._options.clients,
            hold=bool(self._options.down),
            doubt=self._doubt,
        )
        pools = self._choose(planner)
        with ground.sandbox_of([pool.plan for pool in pools], self._clients, self._nft) as box:
            wanted = list(dict.fromkeys(pool.farm for pool in pools))
            loaded, table = ground.load_what_fits(box, self._farms, wanted, self._write)
            pools = self._loaded(pools, loaded)
            phases = [Phase((), self._phase(box, pools, table))]
            if self._options.down:
                down = _with_down(loaded, self._options.down)
                table = ground.load(box, down, self._write)
                changed = {farm.name: farm for farm in down}
                for pool in pools:
                    self._turn(planner, pool, changed)
                names = tuple("/".join(each) for each in self._options.down)
                phases.append(Phase(names, self._phase(box, pools, table)))
        tried = len({pool.farm for pool in pools})
        notes = self._notes(len(loaded), len(wanted), pools)
        return Trial(tuple(phases), len(self._farms), tried, notes)

    # Planning

    def _draws(self) -> int:
        """Backends that a random balance may wrongly be blamed for, in all phases."""
        phases = 2 if self._options.down else 1
        count = sum(len(f.backends) for f in self._farms if f.balance.scheduler == "random")
        return max(1, count * phases)

    def _asked_each(self) -> int | None:
        """Connections for each pool, if all that are asked for are shared out among all."""
        asked = self._options.connections
        return asked and asked // max(1, sum(len(farm.families) for farm in self._farms))

    @property
    def _aim(self) -> int:
        """Connections for each pool that is tried."""
        asked = self._options.connections
        return AIM if asked is None else max(self._asked_each() or 0, min(asked, AIM))

    @property
    def _budget(self) -> int | None:
        """Connections in all; None where those asked for are enough for every pool."""
        return None if (self._asked_each() or 0) >= AIM else self._options.connections or BUDGET

    def _choose(self, planner: Planner) -> list[_PoolTrial]:
        """Pools until the budget is spent, of at least one farm and of all that go down; those
        that should rather be tried come first."""
        budget, spent = self._budget, 0
        downed = {farm for farm, _ in self._options.down}
        pools: list[_PoolTrial] = []
        for number in preference(self._farms, downed):
            farm = self._farms[number]
            plans = [planner.first(pool_of(farm, family)) for family in farm.families]
            spent += sum(plan.made for plan in plans)
            if pools and budget is not None and spent > budget and farm.name not in downed:
                break
            pools += [_PoolTrial(plan) for plan in plans]
        return pools

    def _loaded(self, pools: Sequence[_PoolTrial], farms: Sequence[Farm]) -> list[_PoolTrial]:
        """The pools of these farms, in the file's order."""
        place = {farm.name: number for number, farm in enumerate(farms)}
        return sorted((p for p in pools if p.farm in place), key=lambda pool: place[pool.farm])

    def _turn(self, planner: Planner, pool: _PoolTrial, farms: dict[str, Farm]) -> None:
        """Plans a pool for the second phase."""
        before = pool.plan.pool
        now = pool_of(farms[before.farm.name], before.family)
        rows = Rows(now, pool.plan.targets)
        lost = {key for key, row in pool.memory.items() if not rows.is_live(row)}
        pool.plan = planner.again(pool.plan, now, lost)

    def _notes(self, loaded: int, wanted: int, pools: Sequence[_PoolTrial]) -> tuple[str, ...]:
        notes = [
            f"farm {pool.farm}: {pool.plan.left_out} of its listeners were not tried"
            for pool in pools
            if pool.plan.left_out
        ]
        tried, all_ = len({pool.farm for pool in pools}), len(self._farms)
        if loaded < all_:
            notes.append("loaded only the farms tried: a larger script is refused to all but root")
        if tried < all_:
            more = "; --connections raises it" if tried == wanted else ""
            notes.append(f"tried {tried} of {all_} farms{more}")
        return tuple(notes)

    # Connections

    def _phase(
        self, box: Sandbox, pools: Sequence[_PoolTrial], table: Table
    ) -> tuple[PoolResult, ...]:
        planned, made = sum(pool.plan.made for pool in pools), 0
        families = {pool.plan.pool.family for pool in pools}
        setting = Setting(
            prediction.of(table),
            {family: box.balancer_address(family) for family in families},
            self._doubt,
        )
        results = []
        still_open = [_talk(box, pool) for pool in pools]
        for pool, check in zip(pools, still_open, strict=True):
            self._progress(made, planned, pool.farm)
            result = self._pool(box, pool, setting)
            if check is not None:
                result = replace(result, checks=(*result.checks, check))
            results.append(result)
            made += pool.plan.made
        return tuple(results)

    def _pool(self, box: Sandbox, pool: _PoolTrial, setting: Setting) -> PoolResult:
        pool.began = pool.began or monotonic()
        made: list[tuple[Connection, Answer]] = []
        for wave in pool.plan.waves:
            requests = [each.request for each in wave]
            answers = box.ask(requests, parallel=_AT_ONCE, timeout=self._patience)
            made += zip(wave, answers, strict=True)
            if pool.plan.pool.takers and all(each.outcome == "silent" for each in answers):
                self._patience = _LESS_PATIENCE
                break
        pool.held = [answer for _, answer in made if answer.connection is not None]
        persistence = pool.plan.pool.farm.persistence
        elapsed = (monotonic() - pool.began) * 1000
        certain = persistence is None or elapsed < persistence.timeout
        return judge(pool.plan, made, pool.memory, setting, certain=certain)


def _talk(box: Sandbox, pool: _PoolTrial) -> Check | None:
    """Whether the pool's open connections go on; closes them. None where there are none."""
    plan, held, pool.held = pool.plan, pool.held, []
    if plan.pool.farm.on_down == "reset":
        gone = {each.address for each in plan.pool.backends if not each.live}
        box.release([each for each in held if each.backend in gone])
        held = [each for each in held if each.backend not in gone]
    if not held:
        return None
    check = open_connections(held, box.talk(held))
    box.release(held)
    return check


def _with_down(farms: Sequence[Farm], down: Sequence[tuple[str, str]]) -> list[Farm]:
    """The farms with these backends down."""
    gone = set(down)
    return [
        replace(
            farm,
            backends=tuple(
                replace(each, state="down") if (farm.name, each.name) in gone else each
                for each in farm.backends
            ),
        )
        for farm in farms
    ]
