"""What follows transactions for connections: one after the other, and together what waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from nftlbc.plan.settling import Settled
from nftlbc.probe import afterwards
from nftlbc.probe.afterwards import Afterwards

DEADLINE = 60.0


def plan(left: set[int], cut: set[int] = frozenset(), failed: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    return SimpleNamespace(
        left=set(left),
        cut=set(cut),
        failed=set(failed),
        named=lambda marks: [f"web/b{mark}" for mark in sorted(marks)],
    )


class Kernel:
    """Holds whoever settles until it may go on."""

    def __init__(self) -> None:
        self.calls: list[tuple[set[int], set[int], set[int]]] = []
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.at_once = self.most_at_once = 0

    def settled(self, left: set[int], cut: set[int], failed: set[int]) -> Settled:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.calls.append((left, cut, failed))
        self.begun.release()
        assert self.go.acquire(timeout=DEADLINE)
        self.at_once -= 1
        if left == {13}:
            raise OSError(24, "Too many open files")
        return Settled(moved=len(left))


def test_what_waits_is_settled_together(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, told = Kernel(), list[tuple[int, set[str]]]()
    serving = set[int]()
    monkeypatch.setattr(afterwards.settling, "settled", kernel.settled)

    async def run() -> None:
        def heard(settled: Settled, names: Collection[str]) -> None:
            told.append((settled.moved, set(names)))

        after = Afterwards(lambda marks: serving & set(marks), heard)
        await after.done()  # nothing to do
        after.add(plan(set()))
        after.add(plan({1}, failed={1}))
        assert await asyncio.to_thread(kernel.begun.acquire, timeout=DEADLINE)
        after.add(plan({2}, failed={2}))
        after.add(plan({3, 4}, cut={4, 5}))
        # One comes back while it waits: it has new clients.
        after.add(plan({6}, cut={6}))
        serving.add(6)
        kernel.go.release(2)
        await after.done()
        # Whoever comes later begins anew.
        after.add(plan({7}))
        kernel.go.release()
        await after.done()

    asyncio.run(run())
    assert kernel.calls == [
        ({1}, set(), {1}),
        ({2, 3, 4}, {4, 5}, {2}),
        ({7}, set(), set()),
    ]
    assert kernel.most_at_once == 1
    assert told == [
        (1, {"web/b1"}),
        (3, {"web/b2", "web/b3", "web/b4", "web/b5", "web/b6"}),
        (1, {"web/b7"}),
    ]


def test_what_the_system_refuses_is_told_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, told = Kernel(), list[Settled]()
    monkeypatch.setattr(afterwards.settling, "settled", kernel.settled)

    async def run() -> None:
        after = Afterwards(lambda _: set(), lambda settled, _: told.append(settled))
        after.add(plan({13}))
        assert await asyncio.to_thread(kernel.begun.acquire, timeout=DEADLINE)
        after.add(plan({14}))
        kernel.go.release(2)
        await after.done()

    asyncio.run(run())
    refused, well = told
    assert [each.message for each in refused.problems] == [
        "the system refuses: Too many open files"
    ]
    assert well == Settled(moved=1)
