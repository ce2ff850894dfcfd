"""What status knows, as values that every rendering shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nftlbc import times
from nftlbc.farms import Address, Family, Listener
from nftlbc.states import NOT_YET, STALE, HandState, Seconds

State = Literal["up", "draining", "down", "disabled"]
STATES: tuple[State, ...] = ("up", "draining", "down", "disabled")
Cause = Literal["file", "check", "hand"]
"""Who says so."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of connections to one backend: what came from the clients, and what went to them."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class BackendStatus:
    name: str
    address: Address
    port: int | None
    backup: bool
    weight: int
    """What the file says."""
    live_weight: float
    """What it counts with now: 0 where it takes no new clients."""
    share: float
    """Of the new clients of its pool, 0 to 1."""
    state: State
    cause: Cause
    since: Seconds | None
    """None: not known, as of one that always was so."""
    by: str
    """The user, where the cause is a hand; else empty."""
    reason: str
    """A check's short word; else empty."""
    hand: HandState | None
    """What was done by hand, also where something worse holds."""
    new: int | None
    """Connections since the table has it; None: it has no counter."""
    open: int | None
    """TCP connections, SYN_SENT to ESTABLISHED; None: the kernel does not tell."""
    flows: int | None
    """The same for UDP and SCTP: those that the kernel has not forgotten."""
    sticky: int | None
    """Clients that are known; None where the farm knows nobody again."""
    traffic: Traffic | None
    """None: not counted."""


@dataclass(frozen=True, slots=True)
class StickyMap:
    """Where a pool's clients are known."""

    name: str
    clients: int
    """Of the pool."""
    entries: int
    """Of all farms that share it."""
    size: int

    @property
    def fullness(self) -> float:
        """0 to 1."""
        return self.entries / self.size


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A farm in one family."""

    farm: str
    family: Family
    listeners: tuple[Listener, ...]
    balance: str
    persist: str
    """``source-ip for 300s``; empty: it knows nobody again."""
    quorum: int
    taking: int
    """Backends, without the backups, that take new clients."""
    sticky: StickyMap | None
    counted: bool
    """``count traffic``."""
    backends: tuple[BackendStatus, ...]

    @property
    def degraded(self) -> bool:
        """Below its quorum: on its backups, if it has some."""
        return self.taking < self.quorum

    @property
    def closed(self) -> bool:
        """Nobody takes new clients."""
        return not any(each.share for each in self.backends)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The load balancer at one moment; of one farm where that was asked for."""

    time: float
    """Since 1970."""
    digest: str
    """Of the farms as they were applied, without what was done and found since."""
    asleep: bool
    """The table is switched off: nothing is balanced."""
    pools: tuple[PoolStatus, ...]
    """Sorted by farm and family."""
    astray: int
    """Backends in the table whose farm listens nowhere: somebody's hand."""
    gone: int
    """Connections that are open to backends that the table no longer has; 0 of one farm."""
    unknown: str
    """Why open connections are not known; empty: they are."""
    probed: float | None = None
    """When checks were last made, since 1970; NOT_YET: farms have some, and nobody has made them;
    None: no farm has some, as far as the table remembers."""

    @property
    def silence(self) -> str:
        """``no checks for 3h 0m``, where nobody makes them; empty: they are made, or there are
        none."""
        if self.probed is None or self.time - self.probed <= STALE:
            return ""
        if self.probed == NOT_YET:
            return "no checks were made yet"
        return f"no checks for {times.left(int(self.time - self.probed) * 1000)}"

    @property
    def farms(self) -> int:
        return len({pool.farm for pool in self.pools})

    def backends(self) -> Iterator[tuple[PoolStatus, BackendStatus]]:
        for pool in self.pools:
            for each in pool.backends:
                yield pool, each
