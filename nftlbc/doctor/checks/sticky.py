"""Is there room for more sticky clients?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
    users = _users(situation.farms)
    filling = False
    for each in maps:
        if not each.readable:
            continue
        size = each.size or _UNSIZED
        count = len(each.elements)
        share = 100 * count // size
        if share >= _FILLING:
            filling = True
            yield _filling(name, each.name, count, size, share, users[each.name])
    if not filling:
        yield ok(name, f"{len(maps)} sticky maps with room" if maps else "no farm is sticky")


def _filling(
    name: str, map: str, count: int, size: int, share: int, affected: Sequence[Farm]
) -> Finding:
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


def _users(farms: Sequence[Farm]) -> dict[str, list[Farm]]:
    """The farms of each sticky map. Its name is made from the farm's families and persistence,
    and from the farm's own name where no other has it: so it is worked out once for all alike.
    """
    shapes: dict[object, set[str]] = {}
    found: defaultdict[str, list[Farm]] = defaultdict(list)
    for farm in farms:
        if farm.persistence is None:
            continue
        shape = farm.families, farm.persistence
        if shape not in shapes:
            table = pipeline.table([replace(farm, name="X")])
            shapes[shape] = {each for each in table.map if each.startswith("sticky")}
        for each in shapes[shape]:
            own = each.endswith("_X")
            found[f"{each[:-1]}{farm.name}" if own else each].append(farm)
    return found


def _larger(persistence: Persistence, size: int) -> str:
    keys = ", ".join(map(str, persistence.keys))
    return f"persist {keys} for {seconds(persistence.timeout)} size {size}"
