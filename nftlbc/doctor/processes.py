"""The programs that run on this machine, and who holds a socket."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from nftlbc.doctor.finding import Unseen
from nftlbc.doctor.machine import Machine

_MOST_PROCESSES: Final = 8192
_MOST_FILES: Final = 100_000
"""Open files that are looked at, of all processes together."""
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


def named(machine: Machine, names: Iterable[str]) -> set[str]:
    """Which of these programs run."""
    wanted = set(names)
    return wanted & {_name(machine, number) for number in _numbers(machine)}


def holders(machine: Machine, sockets: Iterable[int]) -> dict[int, str]:
    """The programs that hold sockets, by inode; only root sees those of others."""
    wanted = set(sockets)
    found: dict[int, str] = {}
    left = _MOST_FILES
    for number in _numbers(machine):
        if not wanted - found.keys() or left <= 0:
            break
        files = machine.names(f"proc/{number}/fd", left)
        left -= len(files)
        for file in files:
            match = _SOCKET.fullmatch(machine.link(f"proc/{number}/fd/{file}") or "")
            if match and int(match.group(1)) in wanted:
                found[int(match.group(1))] = _name(machine, number) or f"process {number}"
    return found


def _numbers(machine: Machine) -> list[str]:
    return [name for name in machine.names("proc", _MOST_PROCESSES) if name.isdigit()]


def _name(machine: Machine, number: str) -> str:
    try:
        return (machine.read(f"proc/{number}/comm", 64) or "").strip()
    except Unseen:
        return ""
