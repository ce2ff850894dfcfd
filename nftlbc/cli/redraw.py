"""A text drawn again and again: over itself on a terminal, one after the other elsewhere."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from nftlbc.cli.terminal import write

_ENTER = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, so that what was there comes back; without a cursor."""
_LEAVE = "\x1b[?25h\x1b[?1049l"


def redrawn(text: Callable[[], str], interval: float, *, plain: bool = False) -> None:
    """Draws until Ctrl-C, which ends it with status 0; SIGTERM and SIGHUP end it too, and the
    terminal is as it was in any case.

    interval: seconds from one drawing's beginning to the next one's.
    plain: nothing between two texts.
    """
    screen = sys.stdout.isatty() and not plain
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    last = ""
    try:
        if screen:
            write(_ENTER)
        while True:
            begun = time.monotonic()
            last = text()
            if screen:
                write(_drawn(last))
            else:
                write(last if plain else f"{last}\n")
            time.sleep(max(0.0, begun + interval - time.monotonic()))
    except KeyboardInterrupt:
        pass
    finally:
        if screen:
            write(_LEAVE)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _drawn(text: str) -> str:
    """From the upper left corner, each line cleared first (after a line of the full width that
    would take its last character), and nothing below; no more lines than there is room for."""
    height = shutil.get_terminal_size().lines
    lines = text.splitlines()
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines = [*lines[: height - 1], f"... {hidden} more lines: nftlbc status | less"]
    return "\x1b[H" + "\n".join(f"\x1b[K{line}" for line in lines) + "\x1b[J"
