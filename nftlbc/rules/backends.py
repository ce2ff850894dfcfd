"""The backends of one farm: told apart, enough of them, and where clients can reach them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

from nftlbc.diagnostics import Also, Diagnostic, error, warning
from nftlbc.farms import Address, Backend, Family, Farm, Listener, Protocol
from nftlbc.source import Place

MOST_BACKENDS = 16_384
"""Of a pool: a round robin has no more slots than this, and everyone needs one."""
_KNOWN = frozenset({"listen", "backend"})
"""What counting needs to know of a farm."""


def check(farm: Farm, found: list[Diagnostic]) -> None:
    backends = farm.backends
    if len({each.name for each in backends}) < len(backends):
        found += _repeated_names(farm)
    addresses = {each.address for each in backends}
    if len(addresses) < len(backends):
        found += _repeated_places(farm)
    if any(address[:4] == "127." or address == "::1" for address in addresses):
        found += _loopback(farm)
    if farm.mistaken & _KNOWN:
        return
    families = farm.families
    if len(families) == 1 and not any((":" in each) == (families[0] == 4) for each in addresses):
        _check_pool(farm, families[0], backends, found)
        return
    for family in families:
        _check_pool(farm, family, farm.pool(family), found)
    found += _unused(farm)


def _again(items: Iterable[tuple[Hashable, Backend]]) -> Iterator[tuple[Backend, Backend]]:
    """Each backend whose key was there before, and the first with that key."""
    first: dict[Hashable, Backend] = {}
    for key, backend in items:
        if first.setdefault(key, backend) is not backend:
            yield backend, first[key]


def _also(message: str, place: Place | None) -> Also | None:
    return Also(message, place) if place else None


def _repeated_names(farm: Farm) -> Iterator[Diagnostic]:
    for backend, first in _again((each.name, each) for each in farm.backends):
        message = f"farm {farm.name} has two backends called {backend.name}"
        yield error(message, backend.place("name"), None, _also("first here", first.place("name")))


def _repeated_places(farm: Farm) -> Iterator[Diagnostic]:
    """Two names for one server would be two backends that fail, and drain, as one."""
    for backend, first in _again(((each.address, each.port), each) for each in farm.backends):
        if backend.name == first.name:
            continue  # which has been told
        message = f"backends {first.name} and {backend.name} of farm {farm.name} are both {backend}"
        also = _also(f"{first.name} is here", first.place("address"))
        help = "one server is one backend: for more clients give it a greater weight"
        yield error(message, backend.place("address"), help, also)
    if farm.mistaken & _KNOWN:
        return
    yield from _repeated_ends(farm)


def _repeated_ends(farm: Farm) -> Iterator[Diagnostic]:
    """A backend without a port and one with it, or two ports that a listener's own port hides."""
    count = Counter(each.address for each in farm.backends)
    spots = dict.fromkeys((each.address, each.port) for each in farm.backends)
    ends: dict[tuple[Address, frozenset[tuple[Protocol, int, int]]], Backend] = {}
    for backend in farm.backends:
        if count[backend.address] == 1 or (backend.address, backend.port) not in spots:
            continue
        del spots[backend.address, backend.port]  # the same port twice has been told
        arrives = frozenset(
            _end(each, backend) for each in farm.listeners if each.family == backend.family
        )
        first = ends.setdefault((backend.address, arrives), backend)
        if arrives and first is not backend:
            message = (
                f"backends {first.name} and {backend.name} of farm {farm.name} are the same server"
                f" for every listener: {first} and {backend}"
            )
            also = _also(f"{first.name} is here", first.place("address"))
            yield error(message, backend.place("address"), None, also)


def _end(listener: Listener, backend: Backend) -> tuple[Protocol, int, int]:
    """Where a listener's connections end at a backend: protocol and ports."""
    port = listener.to if listener.to is not None else backend.port
    if port is None:
        return listener.protocol, listener.first, listener.last
    return listener.protocol, port, port


def _loopback(farm: Farm) -> Iterator[Diagnostic]:
    for backend in farm.backends:
        if backend.address[:4] == "127." or backend.address == "::1":
            message = (
                f"backend {backend.name} of farm {farm.name} has a loopback address:"
                " the kernel drops connections from other machines to it"
            )
            help = (
                "write an address of this machine, or turn on route_localnet for the interface"
                if backend.family == 4
                else "write an address of this machine"
            )
            yield warning(message, backend.place("address"), help)


def _check_pool(
    farm: Farm, family: Family, pool: tuple[Backend, ...], found: list[Diagnostic]
) -> None:
    name = farm.name
    if not pool:
        listener = next(each for each in farm.listeners if each.family == family)
        message = f"farm {name} listens on {listener} and has no IPv{family} backend"
        help = f"clients of an IPv{family} listener go to IPv{family} backends: add one"
        found.append(error(message, listener.place, help))
        return
    if len(pool) > MOST_BACKENDS:
        message = (
            f"farm {name} has {len(pool)} IPv{family} backends, and {MOST_BACKENDS} is the most"
        )
        found.append(error(message, farm.place("name")))
    main = [each.backup for each in pool].count(False)
    if main < farm.quorum and "quorum" not in farm.mistaken:
        found.append(_quorum(farm, family, pool, main))
    if not any(each.weight and each.state == "up" for each in pool):
        which = f"IPv{family} backend" if len(farm.families) > 1 else "backend"
        message = f"no {which} of farm {name} takes new clients: all are refused"
        help = "each of them is drained, down or has a weight of 0"
        found.append(warning(message, farm.place("name"), help))


def _quorum(farm: Farm, family: Family, pool: tuple[Backend, ...], main: int) -> Diagnostic:
    both = len(farm.families) > 1
    if main == 0:
        which = f"IPv{family} backends" if both else "backends"
        message = f"all {which} of farm {farm.name} are backups: there is nobody to step in for"
        return error(message, pool[0].place("backup"), "take backup away from one of them")
    place = farm.place(f"quorum {farm.quorum}")
    which = f"IPv{family} " if both else ""
    backends = f"{main} {which}backend" + ("" if main == 1 else "s")
    backups = len(pool) - main
    but = f" (and {backups} for backup, which don't count)" if backups else ""
    help = "each family has backends of its own, and counts for itself" if both else None
    message = f"a quorum of {farm.quorum} in farm {farm.name}, which has {backends}{but}"
    return error(message, place, help)


def _unused(farm: Farm) -> Iterator[Diagnostic]:
    for family in (4, 6):
        others = [each for each in farm.backends if each.family == family]
        if others and family not in farm.families:
            which = f"backend {others[0].name}"
            if len(others) > 1:
                which = f"{len(others)} backends, {others[0].name} the first,"
            message = (
                f"{which} of farm {farm.name} can't be used: the farm has no IPv{family} listener"
            )
            yield warning(message, others[0].place("address"))
