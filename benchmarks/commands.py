"""Timing whole commands: processor seconds and peak memory as the kernel counts them."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of user and system time."""
    memory: int
    """Bytes at the peak."""


def environment() -> dict[str, str]:
    """As users have it: Python may keep what it has compiled."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def once(arguments: Sequence[str]) -> Run:
    """Runs a command that must succeed; its output is thrown away."""
    start = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=environment()) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    wall = time.perf_counter() - start
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def output(arguments: Sequence[str]) -> str:
    """What a command prints."""
    return subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout


@contextlib.contextmanager
def namespace() -> Iterator[list[str]]:
    """A network namespace that stays for several commands: what to write before each."""
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as holder:
        try:
            own = Path("/proc/self/ns/net").stat().st_ino
            while Path(f"/proc/{holder.pid}/ns/net").stat().st_ino == own:
                time.sleep(0.01)
            yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        finally:
            holder.communicate()


def in_turn(commands: Sequence[Sequence[str]], runs: int) -> list[list[Run]]:
    """Each command so many times, A B C A B C ...: what the machine does meanwhile hits all.

    One run of each comes first and is not counted.
    """
    for command in commands:
        once(command)
    found: list[list[Run]] = [[] for _ in commands]
    for _ in range(runs):
        for command, results in zip(commands, found, strict=True):
            results.append(once(command))
    return found


def ratio(over: Sequence[Run], under: Sequence[Run]) -> tuple[float, float, float]:
    """Least, median and greatest ratio of the pairs' processor time."""
    ratios = sorted(a.cpu / b.cpu for a, b in zip(over, under, strict=True))
    return ratios[0], statistics.median(ratios), ratios[-1]


def median(runs: Sequence[Run]) -> Run:
    """The median of each figure."""
    return Run(
        statistics.median(run.wall for run in runs),
        statistics.median(run.cpu for run in runs),
        int(statistics.median(run.memory for run in runs)),
    )
