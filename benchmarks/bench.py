"""``python -m benchmarks.bench [--quick] [--out FOLDER] [PART ...]``: ``make bench``.

nftlbc beside what people would use instead, on the same farms, in the same run. Prints a table;
with --out it also writes bench.json and pictures. Needs root and the packages that ``scripts/setup
--bench`` installs. Touches nothing outside the network namespaces that it makes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import (
    charts,
    checks,
    clients,
    control_plane,
    data_plane,
    machine,
    network,
    peers,
    tools,
)
from benchmarks.figures import Figure, found

Told = Iterator["Figure | str"]


class Run(NamedTuple):
    program: Path
    folder: Path
    quick: bool


def _data_plane(run: Run) -> Told:
    sizes = (1, 100) if run.quick else (1, 100, 1_000, 10_000)
    yield from data_plane.figures(run.program, run.folder, sizes, 3 if run.quick else 7)


def _tools(run: Run) -> Told:
    yield from tools.figures(run.folder, 1, 1 if run.quick else 3)


def _control_plane(run: Run) -> Told:
    sizes = (10, 100) if run.quick else (10, 100, 1_000, 10_000)
    yield from control_plane.figures(run.folder, sizes, 2 if run.quick else 3)


def _clients(run: Run) -> Told:
    count = 10_000 if run.quick else 100_000
    yield from clients.figures(run.program, run.folder, count, few=run.quick)


def _probe(run: Run) -> Told:
    yield from checks.lines(1_000 if run.quick else 10_000, 1 if run.quick else 3)


PARTS: dict[str, Callable[[Run], Told]] = {
    "data-plane": _data_plane,
    "clients": _clients,
    "control-plane": _control_plane,
    "tools": _tools,
    "probe": _probe,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench")
    parser.add_argument("--quick", action="store_true", help="fewer farms, in three minutes")
    parser.add_argument("--out", type=Path, help="write bench.json and pictures here")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root, for network namespaces that hold 10 000 farms")
    if missing := machine.missing():
        raise SystemExit(f"bench: missing: {', '.join(missing)} (scripts/setup --bench)")
    # So that a SIGTERM, too, ends what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by a signal"))
    about = machine.described()
    for name, value in about.items():
        print(f"{name}: {value}")
    told: list[Figure | str] = []
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="nftlbc-bench-") as folder:
        run = Run(network.compiled(Path(folder)), Path(folder), chosen.quick)
        for name in chosen.parts or PARTS:
            begin = time.monotonic()
            print(f"\n{name}  (load {machine.load()})", flush=True)
            for each in PARTS[name](run):
                print(each.line() if isinstance(each, Figure) else each, flush=True)
                told.append(each)
            seconds[name] = round(time.monotonic() - begin)
            print(f"{name} took {seconds[name]:.0f} s", flush=True)
            about[f"load after {name}"] = machine.load()
            if chosen.out is not None:
                chosen.out.mkdir(parents=True, exist_ok=True)
                _write(chosen.out, about, seconds, told)


def _write(
    out: Path, about: dict[str, str], seconds: dict[str, float], told: list[Figure | str]
) -> None:
    figures = [each for each in told if isinstance(each, Figure)]
    document = {
        "machine": about,
        "seconds": seconds,
        "figures": [each.document() for each in figures],
        "lines": [each for each in told if isinstance(each, str)],
    }
    (out / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    for name, picture in pictures(figures).items():
        (out / name).write_text(picture)


def pictures(figures: list[Figure]) -> dict[str, str]:
    """File names, and the SVG of those whose figures are there."""
    balancers = [*peers.KERNEL, *peers.PROXIES]
    everybody = [*balancers, "one dnat rule"]
    wanted = {
        "connections.svg": (
            "A new connection through one of so many farms of ten backends",
            "processor time of the whole way, clients and servers included; microseconds",
            ("whole connection", everybody, "µs"),
        ),
        "loading.svg": (
            "Loading so many farms of ten backends",
            "until they are balanced, by the clock; seconds",
            ("first load, by the clock", balancers, "s"),
        ),
        "changing.svg": (
            "Changing one weight among so many farms of ten backends",
            "until it counts, by the clock; seconds",
            ("one weight, by the clock", balancers, "s"),
        ),
    }
    drawn = {}
    for file, (title, under, (what, names, unit)) in wanted.items():
        series = {
            name: [(each.farms, each.value) for each in found(figures, what, name) if each.runs]
            for name in names
        }
        if any(len(points) > 1 for points in series.values()):
            drawn[file] = charts.lines(title, under, series, unit)
    return drawn


if __name__ == "__main__":
    main()
