"""``python -m benchmarks failover [DEATHS]``: from a backend's death to the last client sent to it.

Clients, balancer and four servers in namespaces; a new client every 4 ms. A backend dies by
SIGKILL (its machine refuses) or by a rule on its machine that drops all (silence), at any moment
between two checks. The bound is ``fall`` times the refusal or time-out, one interval, and 50 ms.

Who was sent there is seen on the servers' wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import commands
from benchmarks.closed_loop import NFTLBC, PYTHON, end, network, ready

INTERVAL, TIMEOUT, FALL = 0.5, 0.2, 3
SPACING = 0.004
PATIENCE = 5.0
"""Seconds; who is sent a SYN in vain sends another after one second, and again after two."""
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


_CHECKS = socket.inet_aton("10.0.1.1")
"""The balancer, which makes the checks."""


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
                found = [_death(left, right, servers, n % 4, kind) for n in range(deaths)]
                print(_line(kind, bound, found), flush=True)


def _line(kind: str, bound: float, found: Sequence[_Death]) -> str:
    times = sorted(each.last for each in found)
    return (
        f"{kind}: the last client after {times[0] * 1000:.0f} to {times[-1] * 1000:.0f} ms, "
        f"median {statistics.median(times) * 1000:.0f} ms, bound {bound * 1000:.0f} ms, "
        f"beyond it {sum(t > bound for t in times)} of {len(found)}; "
        f"{statistics.fmean(each.sent for each in found):.0f} clients sent there each time; "
        f"of {sum(each.clients for each in found)} in all "
        f"{sum(each.failed for each in found)} did not get in within {PATIENCE:.0f} s, "
        f"{sum(each.elsewhere for each in found)} of them not sent there; "
        f"load {os.getloadavg()[0]:.1f}"
    )


def _server(inside: Sequence[str], number: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [*inside, *PYTHON, "benchmarks.answering", str(8000 + number)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@dataclass(frozen=True, slots=True)
class _Death:
    last: float
    """Seconds after it that the last client was sent there."""
    sent: int
    """Clients that were."""
    failed: int
    """Clients that were refused, or had no answer for so long that they gave up."""
    elsewhere: int
    """Of them, those that were not sent there."""
    clients: int


def _death(
    left: Sequence[str],
    right: Sequence[str],
    servers: list[subprocess.Popen[bytes]],
    number: int,
    kind: str,
) -> _Death:
    wire = _started(right, "wire")
    clients = _started(left, "clients")
    time.sleep(0.3 + random.random() * INTERVAL)
    died = time.monotonic()
    if kind == "refused":
        servers[number].kill()
        servers[number].wait()
    else:
        rule = f"add rule ip dead in ip daddr 10.0.1.{11 + number} drop"
        subprocess.run([*right, "nft", _DROP + rule], check=True)
    text, _ = clients.communicate()
    wire.terminate()
    seen, _ = wire.communicate()
    if kind == "refused":
        servers[number] = _server(right, number)
    else:
        subprocess.run([*right, "nft", "delete table ip dead"], check=True)
    time.sleep(2 * INTERVAL + 0.3)  # it comes back
    sent = {}  # by the client's port
    for when, address, port in map(str.split, seen.splitlines()):
        if address == f"10.0.1.{11 + number}" and float(when) > died:
            sent.setdefault(port, float(when))
    fates = [line.split() for line in text.splitlines()]
    failed = [port for fate, port in fates if fate == "failed"]
    return _Death(
        max(sent.values(), default=died) - died,
        len(sent),
        len(failed),
        sum(port not in sent for port in failed),
        len(fates),
    )


def _started(inside: Sequence[str], part: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*inside, *PYTHON, "benchmarks.failover", part], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


async def _clients() -> None:
    """Prints what became of each, and its port."""

    async def one() -> None:
        with socket.socket() as made:
            made.setblocking(False)
            made.bind(("", 0))
            port = made.getsockname()[1]
            loop = asyncio.get_running_loop()
            try:
                await asyncio.wait_for(loop.sock_connect(made, ("10.0.0.1", 80)), PATIENCE)
                print("in", port)
            except (OSError, asyncio.TimeoutError):
                print("failed", port)

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


def _wire() -> None:
    """Prints when SYNs came, to which address and from which port, until SIGTERM."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        print("ready", flush=True)
        while True:
            packet = wire.recv(60)
            if len(packet) < 40 or packet[0] != 0x45 or packet[9] != socket.IPPROTO_TCP:
                continue
            if packet[33] & 0x12 == 0x02 and packet[12:16] != _CHECKS:  # SYN and no ACK
                port = int.from_bytes(packet[20:22], "big")
                print(time.monotonic(), socket.inet_ntoa(packet[16:20]), port)


if __name__ == "__main__" and sys.argv[1:] == ["clients"]:
    asyncio.run(_clients())
if __name__ == "__main__" and sys.argv[1:] == ["wire"]:
    _wire()
