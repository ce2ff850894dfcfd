"""So many at once; who has to wait is started when one of them has ended.

A semaphore of asyncio looks through all that wait each time: with 100 000 checks that are due at
once, as at the start, most of the time went there. Nothing is kept for those that wait but a place
in a heap.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    def __init__(self, most: int, work: Callable[[Item], Coroutine[Any, Any, None]]) -> None:
        self._free, self._work = most, work
        self._waiting: list[tuple[float, int, Item]] = []
        self._number = itertools.count()
        self.running: set[asyncio.Task[None]] = set()

    def add(self, item: Item, rank: float) -> None:
        """Starts the work, now or when its turn has come: the smallest ranks first."""
        if self._free:
            self._free -= 1
            self._start(item)
        else:
            heapq.heappush(self._waiting, (rank, next(self._number), item))

    def _start(self, item: Item) -> None:
        task = asyncio.get_running_loop().create_task(self._work(item))
        self.running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if self._waiting and not task.cancelled():
            self._start(heapq.heappop(self._waiting)[2])
        else:
            self._free += 1
