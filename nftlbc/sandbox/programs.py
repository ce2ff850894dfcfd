"""Finding the commands that the sandbox drives."""

import os
import shutil
from collections.abc import Mapping, Sequence

from nftlbc.sandbox.errors import ProgramMissing

# Where they are, though the PATH of an ordinary user may not say so.
_SYSTEM = ("/usr/sbin", "/sbin")

_PACKAGES = {"nft": "nftables", "ip": "iproute2"}


def search_path(environment: Mapping[str, str] = os.environ) -> str:
    """The caller's PATH, the system's own folders after it."""
    return os.pathsep.join([environment.get("PATH", os.defpath), *_SYSTEM])


def find_program(argv: str | Sequence[str], path: str | None = None) -> tuple[str, ...]:
    """A command with its program's full path; its arguments as they are.

    argv: a program, or a program and its first arguments.
    Raises ProgramMissing, with the Debian package to install where one is known.
    """
    program, *arguments = [argv] if isinstance(argv, str) else argv
    found = shutil.which(program, path=search_path() if path is None else path)
    if found:
        return (found, *arguments)
    package = _PACKAGES.get(program)
    remedy = f"; run: apt install {package}" if package else ""
    raise ProgramMissing(f"{program} is not installed{remedy}")
