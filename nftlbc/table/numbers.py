"""Numbers that never move: hashed from names and addresses, not counted.

A live connection carries its backend's number in its mark for hours, and a sticky entry its
farm's, so neither may change when something else comes into the file or leaves it. 32-bit
hashes meet (100 000 backends in 2^30 with near certainty): the later one takes its next hash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from nftlbc.farms import Backend, Family, Farm
from nftlbc.states import NOT_YET
from nftlbc.table.model import OURS

_FARM_BITS = 0x7FFF_FFFF
_BACKEND_BITS = 0x3FFF_FFFF
_FIRST_SLOT = 1
_SLOT_BITS = 0x7FFF_FFFF


def _hashed(text: str, attempt: int = 0) -> int:
    data = f"{text}#{attempt}" if attempt else text
    return int.from_bytes(blake2b(data.encode(), digest_size=4).digest(), "big")


def known_as(farm: str, address: str, port: int | None) -> str:
    """What a backend's number is hashed from."""
    return f"{farm} {address} {port or 0}"


@dataclass(frozen=True)
class InUse:
    """The numbers that a running table has: whoever has one keeps it."""

    marks: Mapping[str, int] = field(default_factory=dict)
    """Of backends, by ``known_as``."""
    farms: Mapping[str, int] = field(default_factory=dict)
    """Of farms, by their names."""
    starts: Mapping[tuple[str, Family], int] = field(default_factory=dict)
    """The first slots of pools."""
    slots: Mapping[tuple[str, Family], Sequence[int]] = field(default_factory=dict)
    """From slot to mark, of pools whose weights were measured."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of maps, by their names without them, where they are to stay as they are."""
    probed: int | None = None
    """When checks were last made (states.Seconds); NOT_YET; None: no farm has some."""
    ending: Collection[int] = ()
    """Marks of which some were removed backends', whose connections are to be ended."""

    def asking(self, farms: Iterable[Farm]) -> InUse:
        """With NOT_YET where these farms have checks of which the table knows nothing."""
        if self.probed is None and any(farm.checks for farm in farms):
            return replace(self, probed=NOT_YET)
        return self


class Numbers:
    """Gives each farm and each backend its number; the same for the same input in any order
    that is sorted by name.
    """

    def __init__(self, in_use: InUse) -> None:
        self._in_use = in_use
        self._farms: set[int] = {0, *in_use.farms.values()}
        self._marks: set[int] = set(in_use.marks.values())
        self.given: set[int] = set()
        """The marks of all backends so far."""

    def farm(self, name: str) -> int:
        """1 to 2^31 - 1, for ``meta priority``."""
        known = self._in_use.farms.get(name)
        if known is not None:
            return known
        return self._free(f"farm {name}", _FARM_BITS, 0, self._farms)

    def mark(self, farm: str, backend: Backend) -> int:
        """The connection mark of a backend: bit 31, and 30 bits from farm, address and port."""
        text = known_as(farm, backend.address, backend.port)
        number = self._in_use.marks.get(text)
        if number is None:
            number = self._free(text, _BACKEND_BITS, OURS, self._marks)
        self.given.add(number)
        return number

    @staticmethod
    def _free(text: str, bits: int, always: int, taken: set[int]) -> int:
        attempt = 0
        while (number := _hashed(text, attempt) & bits | always) in taken:
            attempt += 1
        taken.add(number)
        return number


def farm_hash(name: str) -> int:
    """The number that a farm has unless it met another one's."""
    return _hashed(f"farm {name}") & _FARM_BITS


def slot_hash(name: str, family: Family) -> int:
    """Where a pool's slots begin unless another one's are there."""
    return _FIRST_SLOT + (_hashed(f"slots {name} {family}") & _SLOT_BITS)


def place_slots(
    sizes: Mapping[tuple[str, Family], int], starts: Mapping[tuple[str, Family], int]
) -> dict[tuple[str, Family], int]:
    """The first slot of each farm's range, by (farm, family), from their numbers of slots.

    A range begins at a hash of its farm's name and moves up where another one is in its way, so
    a farm that comes or goes leaves nearly all others where they are. Those that have a place
    (starts) keep it; one that has grown into the next one's makes way.
    """
    found: dict[tuple[str, Family], int] = {}
    if starts:
        end = 1 << 32
        for start, pool in sorted(
            ((starts[pool], pool) for pool in sizes if pool in starts), reverse=True
        ):
            if start + sizes[pool] <= end:
                found[pool] = end = start
    new = sorted((slot_hash(*pool), *pool) for pool in sizes if pool not in found)
    taken = sorted((start, start + sizes[pool]) for pool, start in found.items())
    following, end = 0, 0
    for start, name, family in new:
        start, size = max(start, end), sizes[name, family]
        while following < len(taken) and taken[following][0] < start + size:
            start = max(start, taken[following][1])
            following += 1
        found[name, family] = start
        end = start + size
    return found


def room_for(count: int) -> int:
    """The size of a map for so many elements: a power of two with room, at least 1 024.

    A map's size can't grow in place, so it is part of the map's name, and names should rarely
    change.
    """
    return max(1024, 1 << (count + count // 4 - 1).bit_length()) if count else 1024
