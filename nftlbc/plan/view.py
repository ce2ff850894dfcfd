"""A table as farms: who listens, who serves and with how many slots. Read from the elements
alone, so that the kernel's table and the wanted one are seen the same way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nftlbc.farms import Family, family_of
from nftlbc.nft.netlink import KernelTable
from nftlbc.table.model import Destination, ElementData, ElementKey, Table

_CHAIN = re.compile(r"(?:goto )?farm-(?P<farm>.+)-(?P<family>[46])\Z")
Contents = Iterable[tuple[str, Mapping[ElementKey, ElementData]]]


@dataclass
class Server:
    """A backend as a table has it."""

    name: str
    address: str
    port: int | None
    slots: int = 0
    """Of its pool; 0: it takes no new clients."""

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass
class Pool:
    servers: dict[int, Server] = field(default_factory=dict)
    """By mark."""
    slots: dict[int, int] = field(default_factory=dict)
    """From the number of a slot, counted from the range's first, to a mark."""


@dataclass
class Farm:
    listeners: dict[str, int | None] = field(default_factory=dict)
    """As text; with the backend port of its own."""
    pools: dict[Family, Pool] = field(default_factory=lambda: {4: Pool(), 6: Pool()})


def of_table(table: Table) -> dict[str, Farm]:
    return _farms((each.name, each.elements) for each in table.maps if not each.dynamic)


def of_kernel(table: KernelTable) -> dict[str, Farm]:
    """Maps that no longer serve are left out: of two sizes of one, the one that rules look at is
    the one with elements."""
    return _farms(
        (name, each.elements)
        for name, each in table.maps.items()
        if each.readable and "dynamic" not in each.flags
    )


def _farms(contents: Contents) -> dict[str, Farm]:
    found: dict[str, Farm] = {}
    slots: dict[int, int] = {}
    ports: dict[ElementKey, int] = {}
    listeners: list[tuple[ElementKey, str]] = []
    pool_of: dict[int, Pool] = {}
    for name, elements in contents:
        base = name.split("_")[0].rstrip("46")
        if base in ("backends", "addresses"):
            for mark, data in elements.items():
                if isinstance(data, Destination) and isinstance(mark, int):
                    _add_server(found, pool_of, mark, data)
        elif base == "slots":
            slots.update(elements)  # type: ignore[arg-type]
        elif base == "ports":
            ports.update(elements)  # type: ignore[arg-type]
        elif base in ("services", "ranges"):
            listeners += [(key, str(data)) for key, data in elements.items()]
    for key, chain in listeners:
        match = _CHAIN.match(chain)
        if match:
            farm = found.setdefault(match["farm"], Farm())
            farm.listeners[_listener(key)] = ports.get(_as_range(key))
    for slot, mark in sorted(slots.items()):
        pool = pool_of.get(mark)
        if pool is not None:
            pool.servers[mark].slots += 1
            pool.slots[len(pool.slots)] = mark
    return found


def _add_server(
    found: dict[str, Farm], pool_of: dict[int, Pool], mark: int, data: Destination
) -> None:
    farm_name, _, name = data.name.partition("/")
    pool = found.setdefault(farm_name, Farm()).pools[family_of(data.address)]
    server = pool.servers.get(mark)
    if server is None:
        pool.servers[mark] = Server(name, data.address, data.port)
        pool_of[mark] = pool
    elif server.port is None:
        server.port = data.port


def _as_range(key: ElementKey) -> ElementKey:
    address, protocol, port = key  # type: ignore[misc]
    return (address, protocol, (port, port) if isinstance(port, int) else port)


def _listener(key: ElementKey) -> str:
    address, protocol, port = key  # type: ignore[misc]
    ports = str(port) if isinstance(port, int) else f"{port[0]}-{port[1]}"  # type: ignore[index]
    shown = f"[{address}]" if ":" in str(address) else address
    return f"{shown}:{ports}/{protocol}"
