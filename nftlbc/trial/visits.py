"""Who comes, where, and how often: the connections of each pool, wave by wave."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from random import Random

from nftlbc.farms import Address, Family
from nftlbc.sandbox.request import Host
from nftlbc.table.pool import Pool
from nftlbc.trial import chance
from nftlbc.trial.clients import Clients
from nftlbc.trial.plan import (
    Connection,
    KeyValue,
    Plan,
    Target,
    judged_by,
    key_value,
    keys_of,
    shares_of,
    targets_of,
    turn_of,
)

AIM = 60
"""Connections for each pool, where nothing asks for more."""
LONGEST_TURN = 2048
"""A round robin with more slots is not made to turn once; its shares are judged less exactly."""
MOST_DRAWS = 2048
"""Connections for a random balance, however small its smallest share."""
MOST_LISTENERS = 1000
"""Of a pool, that are tried."""
HELD = 40
"""Connections of a pool that stay open from the first phase to the second."""

_VISITS = 3
"""How often a client comes to a pool with persistence."""
_FIRST_PORT, _PORTS = 1024, 65536 - 1024
_REFUSED = 6
"""Connections to a pool where nobody takes any."""
_LOOKED_AT = 16
"""Targets that are looked at for a client's next visit."""

Wave = list[Connection]


class Planner:
    """Plans the connections to pools; the same for the same pools in the same order.

    aim: connections for each pool; more where exactness takes more.
    wanted: clients for each pool; None: as many as are good for its way of balancing.
    hold: some connections stay open.
    doubt: see ``chance.likely``, for each backend of a random balance.
    """

    def __init__(
        self,
        clients: Mapping[Family, Clients],
        *,
        aim: int = AIM,
        wanted: int | None = None,
        hold: bool = False,
        doubt: float = chance.FALSE_ALARM,
    ) -> None:
        self._clients = clients
        self._aim = aim
        self._wanted = wanted
        self._hold = hold
        self._doubt = doubt
        # Of all clients together: behind a masquerade none has to be changed. Two changed at once
        # can become the same; then a packet is lost, and its successor takes another turn.
        self._ports = itertools.count()

    def first(self, pool: Pool) -> Plan:
        """The first time that a pool is tried."""
        return self._first(pool, *targets_of(pool, MOST_LISTENERS))

    def _first(self, pool: Pool, targets: tuple[Target, ...], left_out: int) -> Plan:
        if judged_by(pool) == "refused":
            some = range(max(len(targets), _REFUSED))
            waves = [[self._connection(pool, n, _rotated(targets, n)) for n in some]]
        elif keys_of(pool):
            waves = self._comers_and_returners(pool, targets)
        else:
            waves = [self._crowd(pool, targets)]
        waves[-1] = self._held(waves[-1])
        return self._plan(pool, targets, left_out, waves)

    def again(self, before: Plan, pool: Pool, lost: Collection[KeyValue]) -> Plan:
        """The same pool once more, with other states of its backends.

        ``lost`` are the clients whose backend is gone. Whoever came before comes again.
        """
        targets = before.targets
        if not keys_of(pool):
            return self._first(pool, targets, before.left_out)
        known = [each for each in before.waves[0] if each.counted]
        back = self._return(known, 1, pool, targets)
        if not pool.takers:
            return self._plan(pool, targets, before.left_out, [back])
        sticky = pool.farm.persistence is not None
        homeless = [each for each in back if each.key in lost] if sticky else []
        # Clients known by their hash need no new ones beside them, unless they can't return.
        wanted = len(known) - len(back)
        if sticky:
            wanted = self._newcomers_wanted(pool, targets, len(homeless), len(known))
        seen = {each.key for each in known}
        new = self._newcomers(pool, targets, wanted, seen, len(known), len(homeless))
        waves = [[*back, *new]]
        if sticky:
            waves.append(self._return([*homeless, *new], 2, pool, targets))
        return self._plan(pool, targets, before.left_out, waves)

    def _plan(
        self, pool: Pool, targets: tuple[Target, ...], left_out: int, waves: list[Wave]
    ) -> Plan:
        """Adds what every pool is tried with: targets not met yet, the balancer, a hairpin."""
        met = {each.target for wave in waves for each in wave}
        missed = [each for each in targets if each not in met]
        beside = [self._connection(pool, number, at) for number, at in enumerate(missed)]
        front = next((each for each in targets if each.listener.protocol == "tcp"), targets[0])
        address = front.listener.address
        beside.append(self._made(pool, front, "balancer", address))
        if pool.farm.hairpin and pool.takers:
            backend = pool.backends[pool.takers[0]]
            beside.append(self._made(pool, front, "servers", backend.address))
        waves = [*waves, *_apart(replace(each, counted=False) for each in beside)]
        return Plan(
            pool,
            targets,
            left_out,
            judged_by(pool),
            turn_of(pool),
            tuple(tuple(wave) for wave in waves if wave),
        )

    def _crowd(self, pool: Pool, targets: Sequence[Target]) -> Wave:
        """Connections of clients that the farm doesn't know."""
        count = _whole(max(self._least(pool), len(targets)), turn_of(pool), self._most(pool))
        clients = min(self._wanted or count, self._clients[pool.family].count)
        return [
            self._connection(pool, number % clients, _rotated(targets, number))
            for number in range(count)
        ]

    def _comers_and_returners(self, pool: Pool, targets: Sequence[Target]) -> list[Wave]:
        count = self._newcomers_wanted(pool, targets, 0, 0)
        waves = [self._newcomers(pool, targets, count, set(), 0)]
        visits = 2
        if pool.farm.persistence is not None:
            most = _VISITS if self._wanted is None else self._aim
            visits = max(2, min(most, self._aim // max(1, len(waves[0]))))
        for visit in range(1, visits):
            waves.append(self._return(waves[0], visit, pool, targets))
        return waves

    def _newcomers_wanted(
        self, pool: Pool, targets: Sequence[Target], homeless: int, known: int
    ) -> int:
        """How many shall be new to the farm: those whose backend is gone, and others."""
        persistence = pool.farm.persistence
        least = self._wanted or self._least(pool)
        room = self._clients[pool.family].count - known
        if persistence is not None:
            if self._wanted is None:
                least = max(-(-self._aim // _VISITS), self._least_drawn(pool))
            if persistence.size is not None:  # whom the map has no room for is forgotten
                room = min(room, persistence.size - known)
        if not known:
            least = max(least, len(targets))
        most = min(room + homeless, self._most(pool))
        return max(homeless, _whole(max(least, homeless), turn_of(pool), most))

    def _newcomers(
        self,
        pool: Pool,
        targets: Sequence[Target],
        count: int,
        seen: set[KeyValue],
        client: int,
        homeless: int = 0,
    ) -> Wave:
        """Clients that the farm can tell apart, from the number ``client`` on: ``count`` with the
        homeless, or as many as there are, in whole turns."""
        count -= homeless
        wave: Wave = []
        attempts = 4 * count + len(targets)
        for number in range(min(attempts, self._clients[pool.family].count - client)):
            if len(wave) >= count:
                break
            each = self._connection(pool, client + number, _rotated(targets, number))
            if each.key not in seen:
                seen.add(each.key)
                wave.append(each)
        turn = turn_of(pool)
        whole = (len(wave) + homeless) // turn * turn - homeless
        return wave[:whole] if whole > 0 else wave

    def _return(
        self, wave: Sequence[Connection], visit: int, pool: Pool, targets: Sequence[Target]
    ) -> Wave:
        """The same clients again; where the farm knows them all the same, they come from another
        port, from a neighbour's address, to another target.

        They come in another order: in the same one, a round robin after whole turns would give
        each its own backend again without remembering anybody. Those that are known by their
        port come over TCP alone: the next datagram from a port belongs to the old flow, and the
        farm is not asked.
        """
        keys = keys_of(pool)
        by_port = any(key.field == "source-port" for key in keys)
        index = {target: number for number, target in enumerate(targets)}
        neighbours = self._clients[pool.family].neighbours
        back: Wave = []
        for each in wave:
            first = index[each.target]
            sources = [each.source]
            if visit < neighbours:
                sources.insert(0, str(ip_address(each.source) + visit))
            ways = (
                (source, targets[(first + visit + step) % len(targets)])
                for step in range(min(_LOOKED_AT, len(targets)))
                for source in sources
            )
            for source, target in (*ways, (each.source, each.target)):
                if by_port and target.listener.protocol != "tcp":
                    continue
                if key_value(keys, source, each.source_port, target) == each.key:
                    port = each.source_port if by_port else None
                    back.append(self._made(pool, target, "clients", source, port))
                    break
        Random(visit).shuffle(back)
        return back

    def _connection(self, pool: Pool, client: int, target: Target) -> Connection:
        clients = self._clients[pool.family]
        return self._made(pool, target, "clients", clients.address(client % clients.count))

    def _made(
        self, pool: Pool, target: Target, host: Host, source: Address, port: int | None = None
    ) -> Connection:
        if port is None:
            port = _FIRST_PORT + next(self._ports) % _PORTS
        key = key_value(keys_of(pool), source, port, target)
        return Connection(target, host, source, port, key)

    def _held(self, wave: Wave) -> Wave:
        """The first of them stay open: TCP only, no other kind of connection can end."""
        if not self._hold:
            return wave
        stream = [n for n, each in enumerate(wave) if each.target.listener.protocol == "tcp"]
        held = set(stream[:HELD])
        return [replace(each, hold=n in held) for n, each in enumerate(wave)]

    def _least(self, pool: Pool) -> int:
        return max(self._aim, self._least_drawn(pool))

    def _least_drawn(self, pool: Pool) -> int:
        """Draws after which a backend that gets nothing is no chance any more."""
        if judged_by(pool) != "random":
            return 1
        smallest = min(shares_of(pool).values())
        return min(chance.enough(float(smallest), self._doubt), MOST_DRAWS)

    def _most(self, pool: Pool) -> int:
        return max(self._least(pool), LONGEST_TURN)


def _whole(count: int, turn: int, most: int) -> int:
    """The count in whole turns: rounded up where that is possible, else down, else ``most``."""
    up = -(-count // turn) * turn
    if up <= most:
        return up
    return most // turn * turn or most


def _rotated(targets: Sequence[Target], number: int) -> Target:
    """One after the other, shifted by one each time round: with as many backends as targets,
    each backend would else be met at one target only."""
    count = len(targets)
    return targets[(number + number // count) % count]


def _apart(connections: Iterable[Connection]) -> list[Wave]:
    """In waves without two clients that are the same to the farm."""
    waves: list[Wave] = []
    met: defaultdict[KeyValue, int] = defaultdict(int)
    for each in connections:
        number = met[each.key] if each.key else 0
        met[each.key] += 1
        if number == len(waves):
            waves.append([])
        waves[number].append(each)
    return waves
