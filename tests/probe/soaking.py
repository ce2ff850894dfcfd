"""``probe --every`` with a thread beside it that writes down what it has, each second.

    python soaking.py FIGURES FILE --every=TIME

FIGURES has a JSON line each: resident kilobytes, open files, threads, children, tasks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from nftlbc import cli
from nftlbc.probe import loop as service

running: list[asyncio.AbstractEventLoop] = []
original = service._Loop.run


async def run(self: Any) -> None:
    running.append(asyncio.get_running_loop())
    await original(self)


def children(thread: Path) -> int:
    """How many a thread has; none when it has ended since it was listed."""
    try:
        return len((thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def look(figures: Path) -> None:
    while True:
        time.sleep(1)
        own = Path("/proc/thread-self").resolve().parent.parent
        status = (own / "status").read_text()
        found = {
            "resident": int(status.partition("VmRSS:")[2].split()[0]),
            "files": sum(1 for _ in (own / "fd").iterdir()),
            "threads": int(status.partition("Threads:")[2].split()[0]),
            "children": sum(children(each) for each in (own / "task").iterdir()),
            "tasks": len(asyncio.all_tasks(running[0])) if running else 0,
        }
        with figures.open("a") as lines:
            lines.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    service._Loop.run = run  # type: ignore[method-assign]
    threading.Thread(target=look, args=(Path(sys.argv.pop(1)),), daemon=True).start()
    sys.argv[0:1] = ["nftlbc", "probe"]
    cli.main()
