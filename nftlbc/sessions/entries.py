"""Sticky entries read from the kernel: by maps, and within them by farms.

A shared map holds 262 144 clients, so they are handled by columns: an entry is a key, a mark and
a time, and what they mean is worked out once for all entries of a farm.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import compress
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final, Literal, NamedTuple, cast

from nftlbc.farms import Family, Farm, KeyField, Milliseconds
from nftlbc.nft import netlink
from nftlbc.nft.netlink import CATCH_ALL, KernelMap, KernelTable
from nftlbc.nft.program import NftError
from nftlbc.plan.in_use import destinations, farm_numbers
from nftlbc.plan.planning import NO_TABLE
from nftlbc.plan.recall import recall
from nftlbc.sessions.choice import Choice, among
from nftlbc.table.model import BACKEND_BITS, OURS, ElementKey

_MAP: Final = re.compile(
    r"sticky(?P<family>[46])_(?P<keys>[a-z.-]+)_[\d.]+s(?:_\d+)?(?:_(?P<farm>[A-Za-z][\w-]*))?\Z"
)
_NEEDED: Final = ("sticky", "services", "ranges", "ports", "backends", "addresses", "farms_")
"""What is read: the entries, and what farms and backends are called."""
_ORDER: Final[tuple[KeyField, ...]] = (
    "destination-port",
    "source-port",
    "destination-ip",
    "source-ip",
)
"""As they stand in keys."""


class Form(NamedTuple):
    """What the keys of a map are."""

    kind: Literal["plain", "hashed", "damaged"]
    family: Family
    fields: tuple[KeyField, ...] = ()
    """What clients are known by, in the order of the key; of plain ones."""
    numbered: bool = False
    """The key begins with the farm's number."""
    own: str | None = None
    """The one farm whose map it is."""


class Served(NamedTuple):
    """A backend, by its mark."""

    farm: str
    name: str
    live: bool


@dataclass
class Group:
    """The clients of one farm in one map; three columns, sorted by client."""

    map: KernelMap
    form: Form
    farm: str | None
    """None: the number is no farm's."""
    number: int | None
    """The farm's, where keys begin with it."""
    gone: bool
    """The table has no such farm."""
    keys: list[ElementKey]
    marks: list[int] = field(default_factory=list)
    left: list[Milliseconds | None] = field(default_factory=list)
    """None: it stays."""
    used: bool = True
    """The farm looks here for its clients; if not, these are left over."""
    bits: Mapping[KeyField, int] = field(default_factory=dict)
    """What addresses are cut to."""

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, field: KeyField) -> list[str | int] | None:
        """One part of all keys; None where clients are not known by it."""
        fields, numbered = self.form.fields, self.form.numbered
        if field not in fields:
            return None
        if not numbered and len(fields) == 1:
            return cast("list[str | int]", self.keys)
        at = fields.index(field) + numbered
        return [key[at] for key in self.keys]  # type: ignore[index,misc]

    def kept(self, which: Iterable[bool]) -> Group:
        """With those entries alone."""
        meant = list(which)
        keys, marks = list(compress(self.keys, meant)), list(compress(self.marks, meant))
        return replace(self, keys=keys, marks=marks, left=list(compress(self.left, meant)))


@dataclass
class Sessions:
    groups: tuple[Group, ...]
    """Sorted by farm (those that are gone last) and family."""
    backends: Mapping[int, Served]
    """By mark."""
    untold: int = 0
    """Entries that may be the client's that was asked for: their keys are hashed, or have no
    client's address."""
    unreadable: tuple[str, ...] = ()
    """Sticky maps that hold something else."""

    def __len__(self) -> int:
        return sum(map(len, self.groups))


class Unknown(Exception):
    """The table has no farm or backend of that name."""

    def __init__(self, message: str, word: str, names: Iterable[str]) -> None:
        super().__init__(message)
        self.word = word
        self.names = tuple(names)


def read(choice: Choice, *, twice: bool = False) -> Sessions:
    """The entries that are meant.

    twice: a map is read a second time. The kernel goes on through a map by counting, and passes
    over as many entries as ended behind it meanwhile: of 120 000 that end in five minutes, 150.

    Raises NftError where there is no table or it can't be read, and Unknown.
    """
    table = netlink.read(elements=lambda each: each.name.startswith(_NEEDED))
    if table is None:
        raise NftError(NO_TABLE, "load one: nftlbc apply FILE")
    if twice:
        again = netlink.read(elements=lambda each: each.name.startswith("sticky"), program=False)
        for name, each in again.maps.items() if again else ():
            there = table.maps.get(name)
            if each.contents is not None and there is not None and there.contents is not None:
                there.contents.elements.update(each.contents.elements)
                there.contents.leases.update(each.contents.leases)
    return of_table(table, choice)


def of_table(table: KernelTable, choice: Choice) -> Sessions:
    """The entries of a table of which at least those maps were read (``_NEEDED``)."""
    numbers = {number: name for name, number in farm_numbers(table).items()}
    backends = _backends(table)
    known = set(numbers.values())
    meant = _meant(choice, known, backends)
    groups, unreadable = [], []
    for name in sorted(table.maps):
        each = table.maps[name]
        if not name.startswith("sticky"):
            continue
        if each.contents is None or each.data != "mark":
            unreadable.append(name)
            continue
        groups += _of_map(each, numbers, known)
    if choice.farm is not None:
        groups = [each for each in groups if each.farm == choice.farm]
    if meant is not None:
        groups = [each.kept(mark & BACKEND_BITS in meant for mark in each.marks) for each in groups]
    _know(table, [each for each in groups if len(each) and not each.gone])
    untold = 0
    if choice.client is not None:
        untold = sum(len(each) for each in groups if each.part("source-ip") is None)
        groups = [
            each.kept(among(column, each.form.family, each.bits.get("source-ip"), choice.client))  # type: ignore[arg-type]
            for each in groups
            if (column := each.part("source-ip")) is not None
        ]
    groups = [_sorted(each) for each in groups if len(each)]
    groups.sort(key=_place)
    return Sessions(tuple(groups), backends, untold, tuple(unreadable))


def _place(group: Group) -> tuple[object, ...]:
    return group.gone, group.farm or "", group.form.family, group.number or 0, group.map.name


def _backends(table: KernelTable) -> dict[int, Served]:
    found: dict[int, Served] = {}
    for kind in ("backends", "addresses"):
        for _, mark, (_, _, comment) in destinations(table, kind):
            farm, _, name = comment.partition("/")
            # Where it is down it lacks that bit.
            found.setdefault(mark | OURS, Served(farm, name, bool(mark & OURS)))
    return found


def _meant(choice: Choice, farms: set[str], backends: Mapping[int, Served]) -> set[int] | None:
    """The marks of the backends that are asked for; None: all."""
    if choice.farm is not None and choice.farm not in farms:
        raise Unknown(f"the table has no farm {choice.farm}", choice.farm, sorted(farms))
    if choice.backend is None:
        return None
    farm, slash, name = choice.backend.rpartition("/")
    within = {
        mark: each
        for mark, each in backends.items()
        if choice.farm in (None, each.farm) and (not slash or each.farm == farm)
    }
    found = {mark for mark, each in within.items() if each.name == name}
    if not found:
        of = f" of farm {choice.farm}" if choice.farm else ""
        known = {f"{each.farm}/{each.name}" if slash else each.name for each in within.values()}
        raise Unknown(f"the table has no backend {choice.backend}{of}", choice.backend, known)
    return found


def _of_map(each: KernelMap, numbers: Mapping[int, str], known: set[str]) -> list[Group]:
    """The entries of one map, farm by farm. Whether they are still of use is not known yet."""
    form = _form(each)
    elements, leases = each.elements, each.leases
    odd = [CATCH_ALL] if CATCH_ALL in elements else []
    keys = [key for key in elements if key != CATCH_ALL] if odd else list(elements)
    by_number: dict[int | None, list[ElementKey]] = defaultdict(list)
    if form.numbered:
        for key in keys:
            by_number[key[0]].append(key)  # type: ignore[index]
    else:
        by_number[None] = keys
    groups = []
    for number, some in by_number.items():
        farm = form.own if number is None else numbers.get(number)
        groups.append(Group(each, form, farm, number, farm not in known, some))
    if odd:
        damaged = Form("damaged", form.family, own=form.own)
        groups.append(Group(each, damaged, form.own, None, form.own not in known, list(odd)))
    for group in groups:
        group.marks = [cast(int, elements[key]) for key in group.keys]
        group.left = [lease.left if (lease := leases.get(key)) else None for key in group.keys]
    return groups


def _form(each: KernelMap) -> Form:
    """What a map's keys are, by its name, if its type agrees."""
    match = _MAP.match(each.name)
    if match is None:
        return Form("damaged", 4)
    family: Family = 6 if match["family"] == "6" else 4
    parts = match["keys"].split(".")
    fields = tuple(field for field in _ORDER if field in parts)
    plain = [f"ipv{family}_addr" if each.endswith("-ip") else "inet_service" for each in fields]
    own = match["farm"]
    if fields and each.key == " . ".join(["classid", *plain]):
        return Form("plain", family, fields, True, own)
    if fields and own and each.key == " . ".join(plain):
        return Form("plain", family, fields, False, own)
    if own and each.key == "classid":
        return Form("hashed", family, own=own)
    return Form("damaged", family, own=own)


def _know(table: KernelTable, groups: list[Group]) -> None:
    """What the farms themselves say: what addresses are cut to, and where they look."""
    names = {each.farm for each in groups if each.farm}
    farms: dict[str, Farm] = {each.name: each for each in recall(table, names).farms}
    for group in groups:
        farm = farms.get(group.farm or "")
        persistence = farm.persistence if farm else None
        looks = _looks(table, f"farm-{group.farm}-{group.form.family}")
        # Where nobody lives no rule looks, but what is known stays of use.
        group.used = looks == group.map.name or (looks is None and persistence is not None)
        if persistence is not None:
            group.bits = {
                key.field: bits
                for key in persistence.keys
                if (bits := key.bits(group.form.family)) is not None
            }


def _looks(table: KernelTable, chain: str) -> str | None:
    """The map in which a farm's chain looks for known clients."""
    label = _named(table, chain)
    return None if label is None else _named(table, label)


def _named(table: KernelTable, chain: str) -> str | None:
    there = table.chains.get(chain)
    return next((rule.sticky[0] for rule in there.rules if rule.sticky), None) if there else None


def _sorted(group: Group) -> Group:
    """By client: address, port, then what it asked for."""
    order: Iterable[object]
    if group.form.kind != "plain":
        order = group.keys if group.form.kind == "hashed" else map(repr, group.keys)
    else:
        kind = AF_INET if group.form.family == 4 else AF_INET6
        columns = []
        for field in reversed(_ORDER):
            column = group.part(field)
            if column is not None and field.endswith("-ip"):
                columns.append([inet_pton(kind, cast(str, each)) for each in column])
            elif column is not None:
                columns.append([cast(int, each).to_bytes(2, "big") for each in column])
        order = columns[0] if len(columns) == 1 else map(b"".join, zip(*columns, strict=True))
    by = list(order)
    places = sorted(range(len(by)), key=by.__getitem__)  # type: ignore[arg-type]
    group.keys = [group.keys[place] for place in places]
    group.marks = [group.marks[place] for place in places]
    group.left = [group.left[place] for place in places]
    return group
