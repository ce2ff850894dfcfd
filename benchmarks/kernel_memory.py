"""``python -m benchmarks kernel-memory``: what the table of so many farms of ten takes.

A control group of its own for the nft that loads it: what is left in its account when nft has ended
is the table, as long as its network namespace is there. By version 1 of control groups or 2.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import commands, farms
from benchmarks.closed_loop import NFTLBC

_ROOTS = {
    Path("/sys/fs/cgroup/memory"): "memory.kmem.usage_in_bytes",
    Path("/sys/fs/cgroup"): "memory.current",
}


def main(arguments: Sequence[str]) -> None:
    for count in (1, 100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            script, file = Path(folder) / "farms.nft", Path(folder) / "farms.lb"
            file.write_text(farms.text(count))
            commands.once([*NFTLBC, "compile", str(file), "-o", str(script)])
            taken = _taken(script)
        print(f"{count} farms of 10: {taken / 1024:.0f} KiB, {taken / count / 1024:.1f} a farm")


def _taken(script: Path) -> int:
    root = next((each for each in _ROOTS if (each / "cgroup.procs").exists()), None)
    if root is None:
        raise SystemExit("there are no control groups here")
    group = root / f"nftlbc-{os.getpid()}"
    group.mkdir()
    try:
        with commands.namespace() as inside:
            entering = f"echo $$ >{group}/cgroup.procs; exec {' '.join(inside)} nft -f {script}"
            subprocess.run(["sh", "-c", entering], check=True)
            time.sleep(1)  # what nft itself had is given back
            return int((group / _ROOTS[root]).read_text())
    finally:
        group.rmdir()
