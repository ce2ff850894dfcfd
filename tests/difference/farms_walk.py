"""Farms that change at random, an edit at a time, as somebody's file might over the years."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from nftlbc import rules
from nftlbc.diagnostics import has_errors
from nftlbc.farms import Backend, Balance, Farm, Forward, Key, Listener, Persistence

_FAMILIES = ((4,), (4,), (6,), (4, 6))
_FRONTS = {
    4: [f"203.0.113.{number}" for number in range(1, 7)],
    6: [f"2001:db8::{number:x}" for number in range(1, 4)],
}
_KEYS = (
    (Key("source-ip"),),
    (Key("source-ip", 24, 56),),
    (Key("source-ip"), Key("source-port")),
    (Key("source-ip"), Key("destination-port")),
    (Key("source-ip"), Key("source-port"), Key("destination-ip"), Key("destination-port")),
)
_BALANCES = (
    Balance(),
    Balance("random"),
    Balance("hash", (Key("source-ip"),)),
    Balance("hash", (Key("source-ip"), Key("source-port"))),
    Balance("consistent", (Key("source-ip"),), 13),
    Balance("least-connections"),
)


class Walk:
    """``step`` makes one edit that leaves the farms without a mistake."""

    def __init__(self, seed: int, farms: int = 6) -> None:
        self.random = Random(seed)
        self.farms: tuple[Farm, ...] = ()
        self.hosts = 0
        while len(self.farms) < farms:
            self._try(self._add_farm)

    def step(self) -> str:
        """Its name."""
        while True:
            edit = self.random.choices(list(_EDITS), list(_EDITS.values()))[0]
            if self._try(lambda edit=edit: edit(self)):
                return edit.__name__

    def _try(self, edit: Callable[[], tuple[Farm, ...]]) -> bool:
        before = self.farms
        farms = edit()
        families_ok = all(farm.pool(family) for farm in farms for family in farm.families)
        if farms == before or not families_ok or has_errors(list(rules.check(farms))):
            return False
        self.farms = farms
        return True

    # Parts

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _listener(self, family: int) -> Listener:
        first = self.random.choice((53, 80, 443, 8000, self.random.randint(1, 60000)))
        last = first + self.random.choice((0, 0, 0, 9, 1000))
        to = self.random.choice((None, None, None, 8443))
        protocol = self.random.choice(("tcp", "tcp", "udp", "sctp"))
        return Listener(self.random.choice(_FRONTS[family]), protocol, first, last, to)

    def _backend(self, family: int) -> Backend:
        self.hosts += 1
        host = self.hosts
        address = f"10.0.{host >> 8}.{host & 255}" if family == 4 else f"2001:db8:1::{host:x}"
        return Backend(
            f"b{host}",
            address,
            self.random.choice((None, 8080, 8080, 8080)),
            self.random.choice((0, 1, 1, 1, 2, 3, 10)),
            self._chance(0.1),
            self.random.choice(("up", "up", "up", "up", "drain", "down")),
        )

    def _forward(self, families: tuple[int, ...]) -> Forward:
        sources = tuple("10.255.0.1" if family == 4 else "2001:db8:f::1" for family in families)
        return self.random.choice(
            (Forward(), Forward(), Forward("masquerade"), Forward("snat", sources))
        )

    def _persistence(self) -> Persistence | None:
        keys = self.random.choice(_KEYS)
        time = self.random.choice((60_000, 300_000, 1500))
        return self.random.choice((None, Persistence(keys, time), Persistence(keys, time, 512)))

    # Edits

    def _add_farm(self) -> tuple[Farm, ...]:
        families = self.random.choice(_FAMILIES)
        names = {farm.name for farm in self.farms}
        name = next(n for n in iter(self._name, None) if n not in names)
        listeners = [self._listener(family) for family in families for _ in range(2)]
        backends = [self._backend(f) for f in families for _ in range(self.random.randint(1, 4))]
        farm = Farm(
            name,
            tuple(
                listeners[: self.random.randint(len(families), 4)]
                if len(families) == 1
                else listeners
            ),
            tuple(backends),
            self._forward(families),
            self.random.choice(_BALANCES),
            self._persistence(),
            1,
            self._chance(0.2),
        )
        return (*self.farms, farm)

    def _name(self) -> str:
        return self.random.choice(("web", "drop", "a-4", "farm", "x_y", "tcp")) + str(
            self.random.randint(0, 9)
        )

    def _change(self, edit: Callable[[Farm], Farm]) -> tuple[Farm, ...]:
        which = self.random.randrange(len(self.farms))
        return (*self.farms[:which], edit(self.farms[which]), *self.farms[which + 1 :])

    def _backend_edit(self, edit: Callable[[Backend], Backend]) -> tuple[Farm, ...]:
        def change(farm: Farm) -> Farm:
            which = self.random.randrange(len(farm.backends))
            backends = list(farm.backends)
            backends[which] = edit(backends[which])
            return replace(farm, backends=tuple(backends))

        return self._change(change)

    def weight(self) -> tuple[Farm, ...]:
        return self._backend_edit(lambda b: replace(b, weight=self.random.choice((0, 1, 2, 3, 7))))

    def port(self) -> tuple[Farm, ...]:
        return self._backend_edit(lambda b: replace(b, port=self.random.choice((None, 8080, 81))))

    def rename(self) -> tuple[Farm, ...]:
        return self._backend_edit(lambda b: replace(b, name=f"r{self.random.randint(0, 99)}"))

    def state(self) -> tuple[Farm, ...]:
        states = ("up", "drain", "down")
        return self._backend_edit(lambda b: replace(b, state=self.random.choice(states)))

    def backup(self) -> tuple[Farm, ...]:
        return self._backend_edit(lambda b: replace(b, backup=not b.backup))

    def all_down(self) -> tuple[Farm, ...]:
        return self._change(
            lambda farm: replace(
                farm, backends=tuple(replace(each, state="down") for each in farm.backends)
            )
        )

    def all_up(self) -> tuple[Farm, ...]:
        return self._change(
            lambda farm: replace(
                farm, backends=tuple(replace(each, state="up") for each in farm.backends)
            )
        )

    def add_backend(self) -> tuple[Farm, ...]:
        def change(farm: Farm) -> Farm:
            new = self._backend(self.random.choice(farm.families))
            return replace(farm, backends=(*farm.backends, new))

        return self._change(change)

    def add_many(self) -> tuple[Farm, ...]:
        """So many that maps outgrow their sizes, and shrink again when they go."""

        def change(farm: Farm) -> Farm:
            new = tuple(self._backend(farm.families[0]) for _ in range(900))
            return replace(farm, backends=(*farm.backends, *new))

        return self._change(change)

    def remove_backends(self) -> tuple[Farm, ...]:
        def change(farm: Farm) -> Farm:
            keep = self.random.randint(1, 4) if len(farm.backends) > 9 else len(farm.backends) - 1
            return replace(farm, backends=tuple(self.random.sample(farm.backends, keep)))

        return self._change(change)

    def listeners(self) -> tuple[Farm, ...]:
        def change(farm: Farm) -> Farm:
            listeners = list(farm.listeners)
            if self._chance(0.4):
                listeners.pop(self.random.randrange(len(listeners)))
            if self._chance(0.6):
                listeners.append(self._listener(self.random.choice(farm.families)))
            return replace(farm, listeners=tuple(listeners)) if listeners else farm

        return self._change(change)

    def own_port(self) -> tuple[Farm, ...]:
        def change(farm: Farm) -> Farm:
            first, *rest = farm.listeners
            to = self.random.choice((None, 8443, 8444))
            return replace(farm, listeners=(*rest, replace(first, to=to)))

        return self._change(change)

    def widen(self) -> tuple[Farm, ...]:
        """A range that overlaps the one that was there before."""

        def change(farm: Farm) -> Farm:
            first, *rest = farm.listeners
            last = max(first.first, first.last + self.random.choice((-500, -3, 3, 500)))
            return replace(farm, listeners=(*rest, replace(first, last=min(last, 65535))))

        return self._change(change)

    def exchange(self) -> tuple[Farm, ...]:
        """Two farms change their listeners."""
        if len(self.farms) < 2:
            return self.farms
        one, two, *rest = self.random.sample(self.farms, len(self.farms))
        if one.families != two.families:
            return self.farms
        return (
            *rest,
            replace(one, listeners=two.listeners),
            replace(two, listeners=one.listeners),
        )

    def forward(self) -> tuple[Farm, ...]:
        return self._change(lambda farm: replace(farm, forward=self._forward(farm.families)))

    def hairpin(self) -> tuple[Farm, ...]:
        return self._change(lambda farm: replace(farm, hairpin=not farm.hairpin))

    def persistence(self) -> tuple[Farm, ...]:
        return self._change(lambda farm: replace(farm, persistence=self._persistence()))

    def persistence_time(self) -> tuple[Farm, ...]:
        def change(farm: Farm) -> Farm:
            if farm.persistence is None:
                return farm
            size = self.random.choice((None, 512, 1024))
            time = self.random.choice((60_000, 300_000, 90_000))
            return replace(farm, persistence=replace(farm.persistence, timeout=time, size=size))

        return self._change(change)

    def balance(self) -> tuple[Farm, ...]:
        return self._change(lambda farm: replace(farm, balance=self.random.choice(_BALANCES)))

    def quorum(self) -> tuple[Farm, ...]:
        return self._change(lambda farm: replace(farm, quorum=self.random.randint(1, 3)))

    def rename_farm(self) -> tuple[Farm, ...]:
        names = {farm.name for farm in self.farms}
        name = next(n for n in iter(self._name, None) if n not in names)
        return self._change(lambda farm: replace(farm, name=name))

    def add_farm(self) -> tuple[Farm, ...]:
        return self._add_farm() if len(self.farms) < 12 else self.farms

    def remove_farm(self) -> tuple[Farm, ...]:
        return tuple(self.random.sample(self.farms, len(self.farms) - 1)) if self.farms else ()


_EDITS = {
    Walk.weight: 3,
    Walk.port: 2,
    Walk.rename: 2,
    Walk.state: 4,
    Walk.backup: 1,
    Walk.all_down: 1,
    Walk.all_up: 1,
    Walk.add_backend: 3,
    Walk.add_many: 0.3,
    Walk.remove_backends: 3,
    Walk.listeners: 3,
    Walk.own_port: 2,
    Walk.widen: 2,
    Walk.exchange: 1,
    Walk.forward: 2,
    Walk.hairpin: 1,
    Walk.persistence: 2,
    Walk.persistence_time: 2,
    Walk.balance: 2,
    Walk.quorum: 1,
    Walk.rename_farm: 1,
    Walk.add_farm: 2,
    Walk.remove_farm: 1,
}
