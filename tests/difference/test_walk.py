"""A farms file that is edited hundreds of times, each time applied by difference."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from connections import Arrived, Ground, as_told
from farms_walk import _EDITS, Walk
from namespaces import NFTS, Elsewhere, applied, in_namespace

from nftlbc.explain.interpreter import Interpreter
from nftlbc.explain.outcome import Delivered, Packet, Spread
from nftlbc.farms import Farm
from nftlbc.plan import planning, telling
from nftlbc.table.build import build
from nftlbc.table.model import Table


@in_namespace
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
def test_every_edit_ends_as_a_fresh_load(seed: int) -> None:
    _walk(seed, 100, NFTS[0])


@in_namespace
@pytest.mark.timeout(600)
@pytest.mark.parametrize("nft", NFTS)
def test_with_every_nft(nft: str) -> None:
    _walk(1000 + NFTS.index(nft), 30, nft)


def _walk(seed: int, steps: int, nft: str) -> None:
    walk, elsewhere, clients = Walk(seed), Elsewhere(), _Clients()
    applied(walk.farms, elsewhere, nft)
    done: Counter[str] = Counter()
    for _ in range(steps):
        done[walk.step()] += 1
        plan = planning.plan(walk.farms)
        if not plan.empty:
            assert telling.told(plan)
        found = applied(walk.farms, elsewhere, nft).wanted
        assert _without_notes(found) == _without_notes(build(walk.farms))
        clients.connect(walk.random.sample(walk.farms, min(2, len(walk.farms))), found)
    assert clients.delivered > steps // 2
    assert len(done) > len(_EDITS) // 2


class _Clients:
    """Some that were never there, and come a second time."""

    def __init__(self) -> None:
        self.ground = Ground()
        self.delivered = 0
        self._numbers = itertools.count(1)

    def connect(self, farms: Sequence[Farm], table: Table) -> None:
        """They go where the interpreter says."""
        interpreter = Interpreter(table)
        for farm in farms:
            listeners = [each for each in farm.listeners if each.protocol != "sctp"]
            for listener in listeners[:1]:
                ports = {listener.to or each.port or listener.last for each in farm.backends}
                number = next(self._numbers)
                # Far apart: some farms know their clients by networks.
                client = self.ground.client(number << 8 | 1, listener.family)
                to = (listener.address, listener.last, listener.protocol)
                with self.ground.serving({(listener.protocol, port) for port in ports}) as servers:
                    packet = Packet(client, 1024 + number, *to)
                    may = interpreter.walk(packet).outcome
                    shares = may.shares if isinstance(may, Spread) else ()
                    outcomes = [each.outcome for each in shares] or [may]
                    answer = servers.send(packet)
                    assert answer in [as_told(packet, each) for each in outcomes], (packet, farm)
                    self.delivered += any(isinstance(each, Delivered) for each in outcomes)
                    if _known_again(farm) and isinstance(answer, Arrived):
                        again = servers.send(replace(packet, source_port=30_000 + number))
                        assert again == answer, (packet, farm)


def _known_again(farm: Farm) -> bool:
    """Whether it keeps a client that comes from another port."""
    persistence = farm.persistence
    if persistence is None or persistence.timeout < 60_000:
        return False
    return all(key.field != "source-port" for key in persistence.keys)


def _without_notes(table: Table) -> Table:
    """All but since when the file says what it says, which a fresh load can't know."""
    maps = tuple(
        replace(each, sections={}) if each.name.startswith("states_") else each
        for each in table.maps
    )
    return replace(table, maps=maps)
