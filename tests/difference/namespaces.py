"""Tests in network namespaces of their own, and the kernel's table compared with another one."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nftlbc.farms import Farm
from nftlbc.nft import kernel, netlink, script
from nftlbc.nft.netlink import KernelTable
from nftlbc.plan import planning
from nftlbc.plan.planning import Plan
from nftlbc.table.model import ElementData, ElementKey, Note, Table

NFTS = os.environ.get("NFTLBC_NFTS", "nft").split(":")
INSIDE = "NFTLBC_TEST_INSIDE"
UNSHARE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
_CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def why_not() -> str | None:
    for program in ("unshare", "ip", "nft"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    tried = subprocess.run([*UNSHARE, "ip", "link"], capture_output=True, text=True, check=False)
    return tried.stderr if tried.returncode else None


def in_namespace(test: Callable[..., None]) -> Callable[..., None]:
    """Runs the test in a network namespace of its own, by a pytest of its own."""
    test = pytest.mark.kernel(test)
    if INSIDE in os.environ:
        return test

    @functools.wraps(test)
    def outside(**_: object) -> None:
        why = why_not()
        if why is not None and os.environ.get("NFTLBC_REQUIRE_SANDBOX") != "1":
            pytest.skip(why)
        assert why is None
        name = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0]
        file = Path(sys.modules[test.__module__].__file__ or "")
        plain = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no"]
        done = subprocess.run(
            [*UNSHARE, sys.executable, "-m", "pytest", *plain, f"{file}::{name.split('::', 1)[1]}"],
            env={**os.environ, INSIDE: "1"},
            cwd=Path(__file__).parent.parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or "1 passed" not in done.stdout:
            pytest.fail(done.stdout + done.stderr, pytrace=False)

    return outside


class Elsewhere:
    """A second network namespace, for as long as this process lives."""

    def __init__(self) -> None:
        self._home = _here()
        _check(_libc.unshare(_CLONE_NEWNET))
        self._there = _here()
        _check(_libc.setns(self._home, _CLONE_NEWNET))

    @property
    def path(self) -> str:
        """By which ``ip`` knows it."""
        return f"/proc/{os.getpid()}/fd/{self._there}"

    @contextmanager
    def visited(self) -> Iterator[None]:
        _check(_libc.setns(self._there, _CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(self._home, _CLONE_NEWNET))

    def fresh(self, table: Table, nft: str | None = None) -> dict[str, Any]:
        """What the kernel has when the script of a table is loaded where nothing was."""
        with self.visited():
            kernel.remove(nft)
            kernel.load(script.write(table), nft)
            return content(read())


def _here() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), "namespaces")


def read() -> KernelTable:
    table = netlink.read()
    assert table is not None
    return table


def content(table: KernelTable) -> dict[str, Any]:
    """All of a table but handles, counters, times and what packets put into dynamic maps."""
    found: dict[str, Any] = {"dormant": table.dormant, "comment": table.comment}
    for name, each in table.maps.items():
        dynamic = "dynamic" in each.flags
        # The kernel gives one without a size its own when a rule first writes there.
        size = each.size or (65_535 if dynamic else None)
        kind = (each.key, each.data, size, sorted(each.flags), each.counter, each.timeout)
        found[f"map {name}"] = (kind, {} if dynamic else _without_times(each.elements))
    for name, chain in table.chains.items():
        rules = [(rule.digest, rule.comment) for rule in chain.rules]
        found[f"chain {name}"] = (chain.hook, chain.comment, rules)
    return found


def _without_times(elements: Mapping[ElementKey, ElementData]) -> dict[ElementKey, ElementData]:
    """Since when the file says what it says is the one thing that depends on the clock."""
    return {
        key: Note(re.sub(r"file=\d+", "file=TIME", data.text)) if isinstance(data, Note) else data
        for key, data in elements.items()
    }


def differences(have: dict[str, Any], want: dict[str, Any]) -> str:
    """For a failed test: what differs."""
    lines = [
        f"{name}:\n  have {have.get(name)!r}\n  want {want.get(name)!r}"
        for name in sorted({*have, *want})
        if have.get(name) != want.get(name)
    ]
    return "\n".join(lines)[:4000]


def applied(farms: Sequence[Farm], elsewhere: Elsewhere, nft: str | None = None) -> Plan:
    """Applies farms by difference: afterwards the table is that of a fresh load, and a second
    plan is empty."""
    plan = planning.plan(farms)
    kernel.send(plan.transaction, nft)
    have, want = content(read()), elsewhere.fresh(plan.wanted, nft)
    assert have == want, differences(have, want)
    again = planning.plan(farms)
    assert again.empty, again.transaction
    assert again.wanted == plan.wanted
    return plan


def nft(text: str, program: str = "nft") -> None:
    """Changes the table by hand."""
    done = subprocess.run(
        [program, "-f", "-"], input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr[:2000]
