"""A packet's walk in the farms' words: which listener, known or not, which backend, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from nftlbc.explain.interpreter import Draw, Interpreter
from nftlbc.explain.outcome import (
    Delivered,
    Drew,
    Hashed,
    Looked,
    Packet,
    Share,
    Spread,
    Sticky,
    Walk,
)
from nftlbc.explain.registers import cut
from nftlbc.farms import Backend, Farm, Key, Listener, Milliseconds
from nftlbc.table.model import (
    OURS,
    Destination,
    ElementData,
    ElementKey,
    FieldName,
    KeyPart,
    Table,
)
from nftlbc.table.pool import pool_of

_NOTHING: Final[Mapping[ElementKey, Milliseconds]] = MappingProxyType({})


class Value(NamedTuple):
    """A key of the farm, and what it is in this packet."""

    key: Key
    value: KeyPart | None
    """None: it was not told."""
    bits: int | None
    """The prefix that an address was cut to."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the farm's memory says of the client."""

    values: tuple[Value, ...]
    state: Literal["new", "known", "gone", "not told"]
    """``gone``: known, but its backend is no more; ``not told``: the client's port is needed."""
    backend: str | None = None
    """Whose client it is; None: nobody's, or the table has no such backend."""
    left: Milliseconds | None = None
    """For how long, where that is known."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a new client's backend is found."""

    how: Literal["hash", "inc", "random", "source port"]
    """``source port``: it would be hashed, and was not told."""
    values: tuple[Value, ...]
    slots: int
    slot: int | None


@dataclass(frozen=True, slots=True)
class Absent:
    """A backend of the pool that gets no new clients."""

    backend: Backend
    why: str


class Near(NamedTuple):
    """A listener that it nearly was."""

    listener: Listener
    farm: Farm
    differs: Literal["protocol", "port", "address"]


@dataclass(frozen=True, slots=True)
class Story:
    walk: Walk
    farm: Farm | None
    listener: Listener | None
    known: Known | None
    """None: the farm remembers nobody, or it has nobody to remember for."""
    choice: Choice | None
    """None: it was not asked for."""
    absent: tuple[Absent, ...]
    degraded: bool
    """Fewer than the quorum take new clients: the backups serve."""
    near: tuple[Near, ...]
    """The nearest first; only where it is no listener."""

    @property
    def packet(self) -> Packet:
        return self.walk.packet

    @property
    def shares(self) -> tuple[Share, ...]:
        """All that may become of it; one of share 1 where that is sure."""
        if isinstance(self.walk.outcome, Spread):
            return self.walk.outcome.shares
        return (Share(Fraction(1), self.walk.outcome, ()),)

    @property
    def delivered(self) -> tuple[Delivered, ...]:
        return tuple(each.outcome for each in self.shares if isinstance(each.outcome, Delivered))


def story(
    farms: Sequence[Farm],
    table: Table,
    packet: Packet,
    *,
    sticky: Sticky | None = None,
    left: Mapping[ElementKey, Milliseconds] = _NOTHING,
    draw: Draw | None = None,
) -> Story:
    """What becomes of a packet. ``table`` is that of the farms; see Interpreter.walk.

    left: how long the entries stay by which the farm's clients are known.
    """
    walk = Interpreter(table).walk(packet, sticky=sticky, draw=draw)
    found = listening(farms, packet)
    if found is None:
        return Story(walk, None, None, None, None, (), False, _near(farms, packet))
    farm, listener = found
    pool = pool_of(farm, packet.family)
    takers = {pool.backends[number].name for number in pool.takers}
    absent = tuple(
        Absent(each, _why_absent(farm, each, len(takers)))
        for each in pool.backends
        if each.name not in takers
    )
    known = _known(farm, table, walk, left)
    return Story(walk, farm, listener, known, _choice(farm, walk), absent, pool.degraded, ())


def listening(farms: Sequence[Farm], packet: Packet) -> tuple[Farm, Listener] | None:
    """Who is asked."""
    for farm in farms:
        for each in farm.listeners:
            if (
                each.address == packet.destination
                and each.protocol == packet.protocol
                and each.first <= packet.port <= each.last
            ):
                return farm, each
    return None


def _near(farms: Sequence[Farm], packet: Packet) -> tuple[Near, ...]:
    near: list[tuple[int, int, Near]] = []
    for farm in farms:
        for each in farm.listeners:
            address = each.address == packet.destination
            protocol = each.protocol == packet.protocol
            away = max(each.first - packet.port, packet.port - each.last, 0)
            if address and away == 0:
                near.append((0, 0, Near(each, farm, "protocol")))
            elif address and protocol:
                near.append((1, away, Near(each, farm, "port")))
            elif protocol and away == 0 and each.family == packet.family:
                near.append((2, 0, Near(each, farm, "address")))
    near.sort(key=lambda each: each[:2])
    return tuple(each[2] for each in near)


def _why_absent(farm: Farm, backend: Backend, takers: int) -> str:
    if backend.standing == "down":
        return f"down{_by(backend)}"
    if backend.standing == "drain":
        return f"draining{_by(backend)}: its known clients stay, new ones go elsewhere"
    if backend.weight == 0:
        return "weight 0: its known clients stay, new ones go elsewhere"
    take = "takes" if takers == 1 else "take"
    return f"a backup: the quorum of {farm.quorum} is met, {takers} {take} new clients"


def _by(backend: Backend) -> str:
    """Who says so, if it is not the file."""
    known = backend.remembered
    if backend.standing == backend.state:
        return ""
    if known.hand is not None and known.failed:
        return f" (by hand, {known.hand.by}, and by its checks)"
    if known.hand is not None:
        return f" (by hand, {known.hand.by})"
    return f" (by its checks: {known.check.why})" if known.check and known.check.why else ""


_WORDS: dict[FieldName, str] = {
    "ip saddr": "source-ip",
    "ip6 saddr": "source-ip",
    "ip daddr": "destination-ip",
    "ip6 daddr": "destination-ip",
    "th sport": "source-port",
    "th dport": "destination-port",
}


def _choice(farm: Farm, walk: Walk) -> Choice | None:
    family = walk.packet.family
    for step in walk.steps:
        match step.event:
            case Hashed(fields, slot, modulus):
                found = {_WORDS.get(name, name): value for name, value in fields}
                values = tuple(
                    Value(key, found.get(key.field), key.bits(family)) for key in farm.balance.keys
                )
                return Choice("hash", values, modulus, slot)
            case Drew(by, modulus, number):
                values = _values(farm.balance.keys, walk.packet)
                return Choice(by, values, modulus, number)
    return None


def _known(
    farm: Farm, table: Table, walk: Walk, left: Mapping[ElementKey, Milliseconds]
) -> Known | None:
    if farm.persistence is None:
        return None
    values = _values(farm.persistence.keys, walk.packet)
    for at, step in enumerate(walk.steps):
        match step.event:
            case Looked(map, key, found, mark) if table.map[map].dynamic:
                if key is None:
                    return Known(values, "not told")
                if not found:
                    return Known(values, "new")
                # A client of a live backend is delivered without another choice.
                later = walk.steps[at:]
                again = any(isinstance(each.event, Drew | Hashed) for each in later)
                backend = _named(table, farm, mark)
                return Known(values, "gone" if again else "known", backend, left.get(key))
    return None


def _named(table: Table, farm: Farm, mark: ElementData) -> str | None:
    """The farm's backend of that mark; one that is down rests at its mark without OURS."""
    for each in table.maps:
        if isinstance(mark, int) and each.name.startswith(("backends", "addresses")):
            data = each.elements.get(mark, each.elements.get(mark & ~OURS))
            if isinstance(data, Destination) and data.name.startswith(f"{farm.name}/"):
                return data.name.partition("/")[2]
    return None


def _values(keys: tuple[Key, ...], packet: Packet) -> tuple[Value, ...]:
    found: dict[str, KeyPart | None] = {
        "source-ip": packet.source,
        "source-port": packet.source_port,
        "destination-ip": packet.destination,
        "destination-port": packet.port,
    }
    values = []
    for key in keys:
        value, bits = found[key.field], key.bits(packet.family)
        if bits is not None and isinstance(value, str):
            value = cut(value, bits)
        values.append(Value(key, value, bits))
    return tuple(values)
