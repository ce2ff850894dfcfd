"""``python -m benchmarks profiles [FARMS]``: where whole commands spend their time and memory.

compile, apply (nothing changed), status and probe of farms of ten backends, each in a process of
its own, in a network namespace. The profiler makes everything slower, calls most of all, so shares
are told and not seconds: of each package with what it calls of others (the kernel, nft, Python),
and of the dearest functions. The seconds and the memory are those of a run without the profiler.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import commands, farms
from benchmarks.closed_loop import NFTLBC, PYTHON, end
from benchmarks.watching import server

_Function = tuple[str, int, str]
_ELSE: _Function = ("Python's own", 0, "")
"""What runs by itself: imports, typer, the loop of asyncio."""


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["within"]:
        _within(*arguments[1:])
        return
    count = next((int(each) for each in arguments if each.isdigit()), 10_000)
    with tempfile.TemporaryDirectory() as name, commands.namespace() as inside:
        for line in ("link set lo up", "route add local 10.0.0.0/8 dev lo"):
            subprocess.run([*inside, "ip", *line.split()], check=True)
        file = Path(name) / "farms.lb"
        file.write_text(
            farms.text(count).replace("balance round-robin", "balance round-robin\n    check tcp")
        )
        backends = server(inside, 8080)
        try:
            commands.once([*inside, *NFTLBC, "apply", "--quiet", str(file)])
            for words in (
                ("compile", str(file), "-o", str(Path(name) / "farms.nft")),
                ("apply", str(file)),
                ("status",),
                ("probe", str(file)),
            ):
                run = commands.once([*inside, *NFTLBC, *words])
                print(
                    f"{words[0]}: {run.wall:.2f} s, {run.cpu:.2f} s of processor, "
                    f"{run.memory >> 20} MiB",
                    flush=True,
                )
                told = Path(name) / "profile"
                profiled = [*PYTHON, "benchmarks", "profiles", "within", str(told), *words]
                commands.once([*inside, *profiled])
                _tell(told)
        finally:
            end(backends)


def _within(told: str, *words: str) -> None:
    from nftlbc.cli.app import run

    sys.argv = ["nftlbc", *words]
    profile = cProfile.Profile()
    try:
        profile.runcall(run)
    except SystemExit as ending:
        if ending.code:
            raise
    finally:
        profile.dump_stats(told)


def _tell(told: Path) -> None:
    stats = pstats.Stats(str(told)).stats  # type: ignore[attr-defined]
    own: Counter[_Function] = Counter()
    for function, (_, _, time, _, callers) in stats.items():
        if _is_ours(function):
            own[function] += time
            continue
        # What is not ours counts for those of us who call it, as far as they do so directly.
        for caller, (_, _, part, _) in callers.items():
            own[caller if _is_ours(caller) else _ELSE] += part
    total = own.total()
    packages: Counter[str] = Counter()
    for (path, _, _), time in own.items():
        packages[path.rpartition("/nftlbc/")[2].partition("/")[0].removesuffix(".py")] += time
    del own[_ELSE]
    for name, counted in (("packages", packages), ("functions", own)):
        best = [f"{_name(key)} {time / total:.0%}" for key, time in counted.most_common(8)]
        print(f"    {name}: {', '.join(best)}", flush=True)


def _is_ours(function: _Function) -> bool:
    return f"{os.sep}nftlbc{os.sep}" in function[0]


def _name(key: str | _Function) -> str:
    return key if isinstance(key, str) else f"{Path(key[0]).stem}.{key[2]}"
