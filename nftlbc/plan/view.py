"""A table as farms: who listens, who serves and with how many slots. Read from the elements, so
that the kernel's table and the wanted one are seen the same way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nftlbc import farms as model
from nftlbc.farms import Family, family_of
from nftlbc.nft.netlink import KernelTable
from nftlbc.nft.sticky import announced, known_by, label_of, looked_up, map_of
from nftlbc.plan.recall import records_of
from nftlbc.table import recorded
from nftlbc.table.model import OURS, Destination, ElementData, ElementKey, Table

_CHAIN = re.compile(r"(?:goto )?farm-(?P<farm>.+)-(?P<family>[46])\Z")
Contents = Iterable[tuple[str, Mapping[ElementKey, ElementData]]]


@dataclass
class Server:
    """A backend as a table has it."""

    name: str
    address: str
    port: int | None
    down: bool = False
    slots: int = 0
    """Of its pool; 0: it takes no new clients."""
    weight: int | None = None
    """What the farms file says; None where the table was not told."""

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )


@dataclass
class Pool:
    servers: dict[int, Server] = field(default_factory=dict)
    """By mark."""
    slots: dict[int, int] = field(default_factory=dict)
    """From the number of a slot, counted from the range's first, to a mark."""
    sticky: str | None = None
    """The map in which its clients are known."""
    known_by: tuple[str, str] | None = None
    """Of what keys, and of what part of addresses."""
    source: str | None = None
    """What ``snat`` makes connections come from."""


@dataclass
class Farm:
    settings: str = ""
    """Its statements in the language that are not the default, but ``backends``."""
    listeners: dict[str, int | None] = field(default_factory=dict)
    """As text; with the backend port of its own."""
    pools: dict[Family, Pool] = field(default_factory=lambda: {4: Pool(), 6: Pool()})

    @property
    def marks(self) -> list[int]:
        return [mark for pool in self.pools.values() for mark in pool.servers]


def of_table(table: Table, farms: Sequence[model.Farm]) -> dict[str, Farm]:
    """The wanted table, with the weights of the farms that it was made from."""
    found = _farms((each.name, each.elements) for each in table.maps if not each.dynamic)
    for farm in farms:
        if farm.name in found:
            found[farm.name].settings = "; ".join(recorded.statements(farm))
        weights = {backend.name: backend.weight for backend in farm.backends}
        for pool in found[farm.name].pools.values() if farm.name in found else ():
            for server in pool.servers.values():
                server.weight = weights.get(server.name)
    for chain in table.chains:
        _, label = announced(chain)
        if label:
            _know(found, chain.name, label, looked_up(table.chain[label]))
    return found


def of_kernel(table: KernelTable) -> dict[str, Farm]:
    """Maps that no longer serve are empty: of two sizes of one, the one that rules look at is
    the one with elements."""
    found = _farms(
        (name, each.elements) for name, each in table.maps.items() if each.contents is not None
    )
    for name in table.chains:
        if name.startswith("farm-"):
            _know(found, name, label_of(table, name), map_of(table, name))
    for name, record in records_of(table).items():
        if name in found:
            _recorded(found[name], record)
    return found


def _recorded(farm: Farm, record: str) -> None:
    backends, farm.settings = recorded.split(record)
    servers = [server for pool in farm.pools.values() for server in pool.servers.values()]
    servers.sort(key=lambda each: recorded.place(each.address, each.port))
    for server, configured in recorded.configured(backends, servers):
        server.weight = configured.weight


def _know(found: dict[str, Farm], chain: str, label: str | None, sticky: str | None) -> None:
    match = _CHAIN.match(chain)
    if match and match["farm"] in found:
        pool = found[match["farm"]].pools[6 if match["family"] == "6" else 4]
        pool.sticky = sticky
        pool.known_by = known_by(sticky, label) if sticky and label else None


def _farms(contents: Contents) -> dict[str, Farm]:
    found: dict[str, Farm] = {}
    slots: dict[int, int] = {}
    ports: dict[ElementKey, int] = {}
    listeners: list[tuple[ElementKey, str]] = []
    sources: dict[int, str] = {}
    pool_of: dict[int, Pool] = {}
    for name, elements in contents:
        base = name.split("_")[0].rstrip("46")
        if base in ("backends", "addresses"):
            for mark, data in elements.items():
                if isinstance(data, Destination) and isinstance(mark, int):
                    _add_server(found, pool_of, mark, data)
        elif base == "slots":
            slots.update(elements)  # type: ignore[arg-type]
        elif base == "snat":
            sources.update(elements)  # type: ignore[arg-type]
        elif base == "ports":
            ports.update(elements)  # type: ignore[arg-type]
        elif base in ("services", "ranges"):
            listeners += [(key, str(data)) for key, data in elements.items()]
    for key, chain in listeners:
        match = _CHAIN.match(chain)
        if match and isinstance(key, tuple) and len(key) == 3:
            farm = found.setdefault(match["farm"], Farm())
            farm.listeners[_listener(key)] = ports.get(_as_range(key))
    for mark, source in sources.items():
        if mark in pool_of:
            pool_of[mark].source = source
    for _, mark in sorted(slots.items()):
        pool = pool_of.get(mark)
        if pool is not None:
            pool.servers[mark].slots += 1
            pool.slots[len(pool.slots)] = mark
    return found


def _add_server(
    found: dict[str, Farm], pool_of: dict[int, Pool], key: int, data: Destination
) -> None:
    farm_name, _, name = data.name.partition("/")
    pool = found.setdefault(farm_name, Farm()).pools[family_of(data.address)]
    mark = key | OURS  # where it is down it lacks that bit
    server = pool.servers.get(mark)
    if server is None:
        pool.servers[mark] = Server(name, data.address, data.port, down=key != mark)
        pool_of[mark] = pool
    elif server.port is None:
        server.port = data.port


def _as_range(key: ElementKey) -> ElementKey:
    address, protocol, port = key  # type: ignore[misc,str-unpack]
    return (address, protocol, (port, port) if isinstance(port, int) else port)


def _listener(key: ElementKey) -> str:
    address, protocol, port = key  # type: ignore[misc,str-unpack]
    ports = str(port) if isinstance(port, int) else f"{port[0]}-{port[1]}"
    shown = f"[{address}]" if ":" in str(address) else address
    return f"{shown}:{ports}/{protocol}"
