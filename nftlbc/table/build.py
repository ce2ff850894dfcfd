"""From farms to the table: one fixed program, and the farms as rows of its maps.

docs/architecture.md shows the program and why it looks so. The table is a function of the farms
alone: the same for every order of files, machine and Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nftlbc.farms import FAMILIES, KEYED_SCHEDULERS, Family, Farm
from nftlbc.table import about, filters, ways
from nftlbc.table.about import seconds
from nftlbc.table.model import (
    BACKEND_BITS,
    OURS,
    REPLACE_SOURCE,
    AddToMark,
    Chain,
    Counter,
    Goto,
    Hash,
    Hook,
    Jump,
    Key,
    Map,
    Masquerade,
    MatchMark,
    MatchNew,
    MatchTranslated,
    Rule,
    SetMark,
    SetPriority,
    Snat,
    Table,
    VerdictMap,
)
from nftlbc.table.numbers import InUse, Numbers, farm_hash, known_as, place_slots
from nftlbc.table.pool import Pool, most_slots, pool_of, slots_of
from nftlbc.table.rows import Rows, chain_name
from nftlbc.table.ways import Memory, Names, Way

SHARED_STICKY_SIZE = 262_144
"""Entries of a sticky map that farms share. The kernel takes 4 MiB for their buckets at once."""
_DSTNAT, _SRCNAT = -100, 100


_NOTHING = InUse()


def build(farms: Sequence[Farm], in_use: InUse = _NOTHING) -> Table:
    """The table of valid farms (``rules.check`` found no error), sorted by name.

    in_use: the numbers that they have in a running table.
    """
    farms = sorted(farms, key=lambda farm: farm.name)
    pools = [pool_of(farm, family) for farm in farms for family in farm.families]
    orders = [slots_of(pool, _present(pool, in_use)) for pool in pools]
    sizes = {
        (pool.farm.name, pool.family): len(order)
        for pool, order in zip(pools, orders, strict=True)
        if order
    }
    starts = place_slots(sizes, in_use.starts)
    elements = Rows(in_use.sizes)
    numbers = Numbers(in_use)
    idle: dict[str, list[int]] = {}
    farm_numbers = {farm.name: numbers.farm(farm.name) for farm in farms}
    for pool, order in zip(pools, orders, strict=True):
        marks = [numbers.mark(pool.farm.name, backend) for backend in pool.backends]
        number = farm_numbers[pool.farm.name]
        elements.add(pool, marks, number)
        elements.note(pool, marks)
        elements.rooms["slots"] += most_slots(pool, order)
        owners = set(order)
        if len(owners) < len(marks):
            without = [mark for owner, mark in enumerate(marks) if owner not in owners]
            idle.setdefault(pool.farm.name, []).extend(without)
        if order:
            start = starts[pool.farm.name, pool.family]
            # A farm of two families has two ranges.
            section = elements.slots.setdefault(pool.farm.name, {})
            section.update((start + slot, marks[owner]) for slot, owner in enumerate(order))
    for farm in farms:
        elements.record(farm, farm_numbers[farm.name], idle.get(farm.name, ()))
    if in_use.probed is not None:
        elements.remember_probe(in_use.probed)
    names = elements.names()
    program = _Program(names)
    for pool, order in zip(pools, orders, strict=True):
        name = pool.farm.name
        start = starts.get((name, pool.family), 0)
        program.add(pool, order, start, farm_numbers[name])
    shared = [ways.tracking(), ways.refuse()]
    if sizes:
        shared.append(ways.pick(names[4]))
    ending = set(in_use.ending) - numbers.given
    watched = filters.chains(elements.traffic, elements.cut, ending, in_use.sizes)
    chains = [
        *shared,
        *program.shared.values(),
        *program.farms,
        *_base_chains(elements, program),
        *watched.chains,
    ]
    return Table((*elements.maps(), *watched.maps, *program.sticky.values()), tuple(chains))


def _present(pool: Pool, in_use: InUse) -> tuple[int, ...]:
    """Who has which slot in the running table, by their numbers in the pool."""
    marks = in_use.slots.get((pool.farm.name, pool.family))
    if not marks:
        return ()
    name = pool.farm.name
    numbers = {
        in_use.marks.get(known_as(name, each.address, each.port)): number
        for number, each in enumerate(pool.backends)
    }
    return tuple(numbers.get(mark, -1) for mark in marks)


class _Program:
    """The chains of the farms, and those that they share as far as anyone needs them."""

    def __init__(self, names: dict[Family, Names]) -> None:
        self.names = names
        self.shared: dict[str, Chain] = {}
        self.sticky: dict[str, Map] = {}
        self.farms: list[Chain] = []
        self.replaces = False
        """Some connections have their source replaced."""
        self._known: set[Way | Memory] = set()

    def add(self, pool: Pool, order: Sequence[int], start: int, number: int) -> None:
        # The chains that farms share are those of all backends, whoever is up: a state changes
        # its farm's rules and no others.
        way = _way_of(pool)
        self._need(way)
        memory = self._memory(pool, way, number)
        # What is refused is marked all the same: in a table without a word of ct the kernel tracks
        # no connections, runs no nat chain, and lets everybody through.
        rules: list[Rule] = [(AddToMark(OURS), Goto("refuse"))]
        if pool.live:
            rules = _rules(pool, order, start, number, way, memory)
        lines, name = about.farm(pool, order), pool.farm.name
        # A number that is not the name's hash is written beside it, lest it get lost.
        odd = "" if number == farm_hash(name) else f"0x{number:08x}"
        self.farms.append(Chain(chain_name(pool), tuple(rules), about=lines, comment=odd))

    def _need(self, need: Way | Memory) -> None:
        if need in self._known:
            return
        self._known.add(need)
        if isinstance(need, Way):
            self.replaces = self.replaces or need.source != "keep"
            made = ways.chains_of(need, self.names[need.family])
        else:
            made = ways.memory_chains(need)
        self.shared.update((chain.name, chain) for chain in made)

    def _memory(self, pool: Pool, way: Way, number: int) -> Memory | None:
        persistence = pool.farm.persistence
        if persistence is None:
            return None
        store = self._store(pool)
        fields = ways.fields(persistence.keys, pool.family)
        hashed = ways.hashed(fields, number) if ways.too_long(fields) else None
        cut = ways.sticky_name(persistence.keys, pool.family)
        farm = (pool.farm.name,) if store.alone else ()
        label = "_".join((way.name, cut, seconds(persistence.timeout), *farm))
        memory = Memory(
            way,
            store.map,
            store.key,
            persistence.timeout,
            label,
            hashed,
            number if hashed else 0,
        )
        self._need(memory)
        return memory

    def _store(self, pool: Pool) -> _Store:
        """Declares the map in which a pool's clients are known."""
        persistence = pool.farm.persistence
        assert persistence is not None
        fields = ways.fields(persistence.keys, pool.family)
        numbered = (ways.PRIORITY, *fields)
        key = numbered
        if ways.too_long(fields):
            key = (ways.PRIORITY,)
        elif ways.too_long(numbered):
            key = fields
        alone = persistence.size is not None or key != numbered
        # A map of the farm's own grows as it fills, up to 65 535 where it has no size.
        size = persistence.size or (None if alone else SHARED_STICKY_SIZE)
        sized = (str(size),) if size else ()
        farm = (pool.farm.name,) if alone else ()
        named = (ways.sticky_name(persistence.keys), seconds(persistence.timeout), *sized, *farm)
        name = "_".join((f"sticky{pool.family}", *named))
        self.sticky[name] = Map(
            name,
            f"typeof {' . '.join(field.name for field in key)}",
            "ct mark",
            size,
            ("dynamic", "timeout"),
            timeout=persistence.timeout,
        )
        return _Store(name, key, alone)


def _rules(
    pool: Pool, order: Sequence[int], start: int, number: int, way: Way, memory: Memory | None
) -> list[Rule]:
    """Of a farm's chain, where somebody lives."""
    serve = Goto(f"serve{way.name}")
    announced = SetPriority(number)
    rules: list[Rule] = []
    if memory is not None:
        rules.append((announced, Jump(f"stick{memory.label}")))
        serve = Goto(f"learn{memory.label}")
    if order:
        needs_number = memory is not None or way.source == "hairpin"
        choose = (SetMark(_generator(pool, len(order), start)), Jump("pick"))
        rules.append((announced, *choose) if needs_number else choose)
        rules.append((serve,))
    else:
        rules.append((Goto("refuse"),))
    return rules


class _Store(NamedTuple):
    """Where a pool's clients are known."""

    map: str
    key: Key
    alone: bool
    """No other farm has that map."""


def _way_of(pool: Pool) -> Way:
    farm, family = pool.farm, pool.family
    return Way(
        family=family,
        source=(
            "replace" if farm.forward.kind != "dnat" else "hairpin" if farm.hairpin else "keep"
        ),
        fixed=any(backend.port is not None for backend in pool.backends),
        asked=any(backend.port is None for backend in pool.backends),
        own=any(each.to is not None for each in farm.listeners if each.family == family),
    )


def _generator(pool: Pool, modulus: int, start: int) -> Counter | Hash:
    balance = pool.farm.balance
    if balance.scheduler in KEYED_SCHEDULERS:
        return Hash(ways.fields(balance.keys, pool.family), modulus, ways.SEED, start)
    return Counter("random" if balance.scheduler == "random" else "inc", modulus, start)


def _base_chains(elements: Rows, program: _Program) -> Iterable[Chain]:
    """Where the kernel comes in: nat chains see a connection's first packet alone."""
    listen: list[Rule] = []
    for family in FAMILIES:
        triple = ways.triple(family)
        if elements.services[family]:
            name = elements.sized(f"services{family}", elements.services[family])
            listen.append((VerdictMap(name, triple),))
        if elements.ranges[family]:
            listen.append((VerdictMap(f"ranges{family}", triple),))
    yield Chain("prerouting", tuple(listen), Hook("prerouting", _DSTNAT))
    # The balancer's own processes are clients too. A reset that refuses one of them comes by here
    # again, and must not be balanced where the process's port is itself a listener's.
    own = tuple((MatchNew(), *rule) for rule in listen)
    yield Chain("output", own, Hook("output", _DSTNAT))
    if program.replaces:
        flags = OURS | REPLACE_SOURCE
        sources: list[Rule] = [
            (
                Snat(
                    family,
                    elements.sized(f"snat{family}", elements.snat[family]),
                    BACKEND_BITS,
                ),
            )
            for family in FAMILIES
            if elements.snat[family]
        ]
        yield Chain("source", (*sources, (Masquerade(),)))
        ours: Rule = (MatchTranslated(), MatchMark(flags, flags), Goto("source"))
        yield Chain("postrouting", (ours,), Hook("postrouting", _SRCNAT))
