"""Asking one server one thing, as a run of checks does."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nftlbc.farms import Check
from nftlbc.language.check import COMMON
from nftlbc.probe import engine
from nftlbc.probe.result import Result
from nftlbc.probe.target import Target


def target(kind: str, port: int, address: str = "127.0.0.1", **options: Any) -> Target:
    """``options`` with _ for -; those of all checks among them."""
    given = {name.replace("_", "-"): value for name, value in options.items()}
    common = {name: given.pop(name) for name in [*given] if name in COMMON}
    check = Check(kind, **{"timeout": 5_000, **common}, options=tuple(sorted(given.items())))
    names = ("web", "app1") if kind == "exec" else ()
    return Target(check, address, port, *names)


def asked(kind: str, port: int, address: str = "127.0.0.1", **options: Any) -> Result:
    each = target(kind, port, address, **options)
    return run([each])[each]


def run(targets: Iterable[Target], **how: Any) -> dict[Target, Result]:
    """The results; afterwards no file is open and no task left that was not before."""

    async def inside() -> dict[Target, Result]:
        before = asyncio.all_tasks()
        found = await engine.run(targets, **how)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        return found

    before = files()
    with told_by_asyncio() as told:
        found = asyncio.run(inside())
    assert not told
    # A server in a thread of the test's own may still have to close its end.
    until = time.monotonic() + 5
    while (left := files() - before) and time.monotonic() < until:
        time.sleep(0.01)
    assert not left
    return found


@contextmanager
def told_by_asyncio() -> Iterator[list[logging.LogRecord]]:
    """What the loop would have printed: exceptions of callbacks, tasks that nobody waited for."""
    told: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = told.append  # type: ignore[method-assign]
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)


def files() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(entry.readlink()))
        except OSError:
            continue
    return {each for each in found if not each.startswith("/proc/")}


def program(name: str) -> str:
    """Where a server is; a machine that must have it fails without."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("NFTLBC_REQUIRE_SANDBOX") == "1":
            pytest.fail(f"there is no {name} (scripts/setup --system --dev installs it)")
        pytest.skip(f"there is no {name}")
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def server(*command: str | Path, ready: Callable[[], bool], **how: Any) -> Iterator[None]:
    """A server for as long as it is needed, from when it answers."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how
    ) as process:
        try:
            until = time.monotonic() + 20
            while not ready():
                if process.poll() is not None or time.monotonic() > until:
                    process.kill()
                    pytest.fail(f"{command[0]} does not serve: {process.communicate()[0]}")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.communicate()


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
