"""``python -m benchmarks failover [DEATHS]``: from a backend's death to the last client sent to it.

Clients, balancer and four servers in namespaces; a new client every 4 ms. A backend dies by
SIGKILL (its machine refuses) or by a rule on its machine that drops all (silence), at any moment
between two checks. The bound is ``fall`` times the refusal or time-out, one interval, and 50 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import commands
from benchmarks.closed_loop import NFTLBC, PYTHON, end, network, ready

INTERVAL, TIMEOUT, FALL = 0.5, 0.2, 3
SPACING = 0.004
KINDS = {"refused": INTERVAL + 0.05, "silent": INTERVAL + FALL * TIMEOUT + 0.05}
"""And their bounds, in seconds."""
_FARM = f"""farm web {{
    listen 10.0.0.1 tcp port 80
    check tcp {{
        interval {INTERVAL * 1000:.0f}ms; timeout {TIMEOUT * 1000:.0f}ms
        fall {FALL}; rise 1
    }}
    backend app0 10.0.1.11 port 8000
    backend app1 10.0.1.12 port 8001
    backend app2 10.0.1.13 port 8002
    backend app3 10.0.1.14 port 8003
}}
"""
_DROP = "add table ip dead; add chain ip dead in { type filter hook input priority 0; }; "


def main(arguments: Sequence[str]) -> None:
    deaths = next((int(each) for each in arguments if each.isdigit()), 20)
    with tempfile.TemporaryDirectory() as name, network() as (left, middle, right):
        file = Path(name) / "farms.lb"
        file.write_text(_FARM)
        with contextlib.ExitStack() as stack:
            servers = [_server(right, n) for n in range(4)]
            stack.callback(lambda: [end(each) for each in servers])
            commands.once([*middle, *NFTLBC, "apply", str(file)])
            stack.enter_context(ready([*middle, *NFTLBC, "probe", str(file), "--every", "2s"]))
            for kind, bound in KINDS.items():
                found = []
                for n in range(deaths):
                    late, lost = _death(left, right, servers, n % 4, kind)
                    found.append((late, lost))
                times = sorted(late for late, _ in found)
                print(
                    f"{kind}: the last client after {times[0] * 1000:.0f} to "
                    f"{times[-1] * 1000:.0f} ms, median {statistics.median(times) * 1000:.0f} ms, "
                    f"bound {bound * 1000:.0f} ms, beyond it {sum(t > bound for t in times)} of "
                    f"{deaths}; {statistics.fmean(lost for _, lost in found):.0f} clients lost; "
                    f"load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )


def _server(inside: Sequence[str], number: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [*inside, *PYTHON, "benchmarks.answering", str(8000 + number)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _death(
    left: Sequence[str],
    right: Sequence[str],
    servers: list[subprocess.Popen[bytes]],
    number: int,
    kind: str,
) -> tuple[float, int]:
    """Seconds from the death to the last client that was sent there, and how many were."""
    clients = subprocess.Popen(
        [*left, *PYTHON, "benchmarks.failover", "clients"], stdout=subprocess.PIPE, text=True
    )
    assert clients.stdout is not None
    clients.stdout.readline()
    time.sleep(0.3 + random.random() * INTERVAL)
    died = time.monotonic()
    if kind == "refused":
        servers[number].kill()
        servers[number].wait()
    else:
        rule = f"add rule ip dead in ip daddr 10.0.1.{11 + number} drop"
        subprocess.run([*right, "nft", _DROP + rule], check=True)
    text, _ = clients.communicate()
    lost = [float(line) for line in text.split()]
    if kind == "refused":
        servers[number] = _server(right, number)
    else:
        subprocess.run([*right, "nft", "delete table ip dead"], check=True)
    time.sleep(2 * INTERVAL + 0.3)  # it comes back
    return max(lost, default=died) - died, len(lost)


async def _clients() -> None:
    """Prints when those came who were not let in."""
    lost: list[float] = []

    async def one() -> None:
        came = time.monotonic()
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection("10.0.0.1", 80), 0.8)
            writer.close()
        except (OSError, asyncio.TimeoutError):
            lost.append(came)

    running: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    finish = time.monotonic() + 0.3 + 2 * INTERVAL + FALL * TIMEOUT + 0.6
    while (now := time.monotonic()) < finish:
        task = asyncio.create_task(one())
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(max(0.0, now + SPACING - time.monotonic()))
    if running:
        await asyncio.wait(running)
    print("\n".join(map(str, lost)))


if __name__ == "__main__" and sys.argv[1:] == ["clients"]:
    asyncio.run(_clients())
