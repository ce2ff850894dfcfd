"""So many at once, and the rest when their turn has come."""

from __future__ import annotations

import asyncio

from nftlbc.probe.turns import Turns


def test_so_many_at_once_and_the_hurried_first() -> None:
    begun: list[int] = []
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        begun.append(number)
        most = max(most, len(turns.running))
        await asyncio.sleep(0.001)
        if number == 1:
            raise OSError  # one that fails gives its place back too

    async def all_of_them() -> None:
        for number in range(10):
            turns.add(number, 10.0)
        turns.add(10, 1.0)
        while len(begun) < 11 or turns.running:
            await asyncio.sleep(0.001)

    turns = Turns(3, work)
    asyncio.run(all_of_them())
    assert begun == [0, 1, 2, 10, *range(3, 10)]
    assert most == 3
