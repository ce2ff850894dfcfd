"""wrk and iperf3 through one farm: tools that people know, at full speed.

Their figures are by the clock, of a machine whose cores clients, balancer and servers share;
those of data_plane.py are the steadier ones.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import commands, peers
from benchmarks.farms import PORT, Farms, backend, listener
from benchmarks.figures import Figure, beside
from benchmarks.network import Network, network
from benchmarks.peers.peer import Peer, end, family, until

PART = "wrk, iperf3"
_SERVER = """daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 4000; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    server {{ listen 0.0.0.0:{port} backlog=4096; location / {{ return 200 "ok\\n"; }} }}
}}
"""


def figures(folder: Path, seconds: int, rounds: int) -> Iterator[Figure]:
    makers = {**peers.LIMITS, **peers.KERNEL, **peers.PROXIES}
    with contextlib.ExitStack() as stack:
        ready = {
            name: _ready(stack, folder / f"tools-{name}".replace(" ", "-"), make)
            for name, make in makers.items()
        }
        for what, unit, serving, asking in (
            ("wrk, new connections", "a second", _nginx, _wrk_new),
            ("wrk, kept connections", "a second", _nginx, _wrk_kept),
            ("iperf3, one stream", "Gbit/s", _iperf_server, _iperf),
        ):
            runs: dict[str, list[float]] = {name: [] for name in ready}
            for _ in range(rounds):
                for name, (where, peer) in ready.items():
                    target = (backend(0, 0), PORT) if peer.direct else (listener(0), 80)
                    with serving(where, folder):
                        runs[name].append(asking(where, *target, seconds))
            yield from beside(PART, what, 1, runs, unit, "one dnat rule")


def _ready(stack: contextlib.ExitStack, folder: Path, make: peers.Make) -> tuple[Network, Peer]:
    where = stack.enter_context(network())
    peer = make(where, folder)
    peer.write(Farms(1, persist=False))
    stack.callback(peer.stop)
    peer.start()
    return where, peer


@contextlib.contextmanager
def _nginx(where: Network, folder: Path) -> Iterator[None]:
    file = folder / "server.conf"
    file.write_text(_SERVER.format(folder=folder, port=PORT))
    with _running(where, ["nginx", "-p", str(folder), "-c", str(file)]):
        yield


@contextlib.contextmanager
def _iperf_server(where: Network, _: Path) -> Iterator[None]:
    with _running(where, ["iperf3", "-s", "-p", str(PORT)]):
        yield


@contextlib.contextmanager
def _running(where: Network, command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(
        [*where.servers, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        listening = [*where.servers, "cat", "/proc/net/tcp", "/proc/net/tcp6"]
        if not until(lambda: f":{PORT:04X} 0000" in commands.output(listening), 10):
            raise SystemExit(f"{command[0]} does not listen")
        time.sleep(0.1)
        yield
    finally:
        end(family(process.pid))
        process.wait()


def _wrk_new(where: Network, address: str, port: int, seconds: int) -> float:
    return _wrk(where, address, port, seconds, "-H", "Connection: close")


def _wrk_kept(where: Network, address: str, port: int, seconds: int) -> float:
    return _wrk(where, address, port, seconds)


def _wrk(where: Network, address: str, port: int, seconds: int, *more: str) -> float:
    options = ["-t1", "-c32", f"-d{seconds}s", *more]
    told = commands.output([*where.clients, "wrk", *options, f"http://{address}:{port}/"])
    return float(told.split("Requests/sec:")[1].split()[0])


def _iperf(where: Network, address: str, port: int, seconds: int) -> float:
    options = ["-c", address, "-p", str(port), "-t", str(seconds), "-J"]
    told = json.loads(commands.output([*where.clients, "iperf3", *options]))
    return float(told["end"]["sum_received"]["bits_per_second"]) / 1e9
