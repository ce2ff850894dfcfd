"""Is there room for more sticky clients?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nftlbc import pipeline
from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok, some
from nftlbc.doctor.situation import Situation
from nftlbc.farms import Farm, Persistence
from nftlbc.nft import netlink
from nftlbc.nft.program import NftError
from nftlbc.table.about import seconds

_FILLING: Final = 80
"""Per cent."""
_UNSIZED: Final = 65_535
"""Elements that the kernel lets rules add to a map without a size."""


def check(situation: Situation) -> Iterator[Finding]:
    """Counts the elements of our table's sticky maps."""
    name = "sticky-maps"
    try:
        table = netlink.read(elements=lambda each: each.name.startswith("sticky"), program=False)
    except NftError as problem:
        raise Unseen(problem.message) from None
    if table is None:
        yield ok(name, "table inet nftlbc is not loaded yet")
        return
    maps = [each for each in table.maps.values() if each.name.startswith("sticky")]
    filling = False
    for each in maps:
        if not each.readable:
            continue
        size = each.size or _UNSIZED
        count = len(each.elements)
        share = 100 * count // size
        if share >= _FILLING:
            filling = True
            yield _filling(name, each.name, count, size, share, situation.farms)
    if not filling:
        yield ok(name, f"{len(maps)} sticky maps with room" if maps else "no farm is sticky")


def _filling(
    name: str, map: str, count: int, size: int, share: int, farms: tuple[Farm, ...]
) -> Finding:
    affected = [farm for farm in farms if _uses(farm, map)]
    return Finding(
        name,
        Verdict.PROBLEM if count >= size else Verdict.WARNING,
        f"the map {map} is {share} % full: {count} of {size} clients",
        "clients that find no room are served, but not remembered: they may be given to another"
        " backend the next time",
        f"give {some([f'farm {farm.name}' for farm in affected]) or 'its farm'} a map of its own"
        " that is larger, or remember clients for a shorter time",
        statements=tuple(
            _larger(farm.persistence, 2 * size) for farm in affected if farm.persistence
        ),
        affects=tuple(f"farm {farm.name}" for farm in affected),
    )


def _uses(farm: Farm, map: str) -> bool:
    """Names of sticky maps are made from what a farm says of its persistence."""
    return farm.persistence is not None and map in pipeline.table([farm]).map


def _larger(persistence: Persistence, size: int) -> str:
    keys = ", ".join(map(str, persistence.keys))
    return f"persist {keys} for {seconds(persistence.timeout)} size {size}"
