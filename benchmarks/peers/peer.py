"""What every balancer can do, and what it has used of the processor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import commands
from benchmarks.farms import Farms
from benchmarks.network import Network

PATIENCE = 60.0
"""Seconds: who takes longer to start or to reload is said to, and left out from there on."""


class TooSlow(Exception):
    """It took more than PATIENCE."""


class Peer:
    """A balancer in a network's middle.

    network: where.
    folder: its own, for its files.
    """

    direct = False
    """Clients ask the backends themselves."""
    checks = False
    """It can look after its backends, and take out those that are dead."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        """The farms in its own words, before any time is taken."""
        raise NotImplementedError

    def start(self) -> None:
        """Returns when it balances what was written. Raises TooSlow, also from `reload`."""
        raise NotImplementedError

    def reload(self) -> None:
        """Goes over to what was written since."""
        self.start()

    def stop(self) -> None:
        """Ends what start began; what is in the kernel goes with the namespace."""

    def processes(self) -> list[int]:
        """Those that packets pass through."""
        return []

    def seconds(self) -> float:
        """Of processor time that they have used so far, those that have ended left out."""
        return sum(_used(pid) for pid in self.processes())

    def run(self, arguments: Sequence[str], text: str | None = None) -> None:
        """Runs a command at the balancer, which must succeed.

        Raises TooSlow.
        """
        try:
            done = subprocess.run(
                [*self.network.balancer, *arguments],
                input=text,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=commands.environment(),
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise TooSlow(arguments[0]) from None
        if done.returncode:
            raise SystemExit(f"{arguments[0]} ended with {done.returncode}: {done.stdout[:2000]}")


def family(parent: int) -> list[int]:
    """A process and all its children's children."""
    found = [parent]
    for pid in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def _used(pid: int) -> float:
    with contextlib.suppress(OSError):
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    return 0.0


def end(pids: Sequence[int], patience: float = 10.0) -> None:
    """Ends processes that a peer started: by SIGTERM, and by SIGKILL what is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        if until(lambda: not any(_alive(pid) for pid in pids), patience):
            return


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(there: Callable[[], bool], patience: float) -> bool:
    """Asks a function again until it says yes; False after so many seconds."""
    deadline = time.monotonic() + patience
    while not there():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
