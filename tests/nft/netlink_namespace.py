"""What the tests of the netlink reader share: a namespace of their own, nft, and change."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.nft import netlink
from nftlbc.nft.script import write
from nftlbc.table.model import Table

NFTS = os.environ.get("NFTLBC_NFTS", "nft").split(":")
PIECE = 5_000
_INSIDE = "NFTLBC_TEST_INSIDE"
_UNSHARE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]


def in_namespace(test: Callable[..., None]) -> Callable[..., None]:
    """Runs the test in a network namespace of its own, by a pytest of its own."""
    if _INSIDE in os.environ:
        return test

    @functools.wraps(test)
    def outside(**_: object) -> None:
        name = os.environ["PYTEST_CURRENT_TEST"].split("::", 1)[1].rsplit(" ", 1)[0]
        plain = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no"]
        done = subprocess.run(
            [
                *_UNSHARE,
                sys.executable,
                "-m",
                "pytest",
                *plain,
                f"{test.__code__.co_filename}::{name}",
            ],
            env={**os.environ, _INSIDE: "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and "1 skipped" in done.stdout:
            pytest.skip(done.stdout)
        if done.returncode != 0 or "1 passed" not in done.stdout:
            pytest.fail(done.stdout + done.stderr, pytrace=False)

    return pytest.mark.kernel(outside)


def table_of(text: str, folder: Path) -> Table:
    path = folder / "farms.lb"
    path.write_text(text)
    farms, diagnostics = pipeline.read(os.fspath(path))
    assert not has_errors(diagnostics), draw(diagnostics)
    return pipeline.table(farms)


def load(script: str | Table, nft: str = "nft") -> None:
    text = script if isinstance(script, str) else write(script)
    done = subprocess.run([nft, "-f", "-"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


def kernel_table() -> netlink.KernelTable:
    found = netlink.read()
    assert found is not None
    return found


@contextmanager
def in_turn(first: str, second: str, pause: float) -> Iterator[None]:
    """Somebody loads the one script and the other, with seconds between, until the end."""
    loop = 'while :; do nft "$1"; sleep $3; nft "$2"; sleep $3; done'
    with subprocess.Popen(["sh", "-c", loop, "sh", first, second, str(pause)]) as changer:
        try:
            yield
        finally:
            changer.kill()


def fill(map: str, count: int) -> None:
    """Elements from 0 on, all 1, in pieces that a transaction without privileges may have.

    map: ``TABLE MAP``; it is made where it is not there.
    """
    size = 1 << (2 * count).bit_length()
    load(f"add map inet {map} {{ type mark : mark; size {size}; }}\n")
    for first in range(0, count, PIECE):
        load(f"add element inet {map} {{ {ones(first, min(count, first + PIECE))} }}\n")


def ones(first: int, end: int) -> str:
    return ", ".join(f"{n} : 1" for n in range(first, end))
