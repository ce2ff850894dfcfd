"""What a trial of a pool consists of: its targets, its connections, and how they are judged."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_address
from typing import Literal, TypeVar

from nftlbc.farms import KEYED_SCHEDULERS, Address, Key, Listener
from nftlbc.sandbox.request import Host, Request
from nftlbc.schedule.round_robin import slots as round_robin
from nftlbc.table.pool import Pool, slots_of

_T = TypeVar("_T")

Judged = Literal["turn", "random", "keyed", "refused"]
"""What the shares must be: those of a round robin, of a draw, of a hash; or nobody's."""
KeyValue = tuple[str | int, ...]
"""What a client is known by: the values of the keys of ``persist``, ``hash`` or ``consistent``."""


@dataclass(frozen=True, slots=True)
class Target:
    """A listener and one of its ports."""

    listener: Listener
    port: int

    def __str__(self) -> str:
        address = self.listener.address
        at = f"[{address}]" if ":" in address else address
        return f"{at}:{self.port}/{self.listener.protocol}"


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection, datagram or INIT that is to be made."""

    target: Target
    host: Host
    source: Address
    """Where it comes from; the balancer's own come from the listener's address."""
    source_port: int
    key: KeyValue = ()
    """What the farm knows the client by; empty where it knows nobody."""
    counted: bool = True
    """It counts for the shares. Others are made when those have been."""
    hold: bool = False

    @property
    def request(self) -> Request:
        return Request(
            self.host,
            None if self.host == "balancer" else self.source,
            self.target.listener.address,
            self.target.port,
            self.target.listener.protocol,
            self.source_port,
            self.hold,
        )

    def __str__(self) -> str:
        address = f"[{self.source}]" if ":" in self.source else self.source
        return f"{address}:{self.source_port} to {self.target}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The connections to one pool. In a wave no two clients are the same to the farm, so that
    all of it can be made at once; the next wave is made when it has ended."""

    pool: Pool
    targets: tuple[Target, ...]
    """The ports that are tried: of a range the first, the last and one between."""
    left_out: int
    """Listeners that are not tried, there being too many."""
    judged: Judged
    turn: int
    """Connections after which a round robin begins again; 1 for all others."""
    waves: tuple[tuple[Connection, ...], ...]

    @property
    def counted(self) -> int:
        return sum(each.counted for wave in self.waves for each in wave)

    @property
    def made(self) -> int:
        return sum(map(len, self.waves))


def keys_of(pool: Pool) -> tuple[Key, ...]:
    """What the farm knows its clients by, if anything."""
    farm = pool.farm
    if farm.persistence is not None:
        return farm.persistence.keys
    return farm.balance.keys if farm.balance.scheduler in KEYED_SCHEDULERS else ()


def judged_by(pool: Pool) -> Judged:
    scheduler = pool.farm.balance.scheduler
    if not pool.takers:
        return "refused"
    if scheduler in KEYED_SCHEDULERS:
        return "keyed"
    return "random" if scheduler == "random" else "turn"


def weights_of(pool: Pool) -> tuple[int, ...]:
    """Of those that take new clients."""
    if pool.farm.moving:
        # A fixed number of slots, shared out anew where somebody is down.
        slots = Counter(slots_of(pool))
        return tuple(slots[taker] for taker in pool.takers)
    return tuple(pool.backends[taker].weight for taker in pool.takers)


def shares_of(pool: Pool) -> dict[int, Fraction]:
    """What the file promises to each that takes new clients, by its number."""
    weights = weights_of(pool)
    total = sum(weights)
    return {
        taker: Fraction(weight, total) for taker, weight in zip(pool.takers, weights, strict=True)
    }


def turn_of(pool: Pool) -> int:
    """Connections after which its round robin begins again."""
    return len(round_robin(weights_of(pool)).order) if judged_by(pool) == "turn" else 1


def targets_of(pool: Pool, most: int) -> tuple[tuple[Target, ...], int]:
    """The ports to try, and how many listeners are left out because there are more than most."""
    listeners = [each for each in pool.farm.listeners if each.family == pool.family]
    chosen = spread(listeners, most)
    targets = []
    for each in chosen:
        middle = (each.first + each.last) // 2
        ports = dict.fromkeys((each.first, middle, each.last))
        targets += [Target(each, port) for port in ports]
    return tuple(targets), len(listeners) - len(chosen)


def spread(things: Sequence[_T], most: int) -> list[_T]:
    """At most so many of the things, from all over them, in their order."""
    if len(things) <= most:
        return list(things)
    return [things[number * len(things) // most] for number in range(most)]


def key_value(keys: Sequence[Key], source: Address, source_port: int, target: Target) -> KeyValue:
    """What a connection's client is known by."""
    family = target.listener.family
    parts: list[str | int] = []
    for key in keys:
        match key.field:
            case "source-ip":
                parts.append(_cut(source, key.bits(family)))
            case "destination-ip":
                parts.append(_cut(target.listener.address, key.bits(family)))
            case "source-port":
                parts.append(source_port)
            case "destination-port":
                parts.append(target.port)
    return tuple(parts)


@functools.lru_cache(maxsize=65_536)
def _cut(address: Address, bits: int | None) -> str:
    if bits is None:
        return address
    number = ip_address(address)
    rest = number.max_prefixlen - bits
    return f"{int(number) >> rest << rest:x}/{bits}"
