"""``check exec``: a command ends with status 0.

It runs in a session of its own, without a shell. When it ends or its time is over, what is left of
that session and of its descendants is killed before it is reaped, while its number is still its.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.result import Failure, Finding
from nftlbc.probe.target import Target

MOST_OUTPUT: Final = 64 * 1024
"""Bytes; a command that prints more is killed."""
MOST_FIGURE: Final = 1e12
"""Greater ones count as this: the table remembers no greater load, and sums of them stay finite."""
_TOO_MUCH: Final = f"printed more than {MOST_OUTPUT // 1024} KiB"
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""Of our own environment, which may hold secrets."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def check(target: Target, attempt: Attempt) -> Finding:
    command: Any = dict(target.check.options)["command"]
    attempt.step = "not done"
    status, line = await _ended(command, _environment(target))
    if status < 0:
        return Finding(f"ended by {_signal(-status)}", "signal", passed=False)
    if status:
        told = f": {line[:80]}" if line else ""
        return Finding(f"status {status}{told}", f"exit-{status}", passed=False)
    return Finding("status 0", figure=_figure(line))


def _environment(target: Target) -> dict[str, str]:
    return {
        "PATH": _PATH,
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "NFTLBC_FARM": target.farm,
        "NFTLBC_BACKEND": target.backend,
        "NFTLBC_ADDRESS": target.address,
        "NFTLBC_PORT": str(target.port) if target.port else "",
    }


def _figure(line: str) -> float | None:
    """The number that it printed, for ``balance custom``."""
    try:
        found = float(line.split()[0])
    except (ValueError, IndexError):
        return None
    return min(found, MOST_FIGURE) if math.isfinite(found) and found >= 0 else None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _ended(command: tuple[str, ...], environment: dict[str, str]) -> tuple[int, str]:
    """Its status as ``Popen`` has it, once it has ended, and the first line that it printed.

    The end is that of the command, not of its output: a child that keeps that open keeps nobody
    waiting.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writing, True)
    try:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as problem:
            why = getattr(problem, "strerror", None) or "not a command"
            raise Failure("command", f"{command[0]}: {why}", silent=True) from None
        finally:
            os.close(writing)
        output = await _watched(process, reading)
    finally:
        os.close(reading)
    return process.returncode, output.partition(b"\n")[0].decode("utf-8", "replace").strip()


async def _watched(process: subprocess.Popen[bytes], reading: int) -> bytes:
    """What it prints until it ends. Nothing of it is left behind."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    output = bytearray()
    handle = os.pidfd_open(process.pid)

    def read() -> None:
        try:
            data = os.read(reading, MOST_OUTPUT)
        except BlockingIOError:
            return
        output.extend(data)
        if not data:
            loop.remove_reader(reading)
        elif len(output) > MOST_OUTPUT:
            loop.remove_reader(reading)
            if not over.done():
                over.set_exception(Failure("too-much", _TOO_MUCH))

    def ended() -> None:
        if not over.done():
            over.set_result(None)

    try:
        loop.add_reader(handle, ended)
        loop.add_reader(reading, read)
        await over
        read()
        _kill_group(process.pid)
    except BaseException:
        _kill_all(process.pid)
        raise
    finally:
        loop.remove_reader(handle)
        loop.remove_reader(reading)
        os.close(handle)
        process.wait()
    return bytes(output)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)


def _kill_all(leader: int) -> None:
    """Kills a command that runs, its session, and all that descends from it."""
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGSTOP)  # so that its children stay its children
    for number in _descendants(leader):
        with contextlib.suppress(OSError):
            os.kill(number, signal.SIGKILL)
    _kill_group(leader)


def _descendants(leader: int) -> set[int]:
    """Those in its session, and its children's children in whatever session; proc(5), stat."""
    known: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                known[int(entry.name)] = int(fields[1]), int(fields[3])
    found = {number for number, (_, session) in known.items() if session == leader}
    while more := {
        number for number, (parent, _) in known.items() if parent in found and number not in found
    }:
        found |= more
    return found
