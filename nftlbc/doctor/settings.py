"""Kernel settings as the commands that change them."""

from __future__ import annotations

import shlex

_FILE = "/etc/sysctl.d/90-nftlbc.conf"


def key(*parts: str) -> str:
    """The path of a setting below /proc/sys; an interface's name may have dots in it."""
    return "/".join(parts)


def set_now(path: str, value: int) -> str:
    return shlex.join(["sysctl", "-w", f"{_written(path)}={value}"])


def lasting(path: str, value: int) -> str:
    return f"echo {shlex.quote(f'{_written(path)} = {value}')} >> {_FILE}"


def _written(path: str) -> str:
    """With dots, as everyone writes it, where no name in it has one."""
    return path if "." in path else path.replace("/", ".")
