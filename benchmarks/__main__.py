"""``python -m benchmarks [--quick]``: start-up, compiling, loading, applying, status, the cost of
counting, and checks, as a table. Others, each by its name: ``closed-loop`` (weights that follow),
``failover``, ``watching`` (the loop with 10 000 farms), ``profiles``, ``kernel-memory``, and
``tables`` (of docs/performance.md, from what ``make bench`` measured); ``NAME --help`` says more.
``scripts/setup --bench`` installs what they need.

Ratios are of processor time within one run, pair by pair: least, median, greatest. Loading needs
root (a network namespace is made for each load and nothing of the machine's own is touched).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import (
    checks,
    closed_loop,
    commands,
    failover,
    farms,
    kernel_memory,
    machine,
    profiles,
    tables,
    traffic,
    watching,
)

OTHERS = {
    "closed-loop": closed_loop,
    "failover": failover,
    "kernel-memory": kernel_memory,
    "profiles": profiles,
    "tables": tables,
    "watching": watching,
}
NFTLBC = [sys.executable, "-m", "nftlbc"]
EMPTY = """
from typing import Annotated
import typer
app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
def version(wanted: bool) -> None:
    if wanted:
        print("empty 0")
        raise typer.Exit
@app.callback()
def empty(
    version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True)] = False,
) -> None: ...
@app.command()
def nothing() -> None: ...
app()
"""


def main() -> None:
    name, arguments = (*sys.argv[1:2], "")[0], sys.argv[2:]
    other = OTHERS.get(name)
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print((other.__doc__ if other else __doc__) or "")
        return
    if missing := machine.missing_packages():
        sys.exit(f"missing: {', '.join(missing)} (scripts/setup --bench)")
    if other is not None:
        other.main(arguments)
        return
    if unknown := {*sys.argv[1:]} - {"--quick"}:
        sys.exit(f"not known: {' '.join(sorted(unknown))}; --help tells what is")
    quick = name == "--quick"
    runs = 3 if quick else 7
    sizes = (100, 1000) if quick else (100, 1000, 10_000)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, kernel {platform.release()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for line in _all(Path(folder), sizes, runs):
            print(line, flush=True)


def _all(folder: Path, sizes: tuple[int, ...], runs: int) -> Iterator[str]:
    yield from _starts(folder, runs)
    yield from _compiles(folder, sizes, runs)
    if os.geteuid() == 0:
        yield from _loads(folder, sizes, runs)
        yield from _applies(folder, sizes[-1], min(runs, 5))
        yield from traffic.lines(runs)
        yield from checks.lines(sizes[-1], min(runs, 5))
    else:
        yield "loading: not run (needs root)"


def _spread(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[1]:.2f} ({ratio[0]:.2f} to {ratio[2]:.2f})"


def _starts(folder: Path, runs: int) -> Iterator[str]:
    empty, small = folder / "empty.py", folder / "small.lb"
    empty.write_text(EMPTY)
    small.write_text(farms.text(4))
    nothing, version, compiled = commands.in_turn(
        [
            [sys.executable, str(empty), "--version"],
            [*NFTLBC, "--version"],
            [*NFTLBC, "compile", str(small)],
        ],
        3 * runs,
    )
    yield f"--version / an empty typer program: {_spread(commands.ratio(version, nothing))}"
    more = commands.median(compiled).wall - commands.median(version).wall
    yield f"compile of 4 farms takes {more:.3f} s more than --version"


def _compiles(folder: Path, sizes: tuple[int, ...], runs: int) -> Iterator[str]:
    """What each further farm costs tells whether the time is linear: the start is in all."""
    found: list[tuple[int, commands.Run]] = []
    for size in sizes:
        file, script = folder / f"{size}.lb", folder / f"{size}.nft"
        file.write_text(farms.text(size))
        command = [*NFTLBC, "compile", str(file), "-o", str(script)]
        run = commands.median(commands.in_turn([command], min(runs, 5))[0])
        line = (
            f"compile of {size} farms of {farms.BACKENDS}: {run.wall:.2f} s, {run.memory >> 20} MiB"
        )
        if found:
            fewer, before = found[-1]
            line += (
                f", {(run.cpu - before.cpu) / (size - fewer) * 1e6:.0f} us for each further farm"
            )
        found.append((size, run))
        yield line


def _loads(folder: Path, sizes: tuple[int, ...], runs: int) -> Iterator[str]:
    for size in sizes:
        lean, ours = folder / f"{size}-lean.nft", folder / f"{size}.nft"
        lean.write_text(farms.leanest(size))
        least, own = commands.in_turn(
            [["unshare", "--net", "nft", "-f", str(file)] for file in (lean, ours)], runs
        )
        yield (
            f"nft -f of {size} farms / the leanest script: {_spread(commands.ratio(own, least))}, "
            f"{commands.median(own).wall:.2f} s"
        )
    version = subprocess.run(["nft", "--version"], capture_output=True, text=True, check=True)
    yield version.stdout.strip()


_READING = (
    "from nftlbc.nft import netlink; import gc; gc.disable(); "
    "netlink.read(elements=lambda each: 'dynamic' not in each.flags)"
)


def _applies(folder: Path, size: int, runs: int) -> Iterator[str]:
    """In one namespace, so that each command finds what the one before left."""
    file, other, one = folder / f"{size}.lb", folder / "other.lb", folder / "one.nft"
    back = folder / "back.nft"
    text = file.read_text()
    other.write_text(text.replace("weight 2", "weight 4", 1))
    with commands.namespace() as inside:
        commands.once([*inside, *NFTLBC, "apply", str(file)])
        compiled, reading, same = commands.in_turn(
            [
                [*NFTLBC, "compile", str(file), "-o", str(folder / "again.nft")],
                [*inside, sys.executable, "-c", _READING],
                [*inside, *NFTLBC, "apply", str(file)],
            ],
            runs,
        )
        there, again = commands.in_turn(
            [[*inside, *NFTLBC, "apply", str(each)] for each in (other, file)], runs
        )
        for script, farms_file in ((one, other), (back, file)):
            script.write_text(commands.output([*inside, *NFTLBC, "plan", "--nft", str(farms_file)]))
            commands.once([*inside, "nft", "-f", str(script)])
        one_farm, all_farms = commands.in_turn(
            [[*inside, *NFTLBC, "status", *name] for name in ([f"farm{size // 2}"], [])], runs
        )
        commands.once([*inside, "nft", "-f", str(one)])
        sent = []
        for _ in range(runs):
            sent += [commands.once([*inside, "nft", "-f", str(each)]) for each in (back, one)]
    start = commands.median([commands.once([*NFTLBC, "--version"]) for _ in range(runs)])
    read = commands.median(reading)
    yield f"reading the table of {size} farms: {read.wall:.2f} s, {read.cpu:.2f} s of processor"
    for word, applied in (("nothing", same), ("one weight", [*there, *again])):
        run = commands.median(applied)
        rest = (run.cpu - (read.cpu - start.cpu)) / commands.median(compiled).cpu
        what = f"{run.wall:.2f} s; without the reading {rest:.2f} compiles"
        yield f"apply with {word} changed: {what}"
    run = commands.median(sent)
    yield f"the transaction for one weight: {run.wall * 1000:.0f} ms, nft's start included"
    for word, shown in (("one farm", one_farm), ("all farms", all_farms)):
        run = commands.median(shown)
        yield f"status of {word}: {run.wall:.2f} s, {run.cpu:.2f} s of processor"


main()
