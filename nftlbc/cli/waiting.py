"""``drain --wait``: until no connection is open any more."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence

import typer

from nftlbc.cli.terminal import Status, colour, counted, fail, say

_EVERY, _LONGEST = 0.5, 5.0
"""Seconds between two looks: as often as that, and at least so often."""
_REST = 5
"""In between: so many times what a look takes, which is seconds with a million connections."""
_LINES = 10.0
"""Seconds between two lines where there is no terminal."""
_WIDTH = 24


def wait_for(names: Sequence[str], marks: Sequence[int], seconds: float, *, quiet: bool) -> None:
    """Returns when nothing is open to these backends; ends with 4 when that takes longer than so
    many seconds. Ctrl-C ends the waiting alone."""
    shown = names[0] if len(names) == 1 else counted(len(names), "backend")
    end = time.monotonic() + seconds
    progress = _Progress(shown, end, quiet)
    try:
        while True:
            looked = time.monotonic()
            number = _open(marks)
            now = time.monotonic()
            if not number or now >= end:
                break
            progress.show(number)
            time.sleep(min(pause(now - looked), end - now))
    except KeyboardInterrupt:
        progress.end()
        say(f"no longer waiting: {shown} goes on draining")
        raise typer.Exit(130) from None
    progress.end()
    if number:
        fail(
            Status.NOT_SO,
            f"{shown} still has {counted(number, 'open connection')}",
            "wait longer (--timeout), or cut them off: nftlbc disable",
        )
    if not quiet:
        say(f"no connection to {shown} is open")


def pause(took: float) -> float:
    """Seconds until the next look, after one that took so many."""
    return min(max(_EVERY, _REST * took), _LONGEST)


def _open(marks: Sequence[int]) -> int:
    """Open connections of TCP, and flows of UDP and SCTP that the kernel remembers."""
    from nftlbc.nft import conntrack
    from nftlbc.nft.program import NftError

    try:
        found = conntrack.count(marks)
    except NftError as refusal:
        fail(Status.REFUSED, refusal.message, refusal.remedy)
    return sum(found.of(marks))


class _Progress:
    """A bar on a terminal, lines elsewhere; on standard error."""

    def __init__(self, names: str, end: float, quiet: bool) -> None:
        self._names, self._end, self._quiet = names, end, quiet
        self._bar = sys.stderr.isatty() and colour(sys.stderr)
        self._most = self._last = 0
        self._told = float("-inf")

    def show(self, number: int) -> None:
        now = time.monotonic()
        self._most = max(self._most, number)
        text = f"{self._names}: {number} of {counted(self._most, 'open connection')}"
        if self._quiet:
            return
        if self._bar:
            full = round(_WIDTH * (self._most - number) / self._most)
            left = max(0, int(self._end - now))
            drawn = f"[{'#' * full}{'.' * (_WIDTH - full)}]"
            line = f"{drawn} {text}, {left // 60}:{left % 60:02} left"
            # What runs over the line's end can't be drawn over.
            sys.stderr.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
            sys.stderr.flush()
        elif number != self._last and now - self._told >= _LINES:
            say(text)
            self._last, self._told = number, now

    def end(self) -> None:
        if self._bar and self._most and not self._quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
