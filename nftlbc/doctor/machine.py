"""Looking at the machine: its files and what its commands say, each with a bound.

Nothing here changes anything. Whatever is read may be wrong, huge, hostile or not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nftlbc.doctor.finding import Unseen

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_DEADLINE: Final = 20.0
"""Seconds for one command. Listing a table of 40 000 rules takes nft about five."""
_OUTPUT: Final = 64 * 1024 * 1024
"""Bytes of a command's output; one that says more is not believed at all."""
_FILE: Final = 1024 * 1024
_PACKAGES: Final = {"ip": "iproute2", "unshare": "util-linux"}


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that came to its end by itself."""

    status: int
    output: str
    errors: str


class Machine:
    """This machine, or for tests a folder that has a ``proc``, an ``etc`` and a ``sys``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._failed: dict[tuple[str, ...], Unseen] = {}
        """Commands that did not come to their end: nobody waits for them twice."""

    def read(self, path: str, limit: int = _FILE) -> str | None:
        """The first ``limit`` bytes of a file as text; None where there is no such file.

        Raises Unseen where it can't be read.
        """
        try:
            with (self._root / path).open("rb") as stream:
                return stream.read(limit).decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            raise Unseen(f"this user may not read /{path}: run it as root") from None
        except OSError as problem:
            raise Unseen(f"/{path} can't be read: {problem.strerror}") from None

    def sysctl(self, key: str) -> int | None:
        """A kernel setting by its path, ``net/ipv4/ip_forward``; None where there is none."""
        text = self.read(f"proc/sys/{key}", 4096)
        try:
            return None if text is None else int(text.split()[0])
        except (ValueError, IndexError):
            raise Unseen(f"/proc/sys/{key} holds no number") from None

    def names(self, path: str, most: int) -> list[str]:
        """Up to so many names in a folder; none where it can't be read."""
        found: list[str] = []
        try:
            with os.scandir(self._root / path) as entries:
                for entry in entries:
                    if len(found) == most:
                        break
                    found.append(entry.name)
        except OSError:
            return []
        return found

    def link(self, path: str) -> str | None:
        """Where a symbolic link leads, or None."""
        try:
            return str((self._root / path).readlink())
        except OSError:
            return None

    def find(self, program: str) -> str | None:
        """The path of a program; an administrator's PATH often lacks /usr/sbin."""
        path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"
        return shutil.which(program, path=path)

    def run(self, argv: Sequence[str], text: str = "", *, deadline: float = _DEADLINE) -> Ran:
        """Runs a command to its end, ``text`` being its standard input.

        Raises Unseen where it is not there, does not end in time (seconds), dies by a signal or
        says more than 64 MiB.
        """
        key = (*argv, text)
        if key in self._failed:
            raise self._failed[key]
        try:
            return self._run(argv, text, deadline)
        except Unseen as problem:
            self._failed[key] = problem
            raise

    def _run(self, argv: Sequence[str], text: str, deadline: float) -> Ran:
        path = self.find(argv[0])
        if path is None:
            package = _PACKAGES.get(argv[0])
            remedy = f": apt install {package}" if package else ""
            raise Unseen(f"{argv[0]} is not on this machine{remedy}")
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as output,
            tempfile.TemporaryFile() as errors,
        ):
            given.write(text.encode())
            given.seek(0)
            try:
                process = subprocess.Popen(
                    [path, *argv[1:]],
                    stdin=given,
                    stdout=output,
                    stderr=errors,
                    env={**os.environ, "LC_ALL": "C"},
                    start_new_session=True,
                    preexec_fn=_bound,
                )
            except OSError as problem:
                raise Unseen(f"{argv[0]} can't be run: {problem.strerror}") from None
            status = _wait(process, argv[0], deadline)
            texts = []
            for stream in (output, errors):
                stream.seek(0)
                texts.append(stream.read(_OUTPUT).decode("utf-8", "replace"))
        return Ran(status, *texts)


def _bound() -> None:
    """In the child: its output goes to files, and a file ends here."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT, _OUTPUT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(process: subprocess.Popen[bytes], program: str, deadline: float) -> int:
    try:
        status = process.wait(deadline)
    except subprocess.TimeoutExpired:
        _end(process)
        raise Unseen(f"{program} did not end within {deadline:g} s") from None
    except BaseException:
        _end(process)
        raise
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        if number == signal.SIGXFSZ:
            raise Unseen(f"{program} said more than {_OUTPUT >> 20} MiB")
        raise Unseen(f"{program} died by {_signal(number)}")
    return status


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def documents(text: str, program: str) -> list[Any]:
    """The JSON documents of a command's output, one after the other. Raises Unseen."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    start = 0
    while True:
        while start < len(text) and text[start].isspace():
            start += 1
        if start == len(text):
            return found
        try:
            document, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            raise Unseen(f"{program} wrote what is no JSON") from None
        found.append(document)
