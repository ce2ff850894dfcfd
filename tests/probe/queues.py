"""Servers of one worker each, in simulated time: what becomes of a farm whose weights move."""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

import pytest

from nftlbc.farms import Backend, Balance, Check, Farm, Listener, Scheduler
from nftlbc.probe import loads, weighing, weights
from nftlbc.probe.result import Result
from nftlbc.probe.target import Target, targets
from nftlbc.table.pool import pool_of, slots_of

SLOWER = 4
MEAN = 0.020
LOAD = 0.75
PATIENCE = 10.0
TIMEOUT = 2.0
NAMES = ("slow", "app1", "app2", "app3")
_KINDS: dict[str, str] = {
    "least-response": "http",
    "least-cpu": "agent",
    "custom": "exec",
}


@dataclass
class Server:
    service: float
    random: random.Random
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def offer(self, now: float) -> float:
        """Takes somebody who comes now; how long it is until the answer."""
        begin = max(now, self.ends[-1] if self.ends else 0.0)
        self.starts.append(begin)
        self.ends.append(begin + self.random.expovariate(1 / self.service))
        return self.ends[-1] - now

    def inside(self, now: float) -> int:
        """Who waits or is served. (Those who came last are asked about.)"""
        return len(self.ends) - bisect_right(self.ends, now)

    def busy(self, now: float, window: float) -> float:
        """The part of the last seconds in which it worked."""
        since = max(0.0, now - window)
        first, last = bisect_right(self.ends, since), bisect_right(self.starts, now)
        work = sum(min(self.ends[n], now) - max(self.starts[n], since) for n in range(first, last))
        return work / window


def farm_of(scheduler: Scheduler, interval: float) -> Farm:
    kind = _KINDS.get(scheduler, "tcp")
    check = Check(kind, timeout=int(TIMEOUT * 1000), interval=int(interval * 1000), fall=100)
    backends = tuple(Backend(name, f"10.0.1.{n}", 80) for n, name in enumerate(NAMES))
    listener = Listener("10.0.0.1", "tcp", 80, 80)
    return Farm("web", (listener,), backends, balance=Balance(scheduler), checks=(check,))


@dataclass
class Found:
    mean: float
    """Seconds."""
    slow: list[float]
    """The slow one's share of the slots after each round."""


def run(
    monkeypatch: pytest.MonkeyPatch,
    scheduler: Scheduler,
    seed: int,
    *,
    seconds: float,
    settled: float,
    every: float = 2.0,
    window: float = 4.0,
    kind: Literal["agent", "snmp"] = "agent",
) -> Found:
    """Poisson clients at LOAD of what all can take; means of those who come once it has settled.

    every: seconds between ticks, and between the checks of one backend.
    window: seconds over which the busy share is averaged by the backend.
    """
    return _Run(monkeypatch, scheduler, seed, every, window, kind).run(seconds, settled)


class _Run:
    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        scheduler: Scheduler,
        seed: int,
        every: float,
        window: float,
        kind: str,
    ) -> None:
        self.now, self.every, self.window = 0.0, every, window
        monkeypatch.setattr(weighing.time, "monotonic", lambda: 1_000 + self.now)
        self.random = random.Random(seed)
        means = [MEAN * SLOWER if name == "slow" else MEAN for name in NAMES]
        self.servers = [Server(mean, random.Random(f"{seed} {n}")) for n, mean in enumerate(means)]
        self.rate = LOAD * sum(1 / mean for mean in means)
        monkeypatch.setitem(_KINDS, "least-cpu", kind)
        self.farm = farm_of(scheduler, every)
        self.slots, self.turn = slots_of(pool_of(self.farm, 4)), 0
        self.weighing = weighing.Weighing()
        uses = targets([self.farm])
        self.weighing.lay_out(uses)
        self.server = {
            target: self.servers[NAMES.index(use[0].backend.name)] for target, use in uses.items()
        }
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.answers: list[tuple[float, float]] = []
        self.slow: list[tuple[float, float]] = []
        self.at(0.0, self.client)
        self.at(every, self.tick)
        for n, target in enumerate(uses):
            self.at(every * n / len(NAMES), lambda target=target: self.check(target))

    def at(self, when: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what))

    def run(self, seconds: float, settled: float) -> Found:
        while self.now < seconds:
            self.now, _, what = heapq.heappop(self.events)
            what()
        took = [min(time, PATIENCE) for came, time in self.answers if came >= settled]
        return Found(fmean(took), [share for when, share in self.slow if when >= settled])

    def client(self) -> None:
        server = self.servers[self.slots[self.turn % len(self.slots)]]
        self.turn += 1
        self.answers.append((self.now, server.offer(self.now)))
        self.at(self.now + self.random.expovariate(self.rate), self.client)

    def check(self, target: Target) -> None:
        server, kind = self.server[target], target.check.kind
        took = min(server.offer(self.now), TIMEOUT) if kind == "http" else 0.0
        figure = {
            "agent": 100.0 * (1 - server.busy(self.now, self.window)),
            "snmp": server.busy(self.now, self.window),
            "exec": 1.0 + server.inside(self.now),
        }.get(kind)
        passed = took < TIMEOUT
        result = Result(passed, "", "ok" if passed else "timeout", took, figure=figure)

        def heard() -> None:
            self.weighing.heard(target, result)
            self.at(self.now + self.every, lambda: self.check(target))

        self.at(self.now + took, heard)

    def tick(self) -> None:
        self.at(self.now + self.every, self.tick)
        if not self.farm.moving or not self.weighing.due([self.farm]):
            return
        uses, found = self.weighing.series([self.farm])
        figures: dict[str, Mapping[str, float | None]] = dict(
            loads.figures(loads.Recalled((), {}), uses, found, None)
        )
        if self.farm.balance.scheduler == "least-connections":
            inside = zip(NAMES, self.servers, strict=True)
            figures["web"] = {
                n: weights.of_connections(s.inside(self.now), 0, 1) for n, s in inside
            }
        self.farm = weights.weigh(self.farm, figures.get("web", {}), int(self.now))
        self.slots = slots_of(pool_of(self.farm, 4), self.slots)
        self.slow.append((self.now, self.slots.count(0) / len(self.slots)))
