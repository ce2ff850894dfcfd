"""The nft command: finding it, its version, and running it with bounds.

nft is the documented interface to the kernel's tables; what it answers is never shown raw,
because a refused transaction is printed back whole, megabytes of it.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import BinaryIO

OLDEST = (1, 0, 2)
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_TIMEOUT = 600.0
"""Seconds for one transaction; 10 000 farms take two."""
_ANSWER = 64 * 1024
"""Bytes of nft's answer that are looked at."""

inherited: set[int] = set()
"""Descriptors that nft gets too: a lock that it holds until it has ended, even where the process
that started it has not lived so long."""


class NftError(Exception):
    """The system refused: what happened and, where there is one, the remedy. Nothing changed."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class Answer:
    """How a run of nft ended."""

    status: int
    """Its exit status; negative: the signal that ended it."""
    output: str
    errors: str
    """The first 64 KiB of what it said."""


def find() -> str:
    """The path of nft; an administrator's PATH often lacks /usr/sbin."""
    path = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")
    if path is None:
        raise NftError("nft is not on this machine", "install it: apt install nftables")
    return path


@functools.cache
def version(nft: str) -> tuple[int, ...]:
    """The version of an nft, such as (1, 0, 6).

    Raises NftError where it is too old to load what we write.
    """
    answer = run(nft, ["--version"], timeout=10.0)
    match = re.search(r"v(\d+(?:\.\d+)+)", answer.output)
    if answer.status != 0 or match is None:
        raise NftError(f"{nft} does not tell its version", "is it the nft of nftables?")
    found = tuple(int(part) for part in match.group(1).split("."))
    if found < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise NftError(
            f"nft {match.group(1)} is too old: {oldest} is the oldest that loads our table",
            "Debian 12 and Ubuntu 22.04 have newer ones; older systems need a backport",
        )
    return found


def run(
    nft: str, arguments: list[str], text: str | None = None, timeout: float = _TIMEOUT
) -> Answer:
    """Runs nft with ``text`` as its standard input.

    Raises NftError where it can't be started, does not end in time, or dies by a signal.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    with _in_memory() as script, _in_memory() as errors, _in_memory() as output:
        # Not through a pipe: where this process is killed while it fills one, nft takes what has
        # come so far for the whole, and half a transaction may well be a valid one.
        script.write((text or "").encode())
        script.seek(0)
        try:
            process = subprocess.run(
                [nft, *arguments],
                stdin=script,
                stdout=output,
                stderr=errors,
                env=environment,
                timeout=timeout,
                check=False,
                pass_fds=tuple(inherited),
            )
        except subprocess.TimeoutExpired:
            raise NftError(f"nft did not end within {timeout:g} s and was ended") from None
        except OSError as problem:
            raise NftError(f"{nft} can't be run: {problem.strerror}") from None
        for stream in (errors, output):
            stream.seek(0)
        said = errors.read(_ANSWER).decode("utf-8", "replace")
        told = output.read(_ANSWER).decode("utf-8", "replace")
    status = process.returncode
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        raise NftError(
            f"nft died by {name}: a defect of nft, not of the farms file",
            "a newer nft may do; nothing was changed, a transaction is all or nothing",
        )
    return Answer(status, told, said)


def _in_memory() -> BinaryIO:
    """A file without a folder: a backend that dies must go also where /tmp is full."""
    return os.fdopen(os.memfd_create("nftlbc"), "w+b")
