"""Does a route lead to each backend, and does the kernel take packets along it?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok, some
from nftlbc.doctor.network import Query, Refused
from nftlbc.doctor.settings import key, lasting, set_now
from nftlbc.doctor.situation import Route, Situation
from nftlbc.farms import Address

_WHAT: Final = {
    "Network is unreachable": "no route leads to",
    "No route to host": "a route of the kind unreachable keeps packets from",
    "Permission denied": "a route of the kind prohibit keeps packets from",
    "Invalid argument": "a route of the kind blackhole swallows what goes to",
}
_FILTERED: Final = ("Invalid argument", "Invalid cross-device link")
"""What the kernel says of a packet that rp_filter drops: Linux 6.18, and those before 6.14."""


def routes(situation: Situation) -> Iterator[Finding]:
    name = "backend-route"
    names: dict[Address, list[str]] = defaultdict(list)
    for farm in situation.farms:
        for backend in farm.backends:
            names[backend.address].append(f"{farm.name}/{backend.name}")
    refused: dict[str, list[Address]] = defaultdict(list)
    dark: dict[str, list[Address]] = defaultdict(list)
    for address, way in situation.ways.items():
        if isinstance(way, Refused):
            refused[way.reason].append(address)
        elif way.down:
            dark[way.device].append(address)
    for reason, addresses in refused.items():
        affected = tuple(each for address in addresses for each in names[address])
        told = _WHAT.get(reason, f"the kernel has no way ({reason}) to")
        yield Finding(
            name,
            Verdict.PROBLEM,
            f"{told} {some([_both(address, names) for address in addresses])}",
            "connections that are given to it fail",
            "add a route by the right gateway, or the network to an interface:\n"
            f"ip route add {addresses[0]} via GATEWAY",
            affects=affected,
        )
    for device, addresses in dark.items():
        yield Finding(
            name,
            Verdict.PROBLEM,
            f"{device}, which leads to {some([_both(address, names) for address in addresses])},"
            " has no carrier",
            "connections that are given to it fail",
            "plug in its cable, or bring up what stands at its other end",
            affects=tuple(each for address in addresses for each in names[address]),
        )
    yield from _loopback(situation, name)
    if not refused and not dark:
        yield ok(name, f"a route leads to each of {len(situation.ways)} backend addresses")


def _both(address: Address, names: dict[Address, list[str]]) -> str:
    return f"{address} ({some(names[address], 2)})"


def _loopback(situation: Situation, name: str) -> Iterator[Finding]:
    """Backends in 127.0.0.0/8: packets of other machines may go there only by special leave."""
    for farm in situation.farms:
        inner = [each for each in farm.backends if each.address.startswith("127.")]
        if not inner:
            continue
        devices = {
            device
            for listener in farm.listeners
            if listener.family == 4
            for device in situation.client_devices(listener.address)
        }
        every = key("net", "ipv4", "conf", "all", "route_localnet")
        keys = [key("net", "ipv4", "conf", device, "route_localnet") for device in sorted(devices)]
        closed = [each for each in keys if not situation.machine.sysctl(each)]
        if closed and not situation.machine.sysctl(every):
            yield Finding(
                name,
                Verdict.PROBLEM,
                f"{farm.name}/{inner[0].name} has the loopback address {inner[0].address}",
                "the kernel drops what comes from other machines for such addresses",
                "give the backend an address of this machine, or allow it",
                commands=tuple(set_now(each, 1) for each in closed),
                lasting=tuple(lasting(each, 1) for each in closed),
                affects=tuple(f"{farm.name}/{each.name}" for each in inner),
            )


def reverse_path(situation: Situation) -> Iterator[Finding]:
    """Asks the kernel itself: which way goes a client's packet that comes in there?

    Where rp_filter is strict, it refuses a packet whose answer would not leave by the interface
    by which the packet came. IPv6 has no such setting.
    """
    name = "rp-filter"
    client = situation.network.far(4)
    if not any(4 in farm.families for farm in situation.farms):
        yield ok(name, "no farm listens on IPv4")
        return
    if client is None:
        raise Unseen("without a default route nobody can tell where clients are")
    pairs: dict[tuple[str, str], Route] = {}
    for route in situation.routes(4):
        for listener in route.farm.listeners:
            if listener.family == 4:
                for device in situation.client_devices(listener.address):
                    pairs.setdefault((device, route.way.device), route)
    asked = [
        (arrives, route, Query(route.backend.address, client, arrives))
        for (arrives, _), route in pairs.items()
    ] + [
        (leaves, route, Query(client, route.backend.address, leaves))
        for (_, leaves), route in pairs.items()
    ]
    answers = situation.network.ways([query for _, _, query in asked])
    strict: dict[str, list[str]] = defaultdict(list)
    for (device, route, _), way in zip(asked, answers, strict=True):
        if isinstance(way, Refused) and way.reason in _FILTERED and _strict(situation, device):
            strict[device].append(f"farm {route.farm.name}")
    for device, farms in strict.items():
        path = key("net", "ipv4", "conf", device, "rp_filter")
        yield Finding(
            name,
            Verdict.PROBLEM,
            f"rp_filter drops what comes in by {device} for {some(farms)}: the way back"
            " leaves by another interface",
            "packets are dropped before any table sees them; connections time out",
            "let it look only whether there is a way back at all (2, loose), or route the"
            f" answers by {device}",
            commands=(set_now(path, 2),),
            lasting=(lasting(path, 2),),
            affects=tuple(dict.fromkeys(farms)),
        )
    if not strict:
        yield ok(name, "rp_filter lets the farms' packets through")


def _strict(situation: Situation, device: str) -> bool:
    """The kernel takes the greater of the interface's setting and that of all."""
    keys = [key("net", "ipv4", "conf", each, "rp_filter") for each in ("all", device)]
    return max(situation.machine.sysctl(each) or 0 for each in keys) == 1
