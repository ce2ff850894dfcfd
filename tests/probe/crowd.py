"""Clients that come one after the other, whatever becomes of those before.

    python crowd.py READY ADDRESS PORT GAP PATIENCE [http]

Makes the file READY, then a connection every GAP seconds until SIGTERM; then prints a JSON list of [when it began by
CLOCK_MONOTONIC, who answered or "", what went wrong or ""], in that order.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path


async def main() -> None:
    ready, address, port, gap, patience = (
        Path(sys.argv[1]),
        *sys.argv[2:4],
        *map(float, sys.argv[4:6]),
    )
    http = sys.argv[6:] == ["http"]
    found: list[list[object]] = []
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def talk() -> str:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            if http:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                return (await reader.read()).decode().split()[-1]
            return (await reader.readline()).decode().split()[0]
        finally:
            writer.close()

    async def one() -> None:
        mine: list[object] = [time.monotonic(), "", ""]
        found.append(mine)
        try:
            mine[1] = await asyncio.wait_for(talk(), patience)
        except asyncio.TimeoutError:
            mine[2] = "silent"
        except IndexError:
            mine[2] = "closed"
        except OSError as problem:
            mine[2] = type(problem).__name__

    ready.touch()
    tasks = set()
    while not stop.is_set():
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(gap)
    if tasks:
        await asyncio.wait(set(tasks))
    print(json.dumps(found))


asyncio.run(main())
