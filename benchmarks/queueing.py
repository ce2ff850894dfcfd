"""``python -m benchmarks.queueing NAME ADDRESS SECONDS FOLDER``: a server with one worker.

Whoever connects to port 80 waits for its turn in the order of arrival, is served for an
exponentially distributed time with that mean, and is told the server's name. So the server takes
no processor time to speak of, and is as busy as a real one. Port 81 is an agent that tells the idle
share of the last two seconds or so; FOLDER/NAME holds how many wait or are served, and one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from pathlib import Path

WINDOW = 2.0
"""Seconds over which the busy share is averaged."""
_TURN = 0.1


class Server:
    def __init__(self, name: str, service: float) -> None:
        self._name, self._service = name.encode(), service
        self._queue: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._random = random.Random(name)
        self._serving = self._busy = 0.0

    async def wait(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self._queue.put_nowait(writer)
            return
        writer.close()

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        free = 0.0
        while True:
            writer = await self._queue.get()
            # The end is worked out, and not slept for, so that a late wake-up is not added up.
            free = max(free, loop.time()) + self._random.expovariate(1 / self._service)
            self._serving = 1.0
            await asyncio.sleep(free - loop.time())
            self._serving = 0.0
            with contextlib.suppress(OSError):
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % len(self._name) + self._name)
                writer.close()

    async def agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"%d%%\n" % round(100 * (1 - self._busy)))
            writer.close()

    async def watch(self, file: Path) -> None:
        """Ten times a second: how busy, and how many."""
        new = file.with_suffix(".new")
        while True:
            self._busy += (self._serving - self._busy) * _TURN / WINDOW
            new.write_text(f"{1 + self._queue.qsize() + int(self._serving)}\n")
            new.rename(file)
            await asyncio.sleep(_TURN)


async def main() -> None:
    name, address, service, folder = sys.argv[1:]
    server = Server(name, float(service))
    await asyncio.start_server(server.wait, address, 80, backlog=4096)
    await asyncio.start_server(server.agent, address, 81)
    print("ready", flush=True)
    await asyncio.gather(server.work(), server.watch(Path(folder) / name))


asyncio.run(main())
