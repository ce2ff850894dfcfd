"""The machine that figures come from, and the versions of all that was measured."""

from __future__ import annotations

import datetime
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

COMMANDS = {
    "nft": ["nft", "--version"],
    "nftlb": ["nftlb", "--help"],
    "iptables": ["iptables", "--version"],
    "haproxy": ["haproxy", "-v"],
    "nginx": ["nginx", "-v"],
    "wrk": ["wrk", "-v"],
    "iperf3": ["iperf3", "--version"],
}
NEEDED = (*COMMANDS, "cc", "ip", "unshare", "nsenter")


def missing() -> list[str]:
    return [name for name in NEEDED if shutil.which(name) is None] + missing_packages()


def missing_packages() -> list[str]:
    """Without h11 there are no checks by http: probe would go on without them, and the figures
    would be of something else."""
    return [name for name in ("h11",) if importlib.util.find_spec(name) is None]


def described() -> dict[str, str]:
    found = {
        "when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB",
        "kernel": platform.release().split("-")[0],
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "load at the beginning": load(),
    }
    return {**found, **{name: _version(name) for name in COMMANDS}, "ipvs": _ipvs()}


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def _version(name: str) -> str:
    done = subprocess.run(
        COMMANDS[name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout.splitlines()[0].strip() if done.stdout else "?"


def _ipvs() -> str:
    if Path("/proc/net/ip_vs").exists():
        return "not run: the kernel has it, but this benchmark can't drive it yet"
    return "not run: this kernel does not have it"
