"""Secrets, which stand in a file or in the environment and are told nowhere."""

from __future__ import annotations

import os
import stat
from typing import Any, Final

from nftlbc.probe.result import Failure

MOST: Final = 4096
"""Bytes."""


def read(value: Any) -> str:
    """What a secret option ``(file, PATH)`` or ``(environment, NAME)`` leads to.

    Raises Failure, which says where it was looked for and not what was found.
    """
    where, name = value
    text = _of_file(name) if where == "file" else os.environ.get(name)
    if not text:
        what = f"{where} {name}" if where == "file" else f"environment variable {name}"
        raise Failure("secret", f"the secret in {what} is not there or empty", silent=True)
    return text


def _of_file(name: str) -> str | None:
    """Without the end of its line. Not a pipe or a device, which might keep us waiting."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        return os.read(handle, MOST).decode("utf-8", "replace").rstrip("\r\n")
    except OSError:
        return None
    finally:
        os.close(handle)
