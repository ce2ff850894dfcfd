"""What the checks look at: the machine, its network and foreign tables, and the farms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from nftlbc.doctor.connections import Connection, read_connections
from nftlbc.doctor.finding import unique
from nftlbc.doctor.foreign import listing
from nftlbc.doctor.foreign.packet import Path
from nftlbc.doctor.machine import Machine
from nftlbc.doctor.network import Network, Query, Refused, Way
from nftlbc.farms import Address, Backend, Family, Farm, Listener


class Route(NamedTuple):
    """How a farm's connections come to a backend."""

    farm: Farm
    backend: Backend
    way: Way

    @property
    def name(self) -> str:
        return f"{self.farm.name}/{self.backend.name}"


class Situation:
    """Everything is looked at when a check first needs it, and once. All may raise Unseen."""

    def __init__(self, machine: Machine, farms: Sequence[Farm] = ()) -> None:
        self.machine = machine
        self.farms = tuple(farms)
        self.network = Network(machine)
        self._devices: dict[Address, tuple[str, ...]] = {}

    @cached_property
    def ruleset(self) -> listing.Ruleset:
        """The foreign tables."""
        return listing.read(self.machine)

    @cached_property
    def ways(self) -> dict[Address, Way | Refused]:
        """The kernel's way to each backend."""
        addresses = unique(each.address for farm in self.farms for each in farm.backends)
        found = self.network.ways([Query(address) for address in addresses])
        return dict(zip(addresses, found, strict=True))

    @cached_property
    def here(self) -> dict[Address, bool]:
        """Whether each listener's address is this machine's own."""
        addresses = (each.address for farm in self.farms for each in farm.listeners)
        return self.local(unique(addresses))

    def local(self, addresses: Sequence[Address]) -> dict[Address, bool]:
        """Whether the kernel takes packets for these addresses as its own."""
        found = self.network.ways([Query(address) for address in addresses])
        return {
            address: isinstance(way, Way) and way.local
            for address, way in zip(addresses, found, strict=True)
        }

    @cached_property
    def connections(self) -> dict[Address, list[Connection]]:
        """The translated ones that the kernel tracks, by their backends, as far as they can be
        read at once."""
        found: defaultdict[Address, list[Connection]] = defaultdict(list)
        for each in read_connections(self.machine):
            found[each.backend].append(each)
        return dict(found)

    @cached_property
    def _users(self) -> dict[Address, tuple[str, ...]]:
        found: defaultdict[Address, dict[str, None]] = defaultdict(dict)
        for farm in self.farms:
            for each in farm.listeners:
                found[each.address][f"farm {farm.name}"] = None
        return {address: tuple(farms) for address, farms in found.items()}

    def users(self, address: Address) -> tuple[str, ...]:
        """The farms that listen on an address: ``farm web``."""
        return self._users.get(address, ())

    def client_devices(self, listener: Address) -> tuple[str, ...]:
        """The interfaces by which clients reach an address, as far as can be told: the one that
        has it, or in whose network it is; else those of the default routes.
        """
        if listener not in self._devices:
            self._devices[listener] = self._find_devices(listener)
        return self._devices[listener]

    def _find_devices(self, listener: Address) -> tuple[str, ...]:
        for interface, _ in self.network.holders(listener):
            if not interface.inner:
                return (interface.name,)
        for _, interface in self.network.neighbourhoods(listener):
            return (interface.name,)
        return self.network.default_devices(6 if ":" in listener else 4)

    def routes(self, family: Family) -> Iterator[Route]:
        """Each farm's backends that a way leads to, but those on this machine itself."""
        for farm in self.farms:
            if family not in farm.families:
                continue
            for backend in farm.pool(family):
                way = self.ways[backend.address]
                if isinstance(way, Way) and not way.local:
                    yield Route(farm, backend, way)

    def forwarding_devices(self, family: Family) -> tuple[str, ...]:
        """The interfaces where packets come in that are for other machines."""
        found: dict[str, None] = {}
        seen = set()
        for route in self.routes(family):
            found[route.way.device] = None
            if route.farm.name not in seen:
                seen.add(route.farm.name)
                for listener in route.farm.listeners:
                    if listener.family == family:
                        found.update(dict.fromkeys(self.client_devices(listener.address)))
        return tuple(found)

    def paths(self) -> Iterator[tuple[Farm, Path]]:
        """Ways of connections through this machine. Not every pair of a farm: each listener with
        the first backend, and the first listener with each backend; every farm's first pair
        comes before anyone's second.
        """
        queues = [self._pairs(farm, family) for farm in self.farms for family in farm.families]
        while queues:
            alive = []
            for queue in queues:
                found = next(queue, None)
                if found is not None:
                    alive.append(queue)
                    yield found
            queues = alive

    def _pairs(self, farm: Farm, family: Family) -> Iterator[tuple[Farm, Path]]:
        listeners = [each for each in farm.listeners if each.family == family]
        backends = farm.pool(family)
        for listener in listeners:
            for backend in backends if listener is listeners[0] else backends[:1]:
                path = self.path(listener, backend)
                if path is not None:
                    yield farm, path

    def path(self, listener: Listener, backend: Backend) -> Path | None:
        """What is known of a listener's connections to a backend; None where no way leads to it."""
        way = self.ways[backend.address]
        if isinstance(way, Refused):
            return None
        devices = self.client_devices(listener.address)
        apart = way.gateway is None and not way.local and way.device not in devices
        return Path(
            family=listener.family,
            protocol=listener.protocol,
            listener=listener.address,
            port=listener.first,
            backend=backend.address,
            backend_port=listener.to or backend.port or listener.first,
            arrives=devices[0] if len(devices) == 1 else None,
            leaves=None if way.local else way.device,
            here=self.here[listener.address],
            inside=self.network.around(backend.address, way.device) if apart else None,
        )
