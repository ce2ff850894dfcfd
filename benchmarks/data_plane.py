"""What a connection and a packet cost: nftlbc, its peers and the kernel's own limits, in turn.

All of them stand ready at once, each in a network of its own, and get a small batch each, round
by round: what the machine does meanwhile hits all. A cost is processor time of the whole way,
clients and servers included (load.c says how); of proxies, their own processes' time is added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import farms, peers
from benchmarks.farms import Farms
from benchmarks.figures import Figure, beside
from benchmarks.network import Load, network
from benchmarks.peers.peer import Peer, TooSlow

PART = "data plane"
LIMIT = "one dnat rule"
ONE = "nftlbc, one farm used"
CONNECTIONS, FIRST_PACKETS, ROUND_TRIPS = 1_000, 10_000, 4_000
"""Of a batch: some 50 ms each."""
THROUGH_PROXIES = 500
"""Round trips: each waits for the proxy's process to be woken."""
HELD, AT_ONCE = 100, 32


class Ready(NamedTuple):
    peer: Peer
    load: Load


def figures(program: Path, folder: Path, sizes: Sequence[int], rounds: int) -> Iterator[Figure]:
    slow: set[str] = set()
    for size in sizes:
        yield from _at_size(program, folder / str(size), Farms(size, persist=False), rounds, slow)
    wanted = Farms(sizes[min(1, len(sizes) - 1)])
    yield from _at_size(program, folder / "persist", wanted, rounds, set())


def _at_size(
    program: Path, folder: Path, wanted: Farms, rounds: int, slow: set[str]
) -> Iterator[Figure]:
    makers = {**peers.LIMITS, **peers.KERNEL, **peers.PROXIES}
    kind = ", persistent" if wanted.persist else ""
    with contextlib.ExitStack() as stack:
        ready = {}
        for name, make in makers.items():
            try:
                if name not in slow:
                    ready[name] = _ready(stack, program, folder / name, make, wanted)
            except TooSlow:
                slow.add(name)
        if wanted.count > 1 and not wanted.persist:
            # What does the number of farms cost, and what their being used, each in its turn?
            here = folder / "one"
            ready[ONE] = _ready(stack, program, here, peers.KERNEL["nftlbc"], wanted, Farms(1))
        for name in slow:
            note = "not run: its start takes more than a minute"
            yield Figure(PART, f"whole connection{kind}", name, wanted.count, [], "us", note=note)
        kernel = {name: each for name, each in ready.items() if name not in peers.PROXIES}
        for what, those, order in (
            ("whole connection", ready, f"connect {CONNECTIONS} {AT_ONCE} 0"),
            ("first packet", kernel, f"syn {FIRST_PACKETS}"),
            ("round trip, established", ready, f"echo {ROUND_TRIPS}"),
        ):
            measure = _first_packets if what == "first packet" else _plainly
            runs = measure(those, order, rounds)
            yield from beside(PART, what + kind, wanted.count, runs, "us", LIMIT)


def _ready(
    stack: contextlib.ExitStack,
    program: Path,
    folder: Path,
    make: peers.Make,
    wanted: Farms,
    used: Farms | None = None,
) -> Ready:
    """used: those that clients go to, where not to all."""
    where = stack.enter_context(network())
    peer = make(where, folder)
    targets = folder / "targets"
    targets.write_text(farms.targets(used or wanted, backends=peer.direct))
    peer.write(wanted)
    stack.callback(peer.stop)
    peer.start()
    return Ready(peer, stack.enter_context(Load(program, where, targets)))


def _plainly(those: dict[str, Ready], order: str, rounds: int) -> dict[str, list[float]]:
    held = order.startswith("echo")
    for each in those.values() if held else ():
        if each.load.order("open", HELD)["count"] != HELD:
            raise SystemExit("connections that were to stay could not be opened")
    runs = _in_turn(those, order, rounds, prepare=None if held else "flush")
    for each in those.values() if held else ():
        each.load.order("close")
    return runs


def _first_packets(those: dict[str, Ready], order: str, rounds: int) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        shut = [stack.enter_context(each.peer.network.door_shut()) for each in those.values()]
        runs = _in_turn(those, order, rounds, prepare="flush")
    for arrived in shut:
        if arrived[0] < (rounds + 1) * FIRST_PACKETS * 0.999:
            raise SystemExit("packets got lost on their way: nothing was measured")
    return runs


def _in_turn(
    those: dict[str, Ready], order: str, rounds: int, prepare: str | None
) -> dict[str, list[float]]:
    """Microseconds of one, in each batch; one batch comes first and is not counted."""
    found: dict[str, list[float]] = {name: [] for name in those}
    for number in range(rounds + 1):
        for name, (peer, load) in those.items():
            if prepare:
                load.order(prepare)
            before = peer.seconds()
            answer = load.order(_fewer(order) if name in peers.PROXIES else order)
            if answer.get("ok", answer["count"]) != answer["count"] or answer.get("lost"):
                raise SystemExit(f"{name} lost connections: {answer}")
            if number:
                used = answer["cpu"] + peer.seconds() - before
                found[name].append(used / answer["count"] * 1e6)
    return found


def _fewer(order: str) -> str:
    return f"echo {THROUGH_PROXIES}" if order.startswith("echo") else order
