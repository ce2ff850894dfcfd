"""The farms as rows of the table's maps and sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nftlbc import states
from nftlbc.farms import FAMILIES, Family, Farm
from nftlbc.states import NOTHING, Remembered, Seconds
from nftlbc.table import recorded
from nftlbc.table.model import OURS, Destination, ElementData, ElementKey, Map, Note
from nftlbc.table.numbers import room_for
from nftlbc.table.pool import Pool
from nftlbc.table.ways import Names

_ADDRESS_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}

Sections = dict[str, dict[ElementKey, ElementData]]
"""The rows of one map, farm by farm."""


@dataclass
class Rows:
    """The rows of all farms, map by map and family by family."""

    sizes: Mapping[str, int]
    slots: Sections = field(default_factory=dict)
    backends: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    addresses: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    services: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    ranges: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    own: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    ports: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    snat: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    hairpins: dict[Family, Sections] = field(default_factory=lambda: {4: {}, 6: {}})
    records: Sections = field(default_factory=dict)
    states: Sections = field(default_factory=dict)
    cut: Sections = field(default_factory=dict)
    traffic: Sections = field(default_factory=dict)
    rooms: Counter[str] = field(default_factory=Counter)
    """Elements that a map may come to have whoever falls or returns: a map that changes its size
    is read and made anew."""

    def add(self, pool: Pool, marks: Sequence[int], number: int) -> None:
        """The rows of one pool but its slots."""
        farm, family, section = pool.farm, pool.family, pool.farm.name
        self._add_listeners(pool, section)
        owning = any(each.to for each in farm.listeners if each.family == family)
        fixed: dict[ElementKey, ElementData] = {}
        asked: dict[ElementKey, ElementData] = {}
        for n, (mark, backend) in enumerate(zip(marks, pool.backends, strict=True)):
            # One that is down rests beside its place, with what it has counted: no mark that is
            # looked up lacks this bit.
            key = mark if n in pool.live else mark & ~OURS
            name = f"{section}/{backend.name}"
            if backend.port is not None:
                fixed[key] = Destination(backend.address, backend.port, name)
            if backend.port is None or owning:
                asked[key] = Destination(backend.address, None, name)
        if fixed:
            self.backends[family][section] = fixed
        if asked:
            self.addresses[family][section] = asked
        if farm.forward.kind == "snat":
            address = next(a for a in farm.forward.addresses if (":" in a) == (family == 6))
            self.snat[family][section] = dict.fromkeys(marks, address)
        elif farm.hairpin and farm.forward.kind == "dnat":
            sources = dict.fromkeys(backend.address for backend in pool.backends)
            self.hairpins[family][section] = {(number, source): None for source in sources}

    def note(self, pool: Pool, marks: Sequence[int]) -> None:
        """What no rule looks up, or only for packets that come later."""
        farm = pool.farm
        self.rooms["states"] += len(marks)
        known = [
            (mark, each.remembered)
            for mark, each in zip(marks, pool.backends, strict=True)
            if each.remembered is not NOTHING
        ]
        notes: dict[ElementKey, ElementData] = {
            mark: Note(text) for mark, record in known if (text := states.text(record))
        }
        if notes:
            self.states.setdefault(farm.name, {}).update(notes)
        # Who is kept though its checks fail (when-all-down keep) gets new connections.
        kept = {marks[number] for number in pool.live}
        cut = [mark for mark, record in known if mark not in kept and ended(farm, record)]
        if cut:
            self.cut.setdefault(farm.name, {}).update(dict.fromkeys(cut))
        if farm.count_traffic:
            self.traffic.setdefault(farm.name, {}).update(dict.fromkeys(marks))

    def remember_probe(self, when: Seconds) -> None:
        """When checks were last made."""
        self.states["probe"] = {states.PROBED_KEY: Note(states.probed_text(when))}

    def record(self, farm: Farm, number: int, idle: Sequence[int]) -> None:
        text = recorded.record(farm, idle)
        if text:
            self.records[farm.name] = {
                (number, at): Note(piece) for at, piece in enumerate(recorded.pieces(text))
            }

    def _add_listeners(self, pool: Pool, section: str) -> None:
        family = pool.family
        chain = chain_name(pool)
        exact: dict[ElementKey, ElementData] = {}
        ranges: dict[ElementKey, ElementData] = {}
        ports: dict[ElementKey, ElementData] = {}
        for each in pool.farm.listeners:
            if each.family != family:
                continue
            if each.first == each.last:
                exact[each.address, each.protocol, each.first] = chain
            else:
                ranges[each.address, each.protocol, (each.first, each.last)] = chain
            if each.to is not None:
                ports[each.address, each.protocol, (each.first, each.last)] = each.to
        if exact:
            self.services[family][section] = exact
        if ranges:
            self.ranges[family][section] = ranges
        if ports:
            self.ports[family][section] = ports
            self.own[family][section] = dict.fromkeys(ports)

    def size(self, name: str, sections: Sections) -> int:
        return self.sizes.get(name) or room_for(
            max(self.rooms[name], sum(map(len, sections.values())))
        )

    def _map(
        self, name: str, key: str, data: str | None, sections: Sections, counter: bool = False
    ) -> Map:
        size = self.size(name, sections)
        return Map(f"{name}_{size}", key, data, size, counter=counter, sections=sections)

    def sized(self, name: str, sections: Sections) -> str:
        """The name of a map of this size."""
        return f"{name}_{self.size(name, sections)}"

    def names(self) -> dict[Family, Names]:
        slots = self.sized("slots", self.slots)
        return {
            family: Names(
                slots=slots,
                backends=self.sized(f"backends{family}", self.backends[family]),
                addresses=self.sized(f"addresses{family}", self.addresses[family]),
                own=f"own{family}",
                ports=f"ports{family}",
                hairpins=self.sized(f"hairpins{family}", self.hairpins[family]),
            )
            for family in FAMILIES
        }

    def maps(self) -> Iterable[Map]:
        """The maps that have elements; where none would look, none is declared."""
        found = [self._map("slots", "typeof ct mark", "ct mark", self.slots)]
        for family in FAMILIES:
            address = _ADDRESS_TYPE[family]
            triple = f"type {address} . inet_proto . inet_service"
            ip = "ip" if family == 4 else "ip6"
            farm_and_source = f"typeof meta priority . {ip} saddr"
            target = f"{address} . inet_service"
            found += [
                self._map(f"services{family}", triple, "verdict", self.services[family]),
                _interval(f"ranges{family}", triple, "verdict", self.ranges[family]),
                self._map(f"backends{family}", "type mark", target, self.backends[family], True),
                self._map(f"addresses{family}", "type mark", address, self.addresses[family], True),
                _interval(f"own{family}", triple, None, self.own[family]),
                _interval(f"ports{family}", triple, "inet_service", self.ports[family]),
                self._map(f"snat{family}", "type mark", address, self.snat[family]),
                self._map(f"hairpins{family}", farm_and_source, None, self.hairpins[family]),
            ]
        records = self._map("farms", "typeof meta priority . ct mark", None, self.records)
        states = self._map("states", "type mark", None, self.states)
        return [*(each for each in found if each.sections), records, states]


def ended(farm: Farm, record: Remembered) -> bool:
    """Whether the open connections of a backend that stands so are ended."""
    return record.cut or (record.failed and farm.on_down == "reset")


def _interval(name: str, key: str, data: str | None, sections: Sections) -> Map:
    return Map(name, key, data, flags=("interval",), sections=sections)


def chain_name(pool: Pool) -> str:
    # The prefix keeps farms called drop, tcp or deliver from being nft's words or our chains.
    return f"farm-{pool.farm.name}-{pool.family}"
