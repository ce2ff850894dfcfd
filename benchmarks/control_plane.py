"""What it takes to load farms and to change them, from 10 farms to 10 000.

Whole commands, in turn, each first load in a network namespace of its own. Ratios among nftlbc's
commands are of processor time; peers that are services are timed by the clock, until they balance
what they were given, and so is what they are held against.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import commands, farms, peers
from benchmarks.commands import Run
from benchmarks.farms import Farms
from benchmarks.figures import Figure
from benchmarks.network import network
from benchmarks.peers.ours import NFTLBC
from benchmarks.peers.peer import TooSlow

PART = "control plane"
READING = (
    "from nftlbc.nft import netlink; import gc; gc.disable(); "
    "netlink.read(elements=lambda each: 'dynamic' not in each.flags)"
)
BARE = "bare nft -f"


def figures(folder: Path, sizes: Sequence[int], rounds: int) -> Iterator[Figure]:
    slow: set[str] = set()
    for size in sizes:
        here = folder / f"control-{size}"
        here.mkdir()
        # Ten thousand farms take seconds a command, and vary less.
        yield from _ours(here, size, rounds if size < 10_000 else min(rounds, 2))
        yield from _peers(here, size, rounds if size < 1_000 else 1, slow)


def _ours(folder: Path, size: int, rounds: int) -> Iterator[Figure]:
    files = {name: folder / f"{name}.lb" for name in ("farms", "weight", "more")}
    for name, wanted in (
        ("farms", Farms(size)),
        ("weight", Farms(size, heavier=True)),
        ("more", Farms(size + 1)),
    ):
        files[name].write_text(farms.written(wanted))
    script, file = folder / "farms.nft", str(files["farms"])
    compiling = [*NFTLBC, "compile", file, "-o", str(script)]
    commands.once(compiling)
    fresh = ["unshare", "--net"]
    runs: dict[str, list[Run]] = {}

    def take(what: str, command: Sequence[str]) -> None:
        runs.setdefault(what, []).append(commands.once(command))

    with commands.namespace() as inside:
        commands.once([*inside, *NFTLBC, "apply", file])
        for _ in range(rounds):
            take("start", [*NFTLBC, "--version"])
            take("compile", compiling)
            take(BARE, [*fresh, "nft", "-f", str(script)])
            take("first apply", [*fresh, *NFTLBC, "apply", file])
            take("read the table", [*inside, sys.executable, "-c", READING])
            take("apply, nothing changed", [*inside, *NFTLBC, "apply", file])
            for name, what in (("weight", "one weight"), ("more", "one farm")):
                for each in (str(files[name]), file):
                    take(f"apply, {what} changed", [*inside, *NFTLBC, "apply", each])
            for word in ("drain", "enable"):
                take("drain one backend", [*inside, *NFTLBC, word, "farm0/app1"])
    for what, own in runs.items():
        against = {"first apply": BARE, "compile": BARE}.get(what, "")
        against = "read the table" if what.startswith(("apply", "drain")) else against
        ratios = [a.cpu / b.cpu for a, b in _pairs(own, runs[against])] if against else []
        note = f"{commands.median(own).wall:.2f} s by the clock"
        yield Figure(
            PART, what, "nftlbc", size, [run.cpu for run in own], "s cpu", against, ratios, note
        )
    for what in ("apply, one weight changed", "drain one backend"):
        beyond = [a.cpu - b.cpu for a, b in _pairs(runs[what], runs["read the table"])]
        yield Figure(PART, f"{what}: beyond reading", "nftlbc", size, beyond, "s cpu")


def _pairs(runs: list[Run], under: list[Run]) -> Iterator[tuple[Run, Run]]:
    """Those of the same round; there and back are two runs in a round."""
    times = len(runs) // len(under)
    return ((run, under[number // times]) for number, run in enumerate(runs))


def _peers(folder: Path, size: int, rounds: int, slow: set[str]) -> Iterator[Figure]:
    """By the clock: first load, and one weight changed, each round in the same order."""
    makers = {**peers.KERNEL, **peers.PROXIES}
    first: dict[str, list[float]] = {}
    change: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, make in makers.items():
            if name in slow or (number and first[name][0] > 20):
                continue
            with network() as where, contextlib.ExitStack() as stack:
                peer = make(where, folder / f"{name}-{number}")
                peer.write(Farms(size))
                stack.callback(peer.stop)
                try:
                    first.setdefault(name, []).append(_timed(peer.start))
                    for heavier in (True, False):
                        peer.write(Farms(size, heavier=heavier))
                        change.setdefault(name, []).append(_timed(peer.reload))
                except TooSlow:
                    slow.add(name)
    for what, runs in (("first load, by the clock", first), ("one weight, by the clock", change)):
        for name in makers:
            own = runs.get(name, [])
            if name in slow or not own:
                yield Figure(PART, what, name, size, [], "s", note="takes more than a minute")
                continue
            ratios = [a / b for a, b in zip(own, runs["nftlbc"], strict=False)]
            against = "" if name == "nftlbc" else "nftlbc"
            yield Figure(PART, what, name, size, own, "s", against, ratios if against else [])


def _timed(do: Callable[[], None]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin
