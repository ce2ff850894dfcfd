"""Do the backends' answers come back through this machine? Only here is the listener's address
put back as their source: an answer that takes another way is one from a stranger.

Whether they do is decided on the backends. What can be seen here are networks and routes, and
whether the connections of this moment were answered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from nftlbc.doctor.connections import Connection
from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok, some, unique
from nftlbc.doctor.interference import Inspection
from nftlbc.doctor.network import Query, Refused
from nftlbc.doctor.situation import Route, Situation
from nftlbc.farms import FAMILIES, Address, Family, Farm

_MASQUERADE: Final = ("forward masquerade",)


def one_armed(situation: Situation) -> Iterator[Finding]:
    """Farms that keep the client's address, and whose backends are where the clients come from."""
    name = "one-armed"
    past, beside = _one_armed(situation)
    if past:
        yield Finding(
            name,
            Verdict.PROBLEM,
            f"{some([route.name for route in past])} {_are(past)} behind the gateway that leads"
            " to the clients, and the farm keeps the clients' addresses",
            "that gateway sends the backends' answers straight to the clients, who know nothing"
            " of such a connection",
            "let this machine replace the clients' addresses: in "
            + some(unique(f"farm {route.farm.name}" for route in past)),
            statements=_MASQUERADE,
            affects=unique(route.name for route in past),
        )
    seen = [(route, _answers(situation, route)) for route in beside]
    silent = [route for route, (answered, unanswered) in seen if unanswered and not answered]
    rest = [route for route, answers in seen if not any(answers)]
    for routes, verdict in ((silent, Verdict.PROBLEM), (rest, Verdict.WARNING)):
        if routes:
            yield _beside(situation, name, routes, verdict)
    if not past and not silent and not rest:
        yield ok(name, "answers pass through this machine, as far as can be seen from here")


def _one_armed(situation: Situation) -> tuple[list[Route], list[Route]]:
    """Backends beyond the clients' own gateway, and those in the network of the clients."""
    past: list[Route] = []
    beside: list[Route] = []
    inspection = Inspection(situation)
    for family in FAMILIES:
        gateways = situation.network.default_gateways(family)
        for route in situation.routes(family):
            farm, way = route.farm, route.way
            if farm.forward.kind != "dnat" or way.device not in _devices(situation, farm, family):
                continue
            if not _replaced(situation, inspection, route, family):
                far = way.gateway is not None and way.gateway in gateways
                (past if far else beside).append(route)
    return past, beside


def _replaced(situation: Situation, inspection: Inspection, route: Route, family: Family) -> bool:
    """Somebody else's chain replaces the clients' addresses, or nobody had the time to see."""
    listener = next(each for each in route.farm.listeners if each.family == family)
    path = situation.path(listener, route.backend)
    if path is None:
        return False
    try:
        return inspection.spent or any(inspection.replacing(route.farm, path))
    except Unseen:
        return False


def _devices(situation: Situation, farm: Farm, family: Family) -> set[str]:
    return {
        device
        for listener in farm.listeners
        if listener.family == family
        for device in situation.client_devices(listener.address)
    }


def _are(routes: Sequence[Route]) -> str:
    return "is" if len({route.name for route in routes}) == 1 else "are"


def _beside(situation: Situation, name: str, routes: Sequence[Route], verdict: Verdict) -> Finding:
    device = routes[0].way.device
    own = _own_address(situation, device, routes[0].backend.address)
    if verdict is Verdict.PROBLEM:
        what = (
            f"{some([route.name for route in routes])} {_are(routes)} on {device}, where clients"
            " come in, too, and no connection to it was answered"
        )
    else:
        what = (
            f"{some([route.name for route in routes])} {_are(routes)} on {device}, where clients"
            " come in, too, and the farm keeps the clients' addresses"
        )
    return Finding(
        name,
        verdict,
        what,
        f"answers come back only from backends whose default gateway is this machine ({own}),"
        " and never to clients in their own network: for all others connections time out",
        "let this machine replace the clients' addresses: in "
        + some(unique(f"farm {route.farm.name}" for route in routes)),
        statements=_MASQUERADE,
        affects=unique(route.name for route in routes),
    )


def _own_address(situation: Situation, device: str, near: Address) -> str:
    interface = situation.network.interfaces.get(device)
    for assigned in interface.addresses if interface else ():
        if (":" in assigned.address) == (":" in near):
            return assigned.address
    return device


def _answers(situation: Situation, route: Route) -> tuple[bool, bool]:
    """Whether connections of others to a backend were answered, and whether some were not."""
    listeners = {each.address for each in route.farm.listeners}
    seen = [
        each.answered
        for each in _connections(situation).get(route.backend.address, ())
        if each.listener in listeners and each.client not in listeners
    ]
    return any(seen), not all(seen)


def hairpin(situation: Situation) -> Iterator[Finding]:
    """Backends that ask a farm whose backends are their neighbours: the answer goes straight to
    them. Whether any does is not in the farms file, but it is in the kernel's connections.
    """
    name = "hairpin"
    owners: dict[Address, set[str]] = {}
    for farm in situation.farms:
        for backend in farm.backends:
            owners.setdefault(backend.address, set()).add(farm.name)
    found = False
    for farm in situation.farms:
        if farm.forward.kind != "dnat":
            continue
        asking = _asking(situation, farm, owners)
        own = [each for each in asking if farm.name in owners[each] and not farm.hairpin]
        others = [each for each in asking if farm.name not in owners[each]]
        for addresses, statements in ((own, ("hairpin",)), (others, _MASQUERADE)):
            if addresses:
                found = True
                yield _unanswered(name, farm, addresses, statements)
    if not found:
        yield ok(name, "no backend has been seen to ask a farm in vain")


def _asking(situation: Situation, farm: Farm, backends: Collection[Address]) -> list[Address]:
    """The backends, of any farm, that asked this one, were given to a neighbour of theirs, and
    got no answer at all."""
    listeners = {each.address for each in farm.listeners}
    pool = {each.address for each in farm.backends}
    seen: dict[Address, bool] = {}
    for each in (each for address in pool for each in situation.connections.get(address, ())):
        asks = each.listener in listeners and each.client in backends
        if asks and _neighbours(situation, each.client, each.backend):
            seen[each.client] = seen.get(each.client, False) or each.answered
    return [address for address, answered in seen.items() if not answered]


def _neighbours(situation: Situation, one: Address, other: Address) -> bool:
    ways = situation.ways[one], situation.ways[other]
    if any(isinstance(way, Refused) for way in ways):
        return False
    first, second = ways
    return first == second and not isinstance(first, Refused) and first.gateway is None


def _unanswered(
    name: str, farm: Farm, addresses: Sequence[Address], statements: tuple[str, ...]
) -> Finding:
    whose = "its own backends" if statements == ("hairpin",) else "backends of other farms"
    return Finding(
        name,
        Verdict.PROBLEM,
        f"farm {farm.name} is asked by {whose}, {some(addresses)}, and none of their"
        " connections was answered",
        "they are neighbours of the backends that answer them: the answer does not come by here,"
        " where the listener's address would be put back as its source",
        f"let this machine replace the source of such connections: in farm {farm.name}",
        statements=statements,
        affects=tuple(addresses),
    )


def own_connections(situation: Situation) -> Iterator[Finding]:
    """What this machine's own processes send to a farm has the listener's address as its source:
    the backends have to send their answers for that address here."""
    name = "own-connections"
    refused: list[str] = []
    asked = [
        (route, Query(listener.address, route.backend.address, route.way.device))
        for family in FAMILIES
        for route in situation.routes(family)
        for listener in route.farm.listeners
        if route.farm.forward.kind == "dnat"
        and listener.family == family
        and situation.here[listener.address]
    ]
    if not asked:
        yield ok(name, "nothing of it can be seen from here")
        return
    answers = situation.network.ways([query for _, query in asked])
    for (route, _), way in zip(asked, answers, strict=True):
        if isinstance(way, Refused) or not way.local:
            refused.append(route.name)
    silent = _own_silent(situation)
    for names, what in (
        (refused, "this machine would not take the answers of {} to its own connections"),
        (silent, "this machine's own connections to {} were not answered"),
    ):
        if names:
            listeners = unique(query.to for _, query in asked)
            yield Finding(
                name,
                Verdict.WARNING,
                what.format(some(names)),
                "such connections come from the listener's own address, and a backend has to"
                f" route that back to this machine: {some(listeners)}",
                "give the backends a route for it by this machine, or let farm and clients not"
                " notice: replace the source",
                statements=_MASQUERADE,
                affects=unique(names),
            )
    if not refused and not silent:
        addresses = some(unique(query.to for _, query in asked))
        yield ok(name, f"as long as the backends route {addresses} back to this machine")


def _own_silent(situation: Situation) -> list[str]:
    """Backends that answered none of this machine's own connections."""
    seen: dict[tuple[Address, Address], bool] = {}
    for each in (each for found in _connections(situation).values() for each in found):
        if each.client == each.listener:
            key = each.listener, each.backend
            seen[key] = seen.get(key, False) or each.answered
    return [
        f"{farm.name}/{backend.name}"
        for farm in situation.farms
        for listener in farm.listeners
        for backend in farm.backends
        if seen.get((listener.address, backend.address)) is False
    ]


def _connections(situation: Situation) -> Mapping[Address, Sequence[Connection]]:
    try:
        return situation.connections
    except Unseen:
        return {}
