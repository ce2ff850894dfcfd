"""A server that is a process of its own, to be killed and stopped.

    python shop.py FOLDER ADDRESS PORT

Answers HTTP with its address. The file FOLDER/ADDRESS.mode says how: ``ok``, a status such as
``503``, ``slow`` (after 1 s) or ``mute`` (never). FOLDER/ADDRESS.log has a line for each
connection: who came. FOLDER/ADDRESS.pid is there once it listens.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path


async def main() -> None:
    folder, address, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    mode = folder / f"{address}.mode"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (folder / f"{address}.log").open("a") as log:
            log.write(f"{writer.get_extra_info('peername')[0]}\n")
        said = mode.read_text() if mode.exists() else "ok"
        try:
            await reader.readline()
            if said == "mute":
                await asyncio.sleep(3600)
            if said == "slow":
                await asyncio.sleep(1)
            status = said if said.isdigit() else "200"
            writer.write(f"HTTP/1.0 {status} Yes\r\n\r\n{address}\n".encode())
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, port, backlog=512)
    (folder / f"{address}.pid").write_text(str(os.getpid()))
    await server.serve_forever()


asyncio.run(main())
