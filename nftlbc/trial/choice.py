"""Which farms of a file are tried, when not all can be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from nftlbc.farms import Farm


def preference(farms: Sequence[Farm], first: Collection[str]) -> Iterator[int]:
    """The numbers of all farms, those to be tried sooner first; the same for the same farms.

    The farms named in ``first``, then one of each kind, then the rest from all over the file.
    """
    given: set[int] = set()

    def new(numbers: Sequence[int]) -> Iterator[int]:
        for number in numbers:
            if number not in given:
                given.add(number)
                yield number

    yield from new([number for number, farm in enumerate(farms) if farm.name in first])
    kinds: dict[object, int] = {}
    for number, farm in enumerate(farms):
        kinds.setdefault(_kind(farm), number)
    yield from new(list(kinds.values()))
    step = 1 << (len(farms) - 1).bit_length() if farms else 0
    while step:  # every 512th, every 256th, ...
        yield from new(range(0, len(farms), step))
        step //= 2


def _kind(farm: Farm) -> object:
    """Farms of one kind go through the same chains."""
    persistence = farm.persistence
    return (
        farm.balance.scheduler,
        farm.balance.keys,
        persistence and (persistence.keys, persistence.size is None),
        farm.forward.kind,
        farm.hairpin,
        farm.families,
        frozenset(each.protocol for each in farm.listeners),
        any(each.to for each in farm.listeners),
        any(each.first != each.last for each in farm.listeners),
        any(each.port is None for each in farm.backends),
        any(not each.takes_new for each in farm.backends),
        any(each.backup for each in farm.backends),
    )
