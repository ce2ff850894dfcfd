"""One farms file nobody wrote, all the way: text, table, kernel, listing, connections, states."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from chance import Draws
from connections import Answer, Arrived, Ground, Servers, as_told
from generate import farms_text
from listing import as_listed, assert_same, listed
from namespaces import Elsewhere, read

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.explain import live
from nftlbc.explain.interpreter import Draw, Interpreter, in_turn
from nftlbc.explain.outcome import Delivered, Outcome, Packet, Spread, Sticky, Sure
from nftlbc.explain.story import story
from nftlbc.farms import Balance, Farm, Listener
from nftlbc.nft import kernel, script
from nftlbc.plan import planning
from nftlbc.plan.recall import Recalled
from nftlbc.states import NOTHING, ByCheck, ByHand, Measured, Remembered
from nftlbc.table.model import Counter as Numgen
from nftlbc.table.model import Table

Asked = tuple[Farm, Listener, int]
Slots = Mapping[tuple[int, int], Sequence[int]]
_LASTING = 60_000
"""A client that is known for less may be forgotten while it is being asked for."""
_RANDOM_DRAWS = 60
_MOST_ASKED = 12
"""Listeners and ports of a case."""


class Grounds:
    """What all cases of a run share."""

    def __init__(self, nfts: Sequence[str]) -> None:
        self.nfts = nfts
        self.ground = Ground()
        self.elsewhere = Elsewhere()
        self.draws = Draws()
        self.done: Counter[str] = Counter()


def case(seed: int, grounds: Grounds, folder: Path, *, farms: int = 3) -> None:
    """Raises AssertionError where something does not agree."""
    random = Random(seed)
    path = folder / "farms.lb"
    found, other = (_generated(random, path, farms) for _ in range(2))
    text = pipeline.script(found)
    assert text == pipeline.script(tuple(reversed(found)))
    with grounds.elsewhere.visited():
        for nft in grounds.nfts:
            _listed(pipeline.table(found), text, nft)
    found, other = (
        tuple(_lasting(_drawing(farm, random)) for farm in some) for some in (found, other)
    )
    _Asking(grounds, random, found, grounds.nfts[seed % len(grounds.nfts)], other).ask()


def _generated(random: Random, path: Path, farms: int) -> tuple[Farm, ...]:
    path.write_text(farms_text(random, farms=farms, backends=random.choice((2, 4, 7))))
    found, diagnostics = pipeline.read(str(path))
    assert not has_errors(diagnostics), draw(diagnostics)
    return found


def _listed(table: Table, text: str, nft: str) -> None:
    """Loads it, and holds what netlink and nft tell against what was meant."""
    kernel.load(text, nft)
    there = read()
    assert_same(there, table)
    done = subprocess.run([nft, "-j", "list", "table", "inet", "nftlbc"], capture_output=True)
    assert done.returncode == 0, done.stderr[:500]
    objects = json.loads(done.stdout)["nftables"]
    for its in there.maps.values():
        assert as_listed(its) == listed(objects, its), its.name
    named = {o[kind]["name"] for o in objects for kind in ("map", "set", "chain") if kind in o}
    assert named == {*table.map, *table.chain}
    # A second time over the first: nothing is added.
    kernel.load(text, nft)
    assert_same(read(), table)
    kernel.remove(nft)


def _drawing(farm: Farm, random: Random) -> Farm:
    """Some draw lots, and remember nobody."""
    if random.random() > 0.2:
        return farm
    return replace(farm, balance=Balance("random"), persistence=None)


def _lasting(farm: Farm) -> Farm:
    persistence = farm.persistence
    if persistence is not None and persistence.timeout < _LASTING:
        return replace(farm, persistence=replace(persistence, timeout=_LASTING * 5))
    return farm


@dataclass
class _Asking:
    grounds: Grounds
    random: Random
    farms: tuple[Farm, ...]
    nft: str
    next: tuple[Farm, ...]
    """What is applied in the end."""
    sticky: Sticky = field(default_factory=dict)

    def ask(self) -> None:
        table = pipeline.table(self.farms)
        kernel.load(script.write(table), self.nft)
        every = list(self._asked())
        asked = self.random.sample(every, min(_MOST_ASKED, len(every)))
        with self.grounds.ground.serving(self._served(asked)) as servers:
            turn = in_turn()
            self._compare(servers, table, asked, turn)
            self._chances(servers, table, asked)
            plan = planning.changed(self._struck)
            kernel.send(plan.transaction, self.nft)
            assert_same(read(), plan.wanted)
            left = planning.plan(self.farms)
            assert left.silent, left.transaction
            self._compare(servers, plan.wanted, asked, None)
            self._chances(servers, plan.wanted, asked)
        self._another()
        kernel.remove(self.nft)

    def _another(self) -> None:
        """Another file that nobody wrote, by difference: farms of the same names are others."""
        self.farms = self.next
        plan = planning.plan(self.farms)
        kernel.send(plan.transaction, self.nft)
        assert_same(read(), plan.wanted)
        again = planning.plan(self.farms)
        assert again.empty, again.transaction
        self.sticky = _known()
        every = list(self._asked())
        asked = self.random.sample(every, min(_MOST_ASKED // 2, len(every)))
        with self.grounds.ground.serving(self._served(asked)) as servers:
            self._compare(servers, plan.wanted, asked, None)

    # What is asked

    def _asked(self) -> Iterator[Asked]:
        for farm in self.farms:
            for listener in farm.listeners:
                if listener.protocol != "sctp":
                    for port in sorted({listener.first, listener.last}):
                        yield farm, listener, port

    @staticmethod
    def _served(asked: Sequence[Asked]) -> set[tuple[str, int]]:
        return {
            (listener.protocol, listener.to or each.port or port)
            for farm, listener, port in asked
            for each in farm.pool(listener.family)
        }

    def _packets(
        self, farm: Farm, listener: Listener, port: int, ports: Iterator[int]
    ) -> Iterator[Packet]:
        """From clients that come again, from the balancer, from backends."""
        family = listener.family
        to = (listener.address, port, listener.protocol)
        first = self.random.randrange(1 << 18)
        for number in (first, first + 1, first, first + 300):
            client = self.grounds.ground.client(number, family)
            yield Packet(client, next(ports), *to)
        own = f"10.200.{self.random.randrange(256)}.7" if family == 4 else "2001:db8:200::7"
        yield Packet(own, next(ports), *to, "output")
        backend = self.random.choice(farm.pool(family))
        yield Packet(backend.address, next(ports), *to, "output")

    def _free_ports(self) -> Iterator[int]:
        """None of a server's, which may have the same address."""
        served = {port for _, port in self._served(list(self._asked()))}
        begin = self.random.randrange(1024, 60_000)
        return (port for n in itertools.count(begin) if (port := 1024 + n % 64_000) not in served)

    # What comes of it

    def _compare(
        self, servers: Servers, table: Table, asked: Sequence[Asked], turn: Draw | None
    ) -> None:
        """turn: where the round robins stand; None: that is not known."""
        interpreter, ports = Interpreter(table), self._free_ports()
        slots = _by_mark(table)
        packets = [
            (farm, packet)
            for farm, listener, port in asked
            for packet in self._packets(farm, listener, port, ports)
        ]
        told_live = set(self.random.sample(range(len(packets)), min(2, len(packets))))
        for number, (farm, packet) in enumerate(packets):
            may = interpreter.walk(packet, sticky=self.sticky).outcome
            if number in told_live:
                self._live(packet, may)
            answer = servers.send(packet)
            self.grounds.done["connections"] += 1
            if isinstance(may, Spread):
                may = self._one_of(interpreter, packet, may, answer, turn, slots)
            expected = as_told(packet, may)
            assert answer == expected, (packet, answer, expected, farm)
        remembered = {name: marks for name, marks in self.sticky.items() if marks}
        assert remembered == _known()

    def _one_of(
        self,
        interpreter: Interpreter,
        packet: Packet,
        may: Spread,
        answer: Answer,
        turn: Draw | None,
        slots: Slots,
    ) -> Sure:
        """What it was, of what it may have been; its client is remembered from now on."""
        fitting = [each.outcome for each in may.shares if as_told(packet, each.outcome) == answer]
        assert len(fitting) == 1, (packet, answer, may)
        [it] = fitting
        mark = it.backend_mark if isinstance(it, Delivered) else None

        def drawn(counter: Numgen) -> int:
            if counter.kind == "inc" and turn is not None:
                return turn(counter)
            return slots[counter.offset, counter.modulus].index(mark)

        found = interpreter.walk(packet, sticky=self.sticky, draw=drawn).outcome
        assert not isinstance(found, Spread)
        return found

    def _live(self, packet: Packet, may: Outcome) -> None:
        """``explain --live`` says what the interpreter of the wanted table does."""
        found = live.read(packet)
        assert found.drift == (), found.drift
        memory = {name: dict(marks) for name, marks in found.memory.marks.items()}
        told = story(found.farms, found.table, packet, sticky=memory, left=found.memory.left)
        assert told.walk.outcome == may, (packet, told.walk.outcome, may)
        self.grounds.done["live"] += 1

    def _chances(self, servers: Servers, table: Table, asked: Sequence[Asked]) -> None:
        """Many clients of farms that draw lots and remember nobody."""
        interpreter, ports = Interpreter(table), self._free_ports()
        for name in dict.fromkeys(farm.name for farm, *_ in asked):
            farm, listener, port = next(each for each in asked if each[0].name == name)
            if farm.balance.scheduler == "random" and farm.persistence is None:
                to = (listener.address, port, listener.protocol)
                client = self.grounds.ground.client(self.random.randrange(1 << 18), listener.family)
                may = interpreter.walk(Packet(client, 1, *to)).outcome
                if not isinstance(may, Spread):
                    continue
                shares = {
                    each.outcome.address: float(each.share)
                    for each in may.shares
                    if isinstance(each.outcome, Delivered)
                }
                got: Counter[str] = Counter()
                for _ in range(_RANDOM_DRAWS):
                    answer = servers.send(Packet(client, next(ports), *to))
                    assert isinstance(answer, Arrived), (answer, farm)
                    got[answer.address] += 1
                self.grounds.draws.add(got, shares)

    # States

    def _struck(self, known: Recalled) -> Sequence[Farm]:
        """States by hand, by checks where the file has some, and weights."""
        checked = {farm.name for farm in self.farms if farm.checks}
        return [
            replace(
                farm,
                backends=tuple(
                    replace(each, remembered=self._record(farm, farm.name in checked))
                    for each in farm.backends
                ),
            )
            for farm in known.farms
        ]

    def _record(self, farm: Farm, checked: bool) -> Remembered:
        now, random = int(time.time()), self.random
        hand = ByHand(random.choice(("drain", "let-go", "disable")), "ann", now)
        check = ByCheck(random.choice(("up", "drain", "down", "down")), now - random.randrange(3))
        weight = Measured(round(random.uniform(0.1, 4), 3), round(random.random(), 3))
        record = Remembered(
            hand if random.random() < 0.2 else None,
            check if checked and random.random() < 0.6 else None,
            weight if farm.moving and random.random() < 0.7 else None,
        )
        return NOTHING if record == Remembered() else record


def _known() -> Sticky:
    """What the kernel remembers of clients."""
    return {
        name: {key: mark for key, mark in each.elements.items() if isinstance(mark, int)}
        for name, each in read().maps.items()
        if "dynamic" in each.flags and each.elements
    }


def _by_mark(table: Table) -> Slots:
    """The marks of each pool's slots, by the pool's first slot and their number."""
    slots = next((dict(each.elements) for each in table.maps if each.name.startswith("slots")), {})
    return {
        (value.offset, value.modulus): [slots[value.offset + n] for n in range(value.modulus)]
        for chain in table.chains
        for rule in chain.rules
        for statement in rule
        if isinstance(value := getattr(statement, "value", None), Numgen)
    }
