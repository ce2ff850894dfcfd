"""``python -m benchmarks.arriving ADDRESS RATE SECONDS``: clients that come whether or not those
before them were served (Poisson; the same moments in every run), each with a connection of its own.

Prints a line of JSON for each: when it came, how long it waited for its answer, and whose it was
(null: none within the patience, which is then the time that is told).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

PATIENCE = 10.0


async def one(address: str) -> str | None:
    writer = None
    try:
        reader, writer = await asyncio.open_connection(address, 80)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        return answer.rpartition(b"\n")[2].decode() or None
    except OSError:
        return None
    finally:
        if writer is not None:
            writer.close()


async def main() -> None:
    address, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    loop, moments = asyncio.get_running_loop(), random.Random(1)
    begin = loop.time()
    found: list[tuple[float, float, str | None]] = []

    async def client(came: float) -> None:
        try:
            who = await asyncio.wait_for(one(address), begin + came + PATIENCE - loop.time())
        except asyncio.TimeoutError:
            who = None
        found.append((came, loop.time() - begin - came if who else PATIENCE, who))

    running, came = set(), 0.0
    while (came := came + moments.expovariate(rate)) < seconds:
        await asyncio.sleep(begin + came - loop.time())
        task = asyncio.create_task(client(came))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)
    print("\n".join(json.dumps(each) for each in found))


asyncio.run(main())
