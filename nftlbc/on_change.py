"""``on-change exec``: the command that is called when a backend's state or the quorum changes.

The table does not keep the command, though it could: who may change nftables could then make root
run what they like. Whoever changes a state takes the command from the farms file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from nftlbc.farms import Backend, Farm
from nftlbc.table.pool import pool_of

DEADLINE: Final = 10.0
"""Seconds for one call; then the command and all that it started are killed."""
OVERDUE: Final = f"did not end within its deadline of {DEADLINE:g} s, and was killed"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

State = Literal["up", "drain", "down", "disabled"]
Quorum = Literal["met", "missed"]


@dataclass(frozen=True)
class Event:
    """One change."""

    farm: str
    backend: Backend | None
    """None: the farm's quorum changed."""
    state: str
    """Of the backend, or ``quorum-met`` and ``quorum-missed``."""
    was: str
    reason: str
    """``hand``, ``file``, or what a check found: ``refused``, ``timeout``, ``status-503``."""
    quorum: Quorum
    takers: int
    """Backends that take new clients, without backups."""
    needed: int

    def environment(self) -> dict[str, str]:
        backend = self.backend
        return {
            "NFTLBC_FARM": self.farm,
            "NFTLBC_BACKEND": backend.name if backend else "",
            "NFTLBC_ADDRESS": backend.address if backend else "",
            "NFTLBC_PORT": str(backend.port or "") if backend else "",
            "NFTLBC_STATE": self.state,
            "NFTLBC_WAS": self.was,
            "NFTLBC_REASON": self.reason,
            "NFTLBC_QUORUM": self.quorum,
            "NFTLBC_TAKERS": str(self.takers),
            "NFTLBC_NEEDED": str(self.needed),
        }


def events(before: Farm, after: Farm) -> Iterator[Event]:
    """What changed between two states of one farm; the quorum last."""
    quorum, takers = _quorum(after)
    old = {(each.address, each.port): each for each in before.backends}
    reason = "file"
    for each in after.backends:
        was = old.get((each.address, each.port))
        if was is not None and stated(was) != stated(each):
            reason = _reason(was, each)
            yield Event(
                after.name, each, stated(each), stated(was), reason, quorum, takers, after.quorum
            )
    before_quorum, _ = _quorum(before)
    if before_quorum != quorum:
        now, was_ = f"quorum-{quorum}", f"quorum-{before_quorum}"
        yield Event(after.name, None, now, was_, reason, quorum, takers, after.quorum)


def stated(backend: Backend) -> State:
    return "disabled" if backend.remembered.cut else backend.standing


def _reason(before: Backend, after: Backend) -> str:
    if before.remembered.hand != after.remembered.hand:
        return "hand"
    check = after.remembered.check
    if check is not None and check != before.remembered.check:
        return check.why or "check"
    return "file"


def _quorum(farm: Farm) -> tuple[Quorum, int]:
    """Of a farm of two families, that of the one with fewer."""
    pools = [pool_of(farm, family) for family in farm.families]
    takers = [sum(each.takes_new and not each.backup for each in pool.backends) for pool in pools]
    return ("missed" if any(pool.degraded for pool in pools) else "met"), min(takers, default=0)


def call(command: Sequence[str], some: Iterable[Event]) -> Iterator[str]:
    """Calls a farm's command for each event, one after the other; yields what went wrong.

    No shell is between. It has the NFTLBC variables and PATH for an environment, / for its folder,
    no input, and our standard error for its output. One that has hung is not called again. Not to
    be called under the lock: the command may be nftlbc.
    """
    for event in some:
        wrong = _called(command, event)
        if wrong is None:
            continue
        yield f"on-change of farm {event.farm}: {command[0]} {wrong}"
        if "deadline" in wrong:
            return


def _called(command: Sequence[str], event: Event) -> str | None:
    try:
        process = subprocess.Popen(command, **surroundings(event), start_new_session=True)
    except OSError as problem:
        return unstartable(problem)
    try:
        status = process.wait(DEADLINE)
    except BaseException as ended:
        os.killpg(process.pid, signal.SIGKILL)  # it was not waited for: the number is still its own
        process.wait()
        if isinstance(ended, subprocess.TimeoutExpired):
            return OVERDUE
        raise
    return ending(status)


def surroundings(event: Event) -> dict[str, Any]:
    """What a command finds: arguments for starting it."""
    return {
        "stdin": subprocess.DEVNULL,
        "stdout": _errors(),
        "stderr": _errors(),
        "env": {"PATH": _PATH, **event.environment()},
        "cwd": "/",
    }


def unstartable(problem: OSError) -> str:
    return f"can't be started: {problem.strerror}"


def ending(status: int) -> str | None:
    """What is wrong about the way in which it ended; ``status`` as subprocess has it."""
    if status < 0:
        return f"died by signal {-status}"
    return f"ended with status {status}" if status else None


def _errors() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        return subprocess.DEVNULL
