"""The farms that a running table was made from, as far as it knows them: read back from its maps
and from what it keeps for its own sake (``table.recorded``). No file is needed, and none is asked
that may have been edited since.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from nftlbc import states
from nftlbc.farms import Backend, Family, Farm, Forward, Listener, Protocol, family_of
from nftlbc.nft.netlink import KernelTable
from nftlbc.plan import in_use
from nftlbc.plan.in_use import FARM_CHAIN, destinations, farm_numbers, notes
from nftlbc.states import NOTHING, Remembered
from nftlbc.table import recorded
from nftlbc.table.model import BACKEND_BITS, OURS, ElementData, ElementKey
from nftlbc.table.numbers import known_as

_ODD = re.compile(r"[^A-Za-z0-9_.-]")
"""What no name of a backend has, unless a hand has put it there; it could not be written again."""
_FARM = "farm known { listen 192.0.2.1 tcp port 1; backend known 192.0.2.1; "


@dataclass(frozen=True)
class Recalled:
    """What a table knows of its farms."""

    farms: tuple[Farm, ...]
    """Sorted by name, with all that is remembered of their backends, without checks and
    commands."""
    marks: Mapping[str, Mapping[str, int]]
    """Of backends, by farm and name."""

    def mark(self, farm: Farm, backend: Backend) -> int:
        return self.marks[farm.name][backend.name]


def remembered(kernel: KernelTable) -> dict[int, Remembered]:
    """What is remembered of backends beyond the file, by mark."""
    found = {}
    for mark, note in notes(kernel, "states"):
        if isinstance(mark, int):
            record = states.of_text(note)
            if record != NOTHING:
                found[mark] = record
    return found


def recall(kernel: KernelTable, only: Collection[str] | None = None) -> Recalled:
    """The farms of a table (``only`` those named). The elements of all maps that are not dynamic
    must have been read, and its chains."""
    servers = _servers(kernel, only)
    listeners = _listeners(kernel, only)
    records = records_of(kernel)
    known = remembered(kernel)
    farms, marks = [], {}
    for name in sorted(listeners):
        spots = sorted(servers.get(name, ()), key=lambda each: recorded.place(*each[2:]))
        backends, statements = recorded.split(records.get(name, ""))
        # Where a hand took away all listeners of a family, its backends are in no pool.
        families = {each.family for each in listeners[name]}
        ordered = [
            (spot, configured)
            for spot, configured in recorded.configured(backends, spots)
            if family_of(spot[2]) in families
        ]
        marks[name] = {backend: mark for (mark, backend, *_), _ in ordered}
        farms.append(
            replace(
                _for_families(_settings(statements), families),
                name=name,
                listeners=tuple(listeners[name]),
                backends=tuple(
                    Backend(
                        backend,
                        address,
                        port,
                        configured.weight,
                        configured.backup,
                        configured.state,
                        remembered=known.get(mark, NOTHING),
                    )
                    for (mark, backend, address, port), configured in ordered
                ),
            )
        )
    return Recalled(tuple(farms), marks)


def beside(kernel: KernelTable | None, farms: Sequence[Farm]) -> Recalled:
    """Farms of a file, with the numbers that their backends have in the table; 0 for new ones."""
    numbers = in_use.marks(kernel) if kernel is not None else {}
    marks = {
        farm.name: {
            each.name: numbers.get(known_as(farm.name, each.address, each.port), 0)
            for each in farm.backends
        }
        for farm in farms
    }
    return Recalled(tuple(farms), marks)


def records_of(kernel: KernelTable) -> dict[str, str]:
    """What the table has recorded of farms, by name."""
    names = {number: name for name, number in farm_numbers(kernel).items()}
    parts: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for key, note in notes(kernel, "farms"):
        if isinstance(key, tuple) and len(key) == 2 and key[0] in names:
            number, piece = key
            if isinstance(piece, int):
                parts[names[number]][piece] = note  # type: ignore[index]
    return {name: recorded.whole(some) for name, some in parts.items()}


_Server = tuple[int, str, str, int | None]
"""Mark, name, address, port."""


def _servers(kernel: KernelTable, only: Collection[str] | None) -> dict[str, list[_Server]]:
    found: defaultdict[str, list[_Server]] = defaultdict(list)
    seen: set[int] = set()
    for kind in ("backends", "addresses"):
        for _, mark, (address, port, comment) in destinations(kernel, kind):
            mark |= OURS  # where it is down it lacks that bit
            farm, _, name = comment.partition("/")
            name = _ODD.sub("-", name)
            if mark in seen or mark & BACKEND_BITS != mark or not name:
                continue
            if only is None or farm in only:
                seen.add(mark)
                found[farm].append((mark, name, address, port))
    return found


_Listening = tuple[str, Protocol, "int | tuple[int, int]"]


def _listeners(kernel: KernelTable, only: Collection[str] | None) -> dict[str, list[Listener]]:
    found: defaultdict[str, list[Listener]] = defaultdict(list)
    ports: dict[ElementKey, ElementData] = {}
    for name in ("ports4", "ports6"):
        if name in kernel.maps and kernel.maps[name].contents is not None:
            ports.update(kernel.maps[name].elements)
    farm_of = functools.cache(_farm_of)
    for name, each in kernel.maps.items():
        if not name.startswith(("services", "ranges")) or each.contents is None:
            continue
        for key, chain in each.elements.items():
            farm = farm_of(str(chain))
            if farm is None or (only is not None and farm not in only) or not _listens(key):
                continue
            address, protocol, port = cast(_Listening, key)
            first, last = (port, port) if isinstance(port, int) else port
            to = ports.get((address, protocol, (first, last)))
            found[farm].append(Listener(address, protocol, first, last, cast("int | None", to)))
    for some in found.values():
        some.sort(key=lambda each: (recorded.place(each.address, each.first), each.protocol))
    return found


def _listens(key: ElementKey) -> bool:
    """Whether it is a listener's; a hand may have added others (networks, a catch-all)."""
    return (
        isinstance(key, tuple)
        and len(key) == 3
        and isinstance(key[0], str)
        and isinstance(key[1], str)
    )


def _farm_of(chain: str) -> str | None:
    match = FARM_CHAIN.match(chain)
    return match["farm"] if match else None


def _for_families(settings: Farm, families: Collection[Family]) -> Farm:
    """Without a ``snat`` that has no address for one of them: it is a hand's doing."""
    addresses = settings.forward.addresses
    if settings.forward.kind == "snat" and not {*families} <= {*map(family_of, addresses)}:
        return replace(settings, forward=Forward())
    return settings


@functools.lru_cache(maxsize=4096)
def _settings(statements: str) -> Farm:
    """A farm of those settings. Statements that this version does not know, or that don't go with
    those before them, are left away."""
    from nftlbc import language

    found = language.of_text(f"{_FARM}{statements} }}")
    if len(found) != 1:
        known = _FARM
        for each in statements.split("; "):
            if len(language.of_text(f"{known}{each}; }}")) == 1:  # not one more farm
                known += f"{each}; "
        found = language.of_text(f"{known}}}")
    return replace(found[0], origin=None)
