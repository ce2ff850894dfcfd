"""Listeners, of one farm and of all: no two for one connection, and none behind another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from nftlbc.diagnostics import Also, Diagnostic, error, warning
from nftlbc.farms import Address, Backend, Farm, Listener, Protocol


class _Found(NamedTuple):
    """A listener and where it stands; sorts by what it listens on."""

    address: Address
    protocol: Protocol
    first: int
    last: int
    farm: int
    """Its place among the farms."""
    number: int
    """Its place among its farm's listeners."""


def check(farms: Sequence[Farm], found: list[Diagnostic]) -> None:
    listeners = [
        _Found(each.address, each.protocol, each.first, each.last, number, place)
        for number, farm in enumerate(farms)
        for place, each in enumerate(farm.listeners)
    ]
    listeners.sort()
    found += _overlaps(farms, listeners)
    found += _chained(farms, listeners)
    for farm in farms:
        if not farm.mistaken & {"listen", "backend"} and _several_ports(farm.listeners):
            found += _one_port(farm)


def _several_ports(listeners: Sequence[Listener]) -> bool:
    return len(listeners) > 1 or any(each.first != each.last for each in listeners)


def _overlaps(farms: Sequence[Farm], listeners: Iterable[_Found]) -> Iterator[Diagnostic]:
    """Each listener that begins before the ones sorted before it have ended."""
    widest: _Found | None = None
    for each in listeners:
        if (
            widest is not None
            and each.first <= widest.last
            and each.address == widest.address
            and each.protocol == widest.protocol
        ):
            yield _overlap(farms, widest, each)
            if each.last <= widest.last:
                continue
        widest = each


def _overlap(farms: Sequence[Farm], one: _Found, other: _Found) -> Diagnostic:
    (farm, listener), (second_farm, second) = sorted(
        [_listener(farms, one), _listener(farms, other)], key=_order
    )
    if farm is second_farm:
        if (listener.first, listener.last) == (second.first, second.last):
            message = f"farm {farm.name} listens on {second} twice"
        else:
            message = f"{second} overlaps with {listener}, both of farm {farm.name}"
    elif (listener.first, listener.last) == (second.first, second.last):
        message = f"farms {farm.name} and {second_farm.name} both listen on {second}"
    else:
        message = (
            f"{second} of farm {second_farm.name} overlaps with {listener} of farm {farm.name}"
        )
    also = Also("first here", listener.place) if listener.place else None
    return error(message, second.place, "a connection goes to one listener", also)


def _listener(farms: Sequence[Farm], found: _Found) -> tuple[Farm, Listener]:
    farm = farms[found.farm]
    return farm, farm.listeners[found.number]


def _order(item: tuple[Farm, Listener]) -> tuple[str, int]:
    """By where they are written, as far as two places can be compared."""
    place = item[1].place
    return (place.source.name, place.first) if place else ("", 0)


def _chained(farms: Sequence[Farm], listeners: Sequence[_Found]) -> Iterator[Diagnostic]:
    """Backends that are themselves listeners: the kernel translates a connection once."""
    addresses = {each.address for each in listeners}
    spots: dict[Address, list[_Found]] | None = None
    for farm in farms:
        if addresses.isdisjoint([each.address for each in farm.backends]):
            continue
        if spots is None:
            spots = {}
            for each in listeners:
                spots.setdefault(each.address, []).append(each)
        for backend in farm.backends:
            target = _target(farm, backend, spots.get(backend.address, ()))
            if target is not None:
                other, listener = _listener(farms, target)
                also = Also("the listener", listener.place) if listener.place else None
                yield warning(
                    f"backend {backend.name} of farm {farm.name} is a listener of"
                    f" farm {other.name}: {listener}",
                    backend.place("address"),
                    "a connection is translated once: it ends at this machine's own port,"
                    " not at that farm's backends",
                    also,
                )


def _target(farm: Farm, backend: Backend, there: Sequence[_Found]) -> _Found | None:
    """The first of the listeners at its address that is where the backend's connections end."""
    if not there:
        return None
    ends = _ends(farm, backend)
    for each in there:
        for protocol, first, last in ends:
            if protocol == each.protocol and first <= each.last and each.first <= last:
                return each
    return None


def _ends(farm: Farm, backend: Backend) -> set[tuple[Protocol, int, int]]:
    """Where the connections of a farm end at a backend: protocols and ranges of ports."""
    ends = set()
    for each in farm.listeners:
        if each.family == backend.family:
            port = each.to if each.to is not None else backend.port
            first, last = (each.first, each.last) if port is None else (port, port)
            ends.add((each.protocol, first, last))
    return ends


def _one_port(farm: Farm) -> Iterator[Diagnostic]:
    """Different ports that all end at one: 80 and 443 at :8080 is nearly always a mistake."""
    for protocol in ("tcp", "udp", "sctp"):
        listeners = [each for each in farm.listeners if each.protocol == protocol]
        ports = {(each.first, each.last) for each in listeners}
        if not _several_ports(listeners) or ports == {(listeners[0].first, listeners[0].first)}:
            continue
        families = {each.family for each in listeners if each.to is None}
        ends = {each.to for each in listeners if each.to is not None}
        ends |= {each.port or 0 for each in farm.backends if each.family in families}
        if len(ends) != 1 or 0 in ends:
            continue
        (end,) = ends
        first = listeners[0]
        second = next((each for each in listeners if each.first != first.first), first)
        asked = _port(first) if first is second else f"{_port(first)} and {_port(second)}"
        yield warning(
            f"ports {asked} of farm {farm.name} all end at port {end} of its backends",
            second.place,
            "leave port away from the backends, or give a listener its own: port 443 to 8443",
            _same(farm, first, second),
        )


def _port(listener: Listener) -> str:
    first, last = listener.first, listener.last
    return str(first) if first == last else f"{first}-{last}"


def _same(farm: Farm, first: Listener, second: Listener) -> Also | None:
    place = first.place if first is not second else farm.backends[0].place("port")
    if place is None or place == second.place:
        return None
    return Also("as this one does" if first is not second else "this port", place)
