"""What a trial found."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from nftlbc.farms import Backend
from nftlbc.trial.plan import Plan

How = Literal["exact", "near", "chance", "hash", "none", "unknown"]
"""How a row is judged: to the last connection; within a connection or two of its share; within
what chance allows; by each client's hash; nobody may come; not at all."""

CheckName = Literal[
    "refused",
    "answered",
    "shares",
    "address",
    "takers",
    "port",
    "source",
    "persistence",
    "hash",
    "stayed",
    "moved",
    "open",
    "balancer",
    "hairpin",
]


@dataclass(frozen=True, slots=True)
class Row:
    """A backend (or those that can't be told apart), and how many connections came to it."""

    backends: tuple[Backend, ...]
    got: int
    due: Fraction
    """How many should have come."""
    low: int
    high: int
    """The fewest and the most that are right."""
    how: How
    why: str = ""
    """Why no new clients come: ``down``, ``drain``, ``weight 0``, ``backup``."""

    @property
    def ok(self) -> bool | None:
        """None: not judged."""
        return None if self.how == "unknown" else self.low <= self.got <= self.high

    @property
    def name(self) -> str:
        return " or ".join(backend.name for backend in self.backends)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, kept or broken."""

    name: CheckName
    text: str
    ok: bool | None
    """None: shown, not judged."""
    details: tuple[str, ...] = ()
    """What went wrong, one by one."""
    idea: str | None = None
    """Where to look; FILE stands for the farms file."""


@dataclass(frozen=True, slots=True)
class PoolResult:
    plan: Plan
    connections: int
    """That were made; fewer than planned where nothing answered."""
    rows: tuple[Row, ...]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        rows = all(row.ok is not False for row in self.rows)
        return rows and all(check.ok is not False for check in self.checks)

    @property
    def counted(self) -> int:
        """Connections that count for the shares."""
        return min(self.connections, self.plan.counted)


@dataclass(frozen=True, slots=True)
class Phase:
    down: tuple[str, ...]
    """``farm/backend`` of those put down for it; none in the first."""
    pools: tuple[PoolResult, ...]

    @property
    def ok(self) -> bool:
        return all(pool.ok for pool in self.pools)

    @property
    def connections(self) -> int:
        return sum(pool.connections for pool in self.pools)


@dataclass(frozen=True, slots=True)
class Trial:
    phases: tuple[Phase, ...]
    farms: int
    """Of the file."""
    tried: int
    """Of those, farms that were tried."""
    notes: tuple[str, ...] = ()
    """What was done otherwise than the reader may think."""

    @property
    def ok(self) -> bool:
        """What was seen is what the file promises."""
        return all(phase.ok for phase in self.phases)
