"""What clients notice while a balancer reloads, changes a weight, or has a backend die.

Connections come at a steady rate, whatever becomes of those before. One that is refused, reset or
silent for three seconds has failed; one that was answered only after the client's second try, 0.9 s
or more, is late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import farms, peers
from benchmarks.farms import PORT, Farms
from benchmarks.figures import Figure
from benchmarks.network import Load, network
from benchmarks.peers.ours import Ours, Script
from benchmarks.peers.peer import Peer, TooSlow

PART = "clients"
SIZE, RATE, AT_ONCE = 100, 8_000, 500
DIES_AFTER, SETTLED = 2.0, 3.0
"""Seconds after the first connection; and from the balancer's start until all are known alive."""
# The third backend of each farm: as if a machine of each had lost its service.
_DEATH = f"""
table inet death {{
    chain in {{
        type filter hook input priority -10
        ip daddr & 0.0.0.255 == 0.0.0.3 tcp dport {PORT} reject with tcp reset
    }}
}}
"""
Meanwhile = Callable[[Peer, Callable[[], bool]], int]
"""What happens to a balancer until the load is over; how often it did."""


def figures(program: Path, folder: Path, count: int, *, few: bool) -> Iterator[Figure]:
    """few: nftlbc and those of its peers that say most."""
    everybody: dict[str, peers.Make] = {**peers.KERNEL, **peers.PROXIES}
    reloading: dict[str, peers.Make] = {"nftlbc (nft -f)": Script, **everybody}
    del reloading["nftlb"]  # has no reload: it is told of changes
    dying = {name: make for name, make in everybody.items() if make is Ours or name in _CHECKING}
    for what, makers, meanwhile in (
        ("nothing happens", {"nftlbc": Ours}, _nothing),
        ("reloads", reloading, _reloads),
        ("weight changes", everybody, _weights),
        ("a backend dies", dying, _dies),
    ):
        death = meanwhile is _dies
        for name, make in makers.items():
            if few and name in ("nginx", "nftlb"):
                continue
            least = int(RATE * (DIES_AFTER + 6))
            most = max(count, least * death)
            try:
                yield _one(program, folder, what, name, make, meanwhile, most)
            except TooSlow:
                note = "a change takes more than a minute"
                yield Figure(PART, f"{what}: failed", name, SIZE, [], "", note=note)
    for name in ("nftlb", "iptables"):
        note = "not run: has no checks; who watches for it decides"
        yield Figure(PART, "a backend dies: failed", name, SIZE, [], "", note=note)


_CHECKING = tuple(peers.PROXIES)


def _one(
    program: Path,
    folder: Path,
    what: str,
    name: str,
    make: peers.Make,
    meanwhile: Meanwhile,
    count: int,
) -> Figure:
    here = folder / f"clients-{what}-{name}".replace(" ", "-")
    with network() as where:
        peer = make(where, here)
        (here / "targets").write_text(farms.targets(Farms(SIZE)))
        dies = meanwhile is _dies
        peer.write(Farms(SIZE, persist=False), checked=dies)
        with Load(program, where, here / "targets") as load:
            try:
                peer.start()
                if dies:
                    time.sleep(SETTLED)
                answer, times = _under_load(load, count, peer, meanwhile)
            finally:
                peer.stop()
    failed = answer["refused"] + answer["reset"] + answer["silent"]
    note = f"of {count}, {answer['late']} late"
    if dies:
        gone = max(answer["last_failure"] - DIES_AFTER, 0) if failed else 0.0
        note += f"; the last {gone:.2f} s after the death"
    elif times:
        note += f"; {times} {what}"
    return Figure(PART, f"{what}: failed", name, SIZE, [failed], "", note=note)


def _under_load(
    load: Load, count: int, peer: Peer, meanwhile: Meanwhile
) -> tuple[dict[str, Any], int]:
    answers: list[dict[str, Any]] = []
    order = ("connect", count, AT_ONCE, RATE)
    asking = threading.Thread(target=lambda: answers.append(load.order(*order)))
    asking.start()
    try:
        times = meanwhile(peer, asking.is_alive)
    finally:
        asking.join()
    return answers[0], times


def _nothing(_: Peer, going: Callable[[], bool]) -> int:
    """What the machine does by itself: late connections are its fault."""
    while going():
        time.sleep(0.05)
    return 0


def _reloads(peer: Peer, going: Callable[[], bool]) -> int:
    return _again(peer.reload, going)


def _again(change: Callable[[], None], going: Callable[[], bool]) -> int:
    """Two a second, or as many as it can: reloads upon reloads pile up proxies' old workers."""
    times = 0
    while going():
        begin = time.monotonic()
        change()
        times += 1
        while going() and time.monotonic() - begin < 0.5:
            time.sleep(0.02)
    return times


def _weights(peer: Peer, going: Callable[[], bool]) -> int:
    heavier = False

    def change() -> None:
        nonlocal heavier
        heavier = not heavier
        peer.write(Farms(SIZE, persist=False, heavier=heavier))
        peer.reload()

    return _again(change, going)


def _dies(peer: Peer, going: Callable[[], bool]) -> int:
    time.sleep(DIES_AFTER)
    peer.network.nft(_DEATH, peer.network.servers)
    while going():
        time.sleep(0.05)
    return 1
