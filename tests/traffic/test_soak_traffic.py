"""A load balancer that is used for a while: edits, faults, maintenance and clients at once.

    NFTLBC_SOAK=3600 make soak        # seconds, and NFTLBC_SEED=N for another course of events

``probe --every`` runs beside it all. What is held: a connection fails only while its backend has
died and the table does not know yet; an open connection goes on; a client that is known comes to
another backend only when its own was taken away.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from random import Random

import pytest
from farms import VIP, VIP6, Balancer, balancing

import nftlbc
from nftlbc.sandbox import Answer, Request

pytestmark = pytest.mark.kernel

SECONDS = float(os.environ.get("NFTLBC_SOAK", "8"))
SEED = int(os.environ.get("NFTLBC_SEED", "1"))
NAMES = "abcd"
CHECK = "check tcp { interval 2s; timeout 2s; fall 3; rise 1 }"
DEADLINE = 60.0
"""Seconds for what takes one: this machine may have much else to do."""


class File:
    """A farms file that is edited. Farm ``shop`` has backends that die and are maintained, ``still``
    has others, which only get new weights and names."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.weights = dict.fromkeys(NAMES, 1)
        self.number = 0
        self.others: set[int] = set()
        self.time = "10m"

    def edit(self) -> str:
        """Its name."""
        self.number += 1
        what = self.random.choice(("weights", "names", "others", "time"))
        if what == "weights":
            self.weights = {name: self.random.randint(1, 5) for name in NAMES}
        elif what == "others":
            self.others ^= set(self.random.sample(range(40), 8))
        elif what == "time":
            self.time = self.random.choice(("10m", "20m", "1h"))
        return what

    def text(self) -> str:
        listen, shop, still = f"listen {VIP}, {VIP6}", "", ""
        for number, (name, weight) in enumerate(self.weights.items(), 1):
            shop += f"    backend {name}  10.0.1.{number} port 8080 weight {weight}\n"
            shop += f"    backend {name}6 2001:db8:1::{number} port 8080\n"
            still += f"    backend {name}{self.number}x 10.0.2.{number} port 8080 weight {weight}\n"
        others = "".join(
            f"farm other{n} {{ {listen} tcp port {5000 + n}\n"
            f"backend x 10.0.3.1 port 8080\nbackend y 2001:db8:3::1 port 8080\n}}\n"
            for n in self.others
        )
        return f"""
farm shop {{
    {listen} tcp port 80
    persist source-ip for {self.time}
    {CHECK}
{shop}}}
farm names {{
    {listen} udp port 53
    balance consistent source-ip, source-port slots 251
    {CHECK.replace("tcp {", "tcp { port 8080;")}
{shop.replace("port 8080", "port 53")}}}
farm busy {{
    {listen} tcp port 81
    balance least-connections
    {CHECK}
{shop}}}
farm still {{
    listen {VIP} tcp port 443
    persist source-ip for {self.time}
{still}}}
{others}"""


class Soak:
    def __init__(self, lb: Balancer, folder: Path, random: Random) -> None:
        self.lb, self.random = lb, random
        self.file = File(random)
        self.path = folder / "farms.lb"
        self.round = 0
        self.homes: dict[tuple[str | None, int], tuple[str, int]] = {}
        """Of a known client: its backend, and when it was last there."""
        self.taken: dict[str, int] = {}
        """Of a backend's address: when its clients were last free to go."""
        self.stopped: str | None = None
        self.held_by_hand: str | None = None
        self.done: Counter[str] = Counter()
        self.path.write_text(self.file.text())
        self.command("apply", str(self.path))
        ask = [Request("clients", each, VIP, 443, hold=True) for each in self.clients(4)]
        self.held = lb.box.ask(ask, timeout=DEADLINE)

    def clients(self, family: int) -> list[str]:
        return [self.lb.client(number, family) for number in range(8)]

    def command(self, *arguments: str) -> None:
        done = self.lb.box.run("balancer", program(*arguments), timeout=DEADLINE)
        assert done.returncode in (0, 4), (arguments, done.stdout, done.stderr)

    @contextmanager
    def traffic(self, *, faults: bool = False) -> Iterator[None]:
        """Clients of all kinds, for as long as something happens."""
        some = []
        for family, vip in ((4, VIP), (6, VIP6)):
            some += [
                Request("clients", client, vip, port)
                for client in self.clients(family)
                for port in (80, 81)
            ]
            some.append(Request("clients", None, vip, 53, "udp"))
        some += [Request("clients", client, VIP, 443) for client in self.clients(4)]
        self.random.shuffle(some)
        running = self.lb.box.start(some, parallel=3, timeout=10.0)
        try:
            yield
            time.sleep(0.2)
        finally:
            answers = running.stop()
        self.judge(answers, faults)

    def judge(self, answers: list[Answer], faults: bool) -> None:
        failed = [each for each in answers if each.outcome != "answered"]
        self.done["connections"] += len(answers)
        self.done["failed"] += len(failed)
        # Who has died refuses; nothing else may.
        excused = [each for each in failed if faults and each.request.port != 443]
        assert failed == excused, (self.round, failed[:5])
        assert all(each.outcome in ("refused", "reset") for each in excused), excused[:5]
        known: dict[tuple[str | None, int], list[str]] = {}
        for each in answers:
            if each.backend is not None and each.request.port in (80, 443):
                client = each.request.source, each.request.port
                known.setdefault(client, []).append(each.backend)
        for client, backends in known.items():
            self.follow(client, backends)

    def follow(self, client: tuple[str | None, int], backends: list[str]) -> None:
        """Whom a client came to. Two of its connections that come at once when it is given another
        backend may be given one each: the kernel looks it up for both before it notes the first."""
        home, seen = self.homes.get(client, (backends[0], 0))
        new = 2  # connections since it was given this one
        for number, backend in enumerate(backends):
            new += 1
            if backend != home:
                if self.taken.get(home, -1) >= seen:
                    self.done["moved"] += 1
                else:
                    runs = [(key, len([*same])) for key, same in groupby(backends)]
                    assert new <= 2, (self.round, client, home, seen, number, runs)
                    self.done["moved twice at once"] += 1
                home, new = backend, 0
            seen = self.round
        self.homes[client] = home, seen

    def step(self) -> None:
        """One event, and what clients see of it."""
        self.round += 1
        for name in (self.stopped, self.held_by_hand):
            if name is not None:
                self.taken.update(dict.fromkeys(addresses(name), self.round))
        events = [self.edit, self.edit, self.hand, self.fault]
        event = self.random.choice(events) if self.round > 4 else events[self.round - 1]
        event()
        now = self.lb.box.talk(self.held, timeout=DEADLINE)
        assert [each.backend for each in now] == [each.backend for each in self.held]
        # Quiet again: nothing fails.
        with self.traffic():
            pass

    def edit(self) -> None:
        self.done[self.file.edit()] += 1
        with self.traffic():
            self.path.write_text(self.file.text())
            self.command("apply", str(self.path))

    def hand(self) -> None:
        with self.traffic():
            if self.held_by_hand is not None:
                self.command("enable", f"*/{self.held_by_hand}", f"*/{self.held_by_hand}6")
                self.held_by_hand = None
                return
            name = self.random.choice([each for each in NAMES if each != self.stopped])
            how = self.random.choice((["drain"], ["drain", "--let-go"]))
            self.command(*how, f"*/{name}", f"*/{name}6")
            self.done["-".join(how)] += 1
            if len(how) > 1:
                self.held_by_hand = name
                self.taken.update(dict.fromkeys(addresses(name), self.round))
            else:
                self.command("enable", f"*/{name}", f"*/{name}6")

    def fault(self) -> None:
        if self.stopped is not None:
            with self.traffic():
                for address in addresses(self.stopped):
                    self.lb.box.start_servers(address)
                self.wait(self.stopped, down=False)
            self.stopped = None
            return
        name = self.random.choice([each for each in NAMES if each != self.held_by_hand])
        self.done["fault"] += 1
        self.stopped = name
        self.taken.update(dict.fromkeys(addresses(name), self.round))
        with self.traffic(faults=True):
            for address in addresses(name):
                self.lb.box.stop_servers(address)
            self.wait(name, down=True)

    def wait(self, name: str, *, down: bool) -> None:
        """Until the table knows, of all farms and both families."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            listing = self.lb.nft("list", "table", "inet", "nftlbc")
            marks = re.findall(
                rf'(0x[0-9a-f]{{8}}) (?:counter [^:]*)?comment "(?:shop|names|busy)/{name}6?"',
                listing,
            )
            resting = [int(mark, 16) < 1 << 31 for mark in marks]
            assert len(resting) == 6, marks
            known = all(resting) if down else not any(resting)
            if known and not (down and self.flows(name)):
                return
            time.sleep(0.1)
        pytest.fail(f"{name} is not {'down' if down else 'up'} after {DEADLINE:g} s")

    def flows(self, name: str) -> int:
        """Of UDP, that are still stuck to it: they are taken off after the transaction."""
        done = self.lb.box.run("balancer", program("status", "names", "--json"), timeout=DEADLINE)
        [found] = json.loads(done.stdout)["farms"]
        backends = [each for pool in found["pools"] for each in pool["backends"]]
        return sum(each["flows"] for each in backends if each["name"].rstrip("6") == name)


def addresses(name: str) -> list[str]:
    number = NAMES.index(name) + 1
    return [f"10.0.1.{number}", f"2001:db8:1::{number}"]


def program(*arguments: str) -> tuple[str, ...]:
    import lark

    library = ":".join(str(Path(each.__file__).parent.parent) for each in (nftlbc, lark))
    run = f"import sys; sys.path[:0] = {library!r}.split(':'); from nftlbc.cli import main; main()"
    return (sys.executable, "-c", run, *arguments)


@pytest.mark.timeout(0)
def test_nothing_is_lost(tmp_path: Path) -> None:
    random = Random(SEED)
    everybody = File(random)
    everybody.others = set(range(40))
    with balancing(everybody.text(), load=False) as lb:
        soak = Soak(lb, tmp_path, random)
        began = time.monotonic()
        probe = lb.box.start_command("balancer", program("probe", str(soak.path), "--every", "1s"))
        try:
            while time.monotonic() - began < SECONDS or soak.round < 4:
                soak.step()
                if soak.round % 50 == 0:
                    print(f"{time.monotonic() - began:.0f} s: {dict(soak.done)}", flush=True)
        finally:
            done = probe.stop(timeout=DEADLINE)
            print(f"seed {SEED}, {soak.round} rounds: {dict(soak.done)}\n{done.stdout[-6000:]}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Traceback" not in done.stderr and "internal error" not in done.stderr
        assert soak.done["fault"] and soak.done["connections"] > 20 * soak.round
