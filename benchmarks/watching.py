"""``python -m benchmarks watching [FARMS]``: the loop with very many farms of ten backends.

All in one namespace, in which every address of 10.0.0.0/8 is the machine's own; the checks of the
many come every ten minutes, those of one farm ten times a second.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import commands, farms
from benchmarks.closed_loop import NFTLBC, PYTHON, end, ready

DEATHS = 20
_ONE = """farm watched {
    listen 203.255.0.1 tcp port 80
    check tcp { interval 100ms; timeout 100ms; fall 3; rise 1 }
    backend one 10.255.0.1 port 9000
    backend two 10.255.0.2 port 8080
}
"""


def text(count: int, scheduler: str = "round-robin") -> str:
    many = farms.text(count).replace(
        "balance round-robin", f"balance {scheduler}\n    check tcp {{ interval 10m }}"
    )
    return f"{many}\n{_ONE}"


def main(arguments: Sequence[str]) -> None:
    count = next((int(each) for each in arguments if each.isdigit()), 10_000)
    scheduler = next((each for each in arguments if each.startswith("least")), "round-robin")
    with tempfile.TemporaryDirectory() as name, commands.namespace() as inside:
        for line in ("link set lo up", "route add local 10.0.0.0/8 dev lo"):
            subprocess.run([*inside, "ip", *line.split()], check=True)
        file = Path(name) / "farms.lb"
        file.write_text(text(count, scheduler))
        many, one = server(inside, 8080), server(inside, 9000)
        try:
            commands.once([*inside, *NFTLBC, "apply", "--quiet", str(file)])
            begin = time.monotonic()
            probe = [*inside, *NFTLBC, "probe", str(file), "--every", "2s"]
            with ready(probe, stdout=subprocess.PIPE) as loop:
                print(f"ready after {time.monotonic() - begin:.1f} s", flush=True)
                _settle(loop.pid)
                print(f"all {count * 10} backends checked after {time.monotonic() - begin:.1f} s")
                before, since = cpu(loop.pid), time.monotonic()
                time.sleep(30)
                used = (cpu(loop.pid) - before) / (time.monotonic() - since)
                print(
                    f"idle, with 20 checks a second: {used * 100:.1f} % of a processor, "
                    f"{memory(loop.pid) >> 20} MiB; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
                times = []
                for _ in range(DEATHS):
                    died = time.monotonic()
                    one.kill()
                    one.wait()
                    _line(loop, "down")
                    times.append(time.monotonic() - died)
                    one = server(inside, 9000)
                    _line(loop, "up")
                print(
                    f"from a death to the end of its transaction: {min(times) * 1000:.0f} to "
                    f"{max(times) * 1000:.0f} ms, median {statistics.median(times) * 1000:.0f} ms"
                )
        finally:
            end(one)
            end(many)


def server(inside: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [*inside, *PYTHON, "benchmarks.answering", str(port)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _line(loop: subprocess.Popen[bytes], word: str) -> None:
    assert loop.stdout is not None
    while f"watched/one {word}".encode() not in loop.stdout.readline():
        if loop.poll() is not None:
            raise SystemExit("probe has ended")


def _settle(process: int) -> None:
    """Until it works no more: less than a quarter of a processor over two seconds."""
    before = cpu(process)
    while True:
        time.sleep(2)
        now = cpu(process)
        if now - before < 0.5:
            return
        before = now


def cpu(process: int) -> float:
    """Seconds of user and system time; proc(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> int:
    """Bytes, resident."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
