"""``python -m benchmarks closed-loop [SCHEDULER ...] [--cron] [--picture FILE]``: what weights that
follow the backends are worth.

Clients, balancer and servers in three network namespaces; four servers of one worker each, of
which one is four times slower; clients come at three quarters of what the four can serve together,
so that a quarter of them is far more than the slow one can take. Real sockets, real processes, and
``nftlbc probe`` beside them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import commands, drawing

PYTHON = [sys.executable, "-m"]
NFTLBC = [*PYTHON, "nftlbc"]
SERVICE = 0.020
"""Seconds, the mean."""
SLOWER = 4
NAMES = ("slow", "app1", "app2", "app3")
LOAD = 0.75
"""Of what all servers can take together."""
WARM, MEASURED = 60.0, 60.0
"""Seconds; of those that come in the first nothing is told."""
TITLE = "Response of a farm with one of four backends four times slower"
# A server that is too busy to answer in time is not dead: it would be soon, and the next one too.
CHECKS = {
    "round-robin": "check tcp { interval 2s }",
    "least-connections": "check tcp { interval 2s }",
    "least-response": "check http { interval 2s; timeout 2s; fall 100 }",
    "least-cpu": "check agent { port 81; interval 2s }",
    "custom": 'check exec { command "/bin/cat" "FOLDER/NAME"; interval 2s }',
}


@dataclass
class Found:
    scheduler: str
    answers: list[tuple[float, float, str | None]]
    """When it came, its time, and who answered."""
    slots: list[tuple[float, dict[str, float]]]
    """Shares of the slots over time."""

    def times(self) -> list[float]:
        return sorted(took for came, took, _ in self.answers if came >= WARM)

    def line(self) -> str:
        times = self.times()
        served = Counter(who for came, _, who in self.answers if came >= WARM and who)
        lost = len(times) - served.total()
        share = served["slow"] / max(served.total(), 1)
        return (
            f"{self.scheduler}: mean {statistics.fmean(times) * 1000:.0f} ms, "
            f"p95 {quantile(times, 0.95) * 1000:.0f} ms, {share:.1%} served by the slow one, "
            f"{lost} of {len(times)} gave up"
        )


def quantile(times: Sequence[float], part: float) -> float:
    return times[min(len(times) - 1, int(len(times) * part))]


def service(name: str, mean: float) -> float:
    return mean * SLOWER if name == "slow" else mean


def rate(mean: float) -> float:
    """Clients a second."""
    return LOAD * sum(1 / service(name, mean) for name in NAMES)


@contextlib.contextmanager
def network() -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Three namespaces in a row: what to write before commands for clients, balancer, servers."""
    with (
        commands.namespace() as left,
        commands.namespace() as middle,
        commands.namespace() as right,
    ):

        def ip(inside: list[str], text: str) -> None:
            subprocess.run([*inside, "ip", *text.split()], check=True)

        pid = {id(each): each[1].split("/")[2] for each in (left, right)}
        for other, name, near, far in (
            (left, "clients", "10.0.0.1/24", "10.0.0.2/24"),
            (right, "servers", "10.0.1.1/24", "10.0.1.10/24"),
        ):
            ip(middle, f"link add {name} type veth peer name eth0 netns {pid[id(other)]}")
            ip(middle, f"addr add {near} dev {name}")
            ip(middle, f"link set {name} up")
            ip(other, f"addr add {far} dev eth0")
            ip(other, "link set eth0 up")
            ip(other, f"route add default via {near.partition('/')[0]}")
        for n in range(1, len(NAMES) + 1):
            ip(right, f"addr add 10.0.1.{10 + n}/24 dev eth0")
        forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        subprocess.run([*middle, "sh", "-c", forward], check=True)
        yield left, middle, right


def farms(scheduler: str, folder: Path) -> str:
    check = CHECKS[scheduler]
    if "FOLDER" in check:
        script = folder / "queue"
        script.write_text(f'#!/bin/sh\nexec cat "{folder}/$NFTLBC_BACKEND"\n')
        script.chmod(0o755)
        check = check.replace('"/bin/cat" "FOLDER/NAME"', f'"{script}"')
    backends = "".join(
        f"    backend {name} 10.0.1.{11 + n} port 80\n" for n, name in enumerate(NAMES)
    )
    return (
        f"farm web {{\n    listen 10.0.0.1 tcp port 80\n    balance {scheduler}\n"
        f"    {check}\n{backends}}}\n"
    )


def measure(scheduler: str, mean: float, seconds: float, every: float, single: bool) -> Found:
    """every: seconds between rounds of weights; single: each round is a run of its own, as cron
    makes it, and not a turn of the loop."""
    with (
        tempfile.TemporaryDirectory() as name,
        network() as (left, middle, right),
        contextlib.ExitStack() as stack,
    ):
        folder, file = Path(name), Path(name) / "farms.lb"
        file.write_text(farms(scheduler, folder))
        for n, each in enumerate(NAMES):
            server = subprocess.Popen(
                [
                    *(*right, *PYTHON, "benchmarks.queueing"),
                    *(each, f"10.0.1.{11 + n}", str(service(each, mean)), name),
                ],
                stdout=subprocess.PIPE,
            )
            stack.callback(end, server)
            assert server.stdout is not None
            server.stdout.readline()
        commands.once([*middle, *NFTLBC, "apply", str(file)])
        stop = threading.Event()
        slots: list[tuple[float, dict[str, float]]] = []
        threads = [threading.Thread(target=_watch, args=(middle, slots, stop))]
        if single:
            threads.append(
                threading.Thread(target=_cron, args=([*middle, *NFTLBC], file, every, stop))
            )
        else:
            probe = [*middle, *NFTLBC, "probe", str(file), "--every", f"{every:g}s"]
            stack.enter_context(ready(probe))
        for thread in threads:
            thread.start()
        clients = [*PYTHON, "benchmarks.arriving", "10.0.0.1"]
        try:
            text = commands.output([*left, *clients, str(rate(mean)), str(seconds)])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    return Found(scheduler, [tuple(json.loads(line)) for line in text.splitlines()], slots)  # type: ignore[misc]


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
        return
    process.kill()
    process.wait()


@contextlib.contextmanager
def ready(probe: Sequence[str], stdout: Any = sys.stderr) -> Iterator[subprocess.Popen[bytes]]:
    """``nftlbc probe --every``, from when it says to its manager that it is ready."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(f"{folder}/manager")
        manager.settimeout(120)
        environment = {**os.environ, "NOTIFY_SOCKET": f"{folder}/manager"}
        process = subprocess.Popen(probe, stdout=stdout, env=environment)
        try:
            while b"READY=1" not in manager.recv(4096):
                pass
            yield process
        finally:
            end(process)


def _cron(nftlbc: Sequence[str], file: Path, every: float, stop: threading.Event) -> None:
    while not stop.wait(every):
        # Ends with 4 below the quorum.
        subprocess.run([*nftlbc, "probe", str(file), "--quiet"], stdout=subprocess.DEVNULL)


_SLOTS = "nft -j list map inet nftlbc slots_1024; nft -j list map inet nftlbc backends4_1024"


def _watch(
    inside: list[str], found: list[tuple[float, dict[str, float]]], stop: threading.Event
) -> None:
    """Whose share of the slots is how large, once a second."""
    seconds = 0.0
    while not stop.wait(1.0):
        seconds += 1.0
        done = subprocess.run(
            [*inside, "sh", "-c", _SLOTS], capture_output=True, text=True, check=False
        )
        lines = [json.loads(line)["nftables"][1]["map"] for line in done.stdout.splitlines()]
        if len(lines) == 2:
            marks: dict[int, str] = {}
            for key, _ in lines[1].get("elem", []):
                element = key["elem"] if isinstance(key, dict) else {"val": key}
                marks[element["val"]] = element.get("comment", "").rpartition("/")[2]
            owners = Counter(marks.get(mark, "?") for _, mark in lines[0].get("elem", []))
            found.append((seconds, {n: k / owners.total() for n, k in owners.items()}))


def swing(found: Found, after: float) -> str:
    """How the slow one's share moved once it had settled."""
    some = [shares.get("slow", 0.0) for when, shares in found.slots if when >= after]
    if not some:
        return "no slots seen"
    wanted = 1 / SLOWER / (len(NAMES) - 1 + 1 / SLOWER)
    changes = sum(a != b for a, b in itertools.pairwise(some))
    return (
        f"the slow one's slots {min(some):.1%} to {max(some):.1%}, "
        f"mean {statistics.fmean(some):.1%} (its part of the capacity {wanted:.1%}), "
        f"{changes} changes in {len(some)} s"
    )


def main(arguments: Sequence[str]) -> None:
    names = [each for each in arguments if each in CHECKS] or list(CHECKS)
    load = os.getloadavg()[0]
    print(f"load {load:.1f}; {rate(SERVICE):.0f} clients a second", flush=True)
    if "--cron" in arguments:
        # Rounds a minute apart, and servers half as fast, to spare the machine.
        for name in names:
            found = measure(name, 2 * SERVICE, 900.0, 60.0, single=True)
            print(f"{name}, a run a minute: {swing(found, 420)}", flush=True)
            print(f"    {Found(name, [e for e in found.answers if e[0] >= 420], []).line()}")
        return
    results = []
    for name in names:
        found = measure(name, SERVICE, WARM + MEASURED, 2.0, single=False)
        results.append(found)
        print(found.line(), flush=True)
        print(f"    {swing(found, WARM)}", flush=True)
    if "--picture" in arguments:
        file = Path(arguments[list(arguments).index("--picture") + 1])
        bars = [
            (each.scheduler, statistics.fmean(each.times()), quantile(each.times(), 0.95))
            for each in results
        ]
        file.write_text(drawing.bars(bars, TITLE, 0.03, 10.0))
