"""One change at a time in each network namespace: a second command waits for the first.

The lock is the kernel's own (flock) on a file in /run/nftlbc, named after the namespace: it goes
with its holder however that ends, and nobody but root can take it. An nft that was started under
it holds it too: where its parent is killed, the next command waits until that transaction is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nftlbc.nft import program
from nftlbc.nft.program import NftError

_FOLDER = Path("/run/nftlbc")
"""Of its own, so that nftlbc.service can write there and nowhere else in /run."""
_PATIENCE = 120.0
"""Seconds to wait; a transaction of 10 000 farms takes a few."""


@contextlib.contextmanager
def held(*, wait: bool | Callable[[], bool] = True) -> Iterator[None]:
    """Holds the lock of this network namespace.

    wait: for whoever has it; a function is asked again and again whether to wait on.

    Raises NftError where another command holds it, with ``wait`` still after two minutes. Without
    the right to write in /run there is no lock: whoever has not got it can rarely change tables.
    """
    descriptor = _opened("lock")
    if descriptor is None:
        yield
        return
    try:
        _take(descriptor, wait)
        _sign(descriptor)
        program.inherited.add(descriptor)
        yield
    finally:
        program.inherited.discard(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """Lets others know that this process puts the table back whenever it is gone. It keeps nobody
    from anything; of two, the first is known."""
    descriptor = _opened("keeper")
    try:
        if descriptor is not None:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _sign(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def keeper() -> str | None:
    """The number of the process that does so; None: nobody does, as far as can be seen."""
    descriptor = _opened("keeper")
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _signed(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _opened(kind: str) -> int | None:
    """A file of this network namespace; None without the right to it."""
    namespace = Path("/proc/self/ns/net").stat().st_ino
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        _FOLDER.mkdir(mode=0o700, exist_ok=True)
        return os.open(_FOLDER / f"{namespace}.{kind}", flags, 0o600)
    except OSError:
        return None


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # it is held, also where /run has no room for a number
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _signed(descriptor: int) -> str:
    number = os.pread(descriptor, 20, 0).decode("ascii", "replace")
    return number if number.isdigit() else "?"


def _take(descriptor: int, wait: bool | Callable[[], bool]) -> None:
    deadline = time.monotonic() + (_PATIENCE if wait else 0)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline or (callable(wait) and not wait()):
                raise NftError(
                    f"another nftlbc is changing the table (process {_signed(descriptor)})",
                    "wait for it, or look what keeps it",
                ) from None
            time.sleep(0.05)
        else:
            return
