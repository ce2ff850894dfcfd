"""Addresses and routes: what ``ip`` tells, asked in one go for any number of addresses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple

from nftlbc.doctor.finding import Unseen, unique
from nftlbc.doctor.machine import Machine, documents
from nftlbc.farms import Address, Family, family_of

_MOST_QUERIES: Final = 200_000
_DEADLINE: Final = 60.0
_FAILED = re.compile(r"^(.*)\nCommand failed [^\n]*:(\d+)$", re.MULTILINE)

# Public resolvers: addresses that no sensible machine has a route of its own to. Nothing is
# sent to them; the kernel is asked which way it would be.
_FAR: Final[dict[Family, tuple[Address, ...]]] = {
    4: ("8.8.8.8", "1.1.1.1", "9.9.9.9", "208.67.222.222"),
    6: ("2001:4860:4860::8888", "2606:4700:4700::1111", "2620:fe::fe"),
}


class Assigned(NamedTuple):
    """An address on an interface."""

    address: Address
    length: int
    """Of its network's prefix, in bits."""
    failed: bool
    """Another machine was found to have it (IPv6): the kernel does not use it."""


class Interface(NamedTuple):
    name: str
    up: bool
    inner: bool
    """lo or a dummy: no packet ever comes in by it from elsewhere."""
    addresses: tuple[Assigned, ...]


class Query(NamedTuple):
    """Which way to an address; with ``source`` and ``device``: of a packet that came in there."""

    to: Address
    source: Address | None = None
    device: str | None = None


class Way(NamedTuple):
    """The kernel's answer."""

    device: str
    gateway: Address | None
    """None: it is a neighbour."""
    local: bool
    """It ends on this machine."""
    down: bool
    """The interface has no carrier."""


class Refused(NamedTuple):
    """There is no way; the kernel's word for it: ``Network is unreachable``."""

    reason: str


class Network:
    """Each is asked for when it is first needed. All raise Unseen."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[Query, Way | Refused] = {}

    @cached_property
    def interfaces(self) -> dict[str, Interface]:
        found = {}
        for row in self._rows(["ip", "-json", "address", "show"]):
            if "ifname" in row:
                interface = _interface(row)
                found[interface.name] = interface
        return found

    @cached_property
    def _defaults(self) -> dict[Family, list[dict[str, Any]]]:
        return {
            4: self._rows(["ip", "-json", "-4", "route", "show", "default"]),
            6: self._rows(["ip", "-json", "-6", "route", "show", "default"]),
        }

    def default_devices(self, family: Family) -> tuple[str, ...]:
        """The interfaces by which the default routes leave."""
        found = []
        for row in self._defaults[family]:
            hops = row.get("nexthops")
            each = [row, *(hops if isinstance(hops, list) else [])]
            found += [str(hop["dev"]) for hop in each if isinstance(hop, dict) and "dev" in hop]
        return unique(found)

    def default_gateways(self, family: Family) -> set[Address]:
        found = set()
        for row in self._defaults[family]:
            hops = row.get("nexthops")
            for hop in [row, *(hops if isinstance(hops, list) else [])]:
                if isinstance(hop, dict) and "gateway" in hop:
                    found.add(str(hop["gateway"]))
        return found

    def advertised(self) -> tuple[str, ...]:
        """The interfaces whose IPv6 default route the kernel learned from a router."""
        rows = [row for row in self._defaults[6] if row.get("protocol") == "ra"]
        return unique(str(row["dev"]) for row in rows if "dev" in row)

    def far(self, family: Family) -> Address | None:
        """An address that only the default route leads to; None without a default route."""
        if not self.default_devices(family):
            return None
        ways = self.ways([Query(address) for address in _FAR[family]])
        devices = self.default_devices(family)
        for address, way in zip(_FAR[family], ways, strict=True):
            if isinstance(way, Way) and not way.local and way.device in devices:
                return address
        return None

    @cached_property
    def _holders(self) -> dict[Address, list[tuple[Interface, Assigned]]]:
        found: defaultdict[Address, list[tuple[Interface, Assigned]]] = defaultdict(list)
        for interface in self.interfaces.values():
            for assigned in interface.addresses:
                found[assigned.address].append((interface, assigned))
        return dict(found)

    def holders(self, address: Address) -> list[tuple[Interface, Assigned]]:
        """The interfaces that have an address."""
        return self._holders.get(address, [])

    @cached_property
    def _networks(self) -> list[tuple[IPv4Network | IPv6Network, Interface]]:
        """Networks of interfaces, the narrowest first; each once, whatever addresses are in it."""
        found: dict[tuple[IPv4Network | IPv6Network, str], Interface] = {}
        for interface in self.interfaces.values():
            for each in interface.addresses:
                single = each.length == (32 if family_of(each.address) == 4 else 128)
                if not interface.inner and not single:
                    network = ip_network((each.address, each.length), strict=False)
                    found[network, interface.name] = interface
        pairs = [(network, interface) for (network, _), interface in found.items()]
        return sorted(pairs, key=lambda pair: -pair[0].prefixlen)

    def neighbourhoods(self, address: Address) -> list[tuple[IPv4Network | IPv6Network, Interface]]:
        """The networks of interfaces that an address is in, the narrowest first."""
        number = ip_address(address)
        return [pair for pair in self._networks if number in pair[0]]

    def around(self, address: Address, device: str) -> str | None:
        """The network of an interface that an address is in: ``10.0.0.0/24``."""
        found = (net for net, interface in self.neighbourhoods(address) if interface.name == device)
        return next(map(str, found), None)

    def ways(self, queries: Sequence[Query]) -> list[Way | Refused]:
        """The kernel's answers, in the order of the queries; all new ones in one run of ip."""
        fresh = [query for query in dict.fromkeys(queries) if query not in self._known]
        if len(fresh) > _MOST_QUERIES:
            raise Unseen(f"{len(fresh)} addresses are more than {_MOST_QUERIES}")
        if fresh:
            self._known.update(zip(fresh, self._ask(fresh), strict=True))
        return [self._known[query] for query in queries]

    def _ask(self, queries: Sequence[Query]) -> list[Way | Refused]:
        lines = "".join(f"{_route_get(query)}\n" for query in queries)
        argv = ["ip", "-json", "-force", "-batch", "-"]
        ran = self._machine.run(argv, lines, deadline=_DEADLINE)
        refused = {int(line): _reason(text) for text, line in _FAILED.findall(ran.errors)}
        answers = iter(documents(ran.output, "ip"))
        return [
            Refused(refused[number]) if number in refused else _way(next(answers, None))
            for number in range(1, len(queries) + 1)
        ]

    def way(self, query: Query) -> Way | Refused:
        (found,) = self.ways([query])
        return found

    def _rows(self, argv: list[str]) -> list[dict[str, Any]]:
        ran = self._machine.run(argv)
        if ran.status != 0:
            raise Unseen(f"ip refused: {ran.errors.strip()[:200]}")
        rows: list[dict[str, Any]] = []
        for document in documents(ran.output, "ip"):
            if isinstance(document, list):
                rows += [row for row in document if isinstance(row, dict)]
        return rows


def _route_get(query: Query) -> str:
    text = f"route get {query.to}"
    if query.source is not None:
        text += f" from {query.source}"
    if query.device is not None:
        text += f" iif {query.device}"
    return text


def _reason(text: str) -> str:
    return text.removeprefix("RTNETLINK answers: ").strip()


def _way(document: Any) -> Way | Refused:
    row = document[0] if isinstance(document, list) and document else None
    if not isinstance(row, dict) or "dev" not in row:
        raise Unseen("ip answers in a way that is not known here")
    via = row.get("via")
    gateway = row.get("gateway") or (via.get("host") if isinstance(via, dict) else None)
    flags = row.get("flags")
    return Way(
        str(row["dev"]),
        str(gateway) if gateway else None,
        row.get("type") == "local",
        isinstance(flags, list) and bool({"linkdown", "dead"} & set(map(str, flags))),
    )


def _interface(row: dict[str, Any]) -> Interface:
    flags = {str(flag) for flag in row.get("flags", ())}
    addresses = []
    for info in row.get("addr_info", ()):
        if isinstance(info, dict) and "local" in info and "prefixlen" in info:
            address = str(ip_address(str(info["local"])))
            length = int(info["prefixlen"])
            failed = bool(info.get("dadfailed"))
            addresses.append(Assigned(address, length, failed))
    inner = "LOOPBACK" in flags or ("NOARP" in flags and "POINTOPOINT" not in flags)
    return Interface(str(row["ifname"]), "UP" in flags, inner, tuple(addresses))
