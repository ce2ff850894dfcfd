"""What the answers to a pool's connections say, one after the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nftlbc.farms import Address, Family
from nftlbc.sandbox.request import Answer
from nftlbc.trial.plan import Connection, KeyValue, Plan
from nftlbc.trial.result import CheckName
from nftlbc.trial.rows import Rows, arrival

Memory = dict[KeyValue, int]
"""To which row each known client of a pool belongs; kept from one phase to the next."""
Made = Iterable[tuple[Connection, Answer]]
"""Connections in the order of their waves, and what came of them."""


@dataclass(frozen=True)
class Setting:
    """What can be known of a sandbox before anything is sent."""

    predict: Callable[[Connection], str | None]
    """For hash and consistent: the name of the backend that a connection must meet."""
    balancer: Mapping[Family, Address]
    """The balancer's own addresses, as the backends see them."""
    doubt: float
    """See ``chance.likely``, for each backend of a random balance."""


class Fault(NamedTuple):
    connection: Connection
    what: str


@dataclass
class Tally:
    """Counts, and what was not as it should be."""

    plan: Plan
    setting: Setting
    memory: Memory
    made: int = 0
    got: Counter[int] = field(default_factory=Counter)
    """By row; counted connections only, here and in the next three."""
    known: Counter[int] = field(default_factory=Counter)
    """Of clients that were known: where they had to go."""
    hashed: Counter[int] = field(default_factory=Counter)
    """Where their hash had to send them."""
    hash_met: int = 0
    """Those of them that came there."""
    drawn: int = 0
    """Of clients for whom the scheduler had to choose, by turns or by chance."""
    known_anew: Counter[int] = field(default_factory=Counter)
    """Of those in ``known``, the clients that were new when it began."""
    returned: set[KeyValue] = field(default_factory=set)
    """Known clients that came again."""
    moved: Counter[int] = field(default_factory=Counter)
    """Clients whose backend was gone, by its row."""
    refusals: int = 0
    """Counted connections that had to be refused."""
    own: Counter[str] = field(default_factory=Counter)
    """Connections by the host that they came from."""
    faults: defaultdict[CheckName, list[Fault]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.pool = self.plan.pool
        self.rows = Rows(self.pool, self.plan.targets)
        self._takers = {self.rows.of(taker) for taker in self.pool.takers}
        self._sticky = self.pool.farm.persistence is not None
        self._keyed = self.plan.judged == "keyed"
        self._consistent = self.pool.farm.balance.scheduler == "consistent"
        self._before = dict(self.memory)

    def add(self, connection: Connection, answer: Answer) -> None:
        self.made += 1
        self.own[connection.host] += 1
        home = self.memory.get(connection.key) if connection.key else None
        if self._sticky and home is not None and self.rows.is_live(home):
            self._known(connection, answer, home)
        elif not self._takers:
            self._refused(connection, answer)
        else:
            self._new(connection, answer, home)

    def _known(self, connection: Connection, answer: Answer, home: int) -> None:
        if connection.counted:
            self.returned.add(connection.key)
            self.known[home] += 1
            self.known_anew[home] += connection.key not in self._before
        row = self._arrived(connection, answer)
        if row is not None and row != home:
            name = self.rows.name
            self._fault("persistence", connection, f"met {name(row)}, but is {name(home)}'s")

    def _new(self, connection: Connection, answer: Answer, home: int | None) -> None:
        due = self._hashed(connection) if self._keyed else None
        if connection.counted:
            if due is None:
                self.drawn += 1
            else:
                self.hashed[due] += 1
        row = self._arrived(connection, answer)
        if row is None:
            return
        self.hash_met += connection.counted and row == due
        if self._sticky and home is not None:
            self.moved[home] += connection.counted
        if row not in self._takers:
            self._fault("takers", connection, f"reached {self.rows.name(row)}")
        elif due is not None and row != due:
            name = self.rows.name
            self._fault("hash", connection, f"met {name(row)}, its hash says {name(due)}")
        if self._consistent and not self._sticky:
            self._compare(connection, row)
        if connection.key:
            self.memory[connection.key] = row

    def _compare(self, connection: Connection, row: int) -> None:
        """With consistent hashing, nobody moves whose backend is still there."""
        before = self._before.get(connection.key)
        if before is None:
            return
        if before not in self._takers:
            self.moved[before] += connection.counted and connection.key not in self.returned
        elif row != before:
            name = self.rows.name
            what = f"met {name(row)}, was with {name(before)}, which is still there"
            self._fault("stayed", connection, what)
        self.returned.add(connection.key)

    def _refused(self, connection: Connection, answer: Answer) -> None:
        self.refusals += connection.counted
        right = {"refused"}
        if connection.target.listener.protocol != "tcp":
            right |= {"unreachable", "silent"}  # the kernel limits how often it tells
        if answer.outcome not in right:
            self._fault("refused", connection, _outcome(answer))

    def _hashed(self, connection: Connection) -> int | None:
        name = self.setting.predict(connection)
        return None if name is None else self.rows.named(name)

    def _arrived(self, connection: Connection, answer: Answer) -> int | None:
        """The row that answered, if any; notes what is wrong about it."""
        if answer.outcome != "answered":
            self._fault("answered", connection, _outcome(answer))
            return None
        met = self.rows.met(connection.target, answer)
        if met is None:
            self._fault("address", connection, f"reached {answer.backend}:{answer.backend_port}")
            return None
        if not met.right_port:
            ports = {arrival(each, connection.target) for each in self.rows.backends(met.row)}
            due = " or ".join(map(str, sorted(ports)))
            name = self.rows.name(met.row)
            what = f"reached port {answer.backend_port} of {name}, not {due}"
            self._fault("port", connection, what)
        source = source_due(self.plan, connection, self.setting)
        if answer.seen != source:
            name = self.rows.name(met.row)
            self._fault("source", connection, f"{name} saw {answer.seen}, not {source}")
        if connection.counted:
            self.got[met.row] += 1
        return met.row

    def _fault(self, name: CheckName, connection: Connection, what: str) -> None:
        self.faults[name].append(Fault(connection, what))


def source_due(plan: Plan, connection: Connection, setting: Setting) -> Address:
    """The address that a backend must see."""
    farm, family = plan.pool.farm, plan.pool.family
    if farm.forward.kind == "snat":
        return next(each for each in farm.forward.addresses if (":" in each) == (family == 6))
    if farm.forward.kind == "masquerade":
        return setting.balancer[family]
    if connection.host == "servers":
        # A hairpin: with its own address, a neighbour would answer it past the balancer.
        return setting.balancer[family]
    return connection.source


def _outcome(answer: Answer) -> str:
    if answer.outcome == "answered":
        return f"was answered by {answer.backend}:{answer.backend_port}"
    return f"{answer.outcome} ({answer.error})" if answer.outcome == "failed" else answer.outcome
