"""``python -m benchmarks.checking KIND COUNT PORT``: so many checks, as one line of JSON.

Seconds from the first check to the last result, processor seconds, and memory at the peak.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from nftlbc.farms import Check
from nftlbc.probe import engine
from nftlbc.probe.target import Target


def main() -> None:
    kind, count, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    check = Check(kind, timeout=2_000)
    targets = [Target(check, f"127.1.{n >> 8}.{n & 255}", port) for n in range(count)]
    begin = time.perf_counter()
    results = asyncio.run(engine.run(targets))
    wall = time.perf_counter() - begin
    slow = sorted(result.seconds for result in results.values())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss * 1024,
        "passed": sum(result.passed for result in results.values()),
        "median": slow[len(slow) // 2],
        "slowest": slow[-1],
    }
    print(json.dumps(found))


main()
