"""10 000 checks of 10 000 addresses in a network namespace, beside a server on the same cores."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import commands

PORT = 8080


def lines(count: int, runs: int) -> Iterator[str]:
    with commands.namespace() as inside:
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        command = [*inside, sys.executable, "-m", "benchmarks.answering", str(PORT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            server.stdout.readline()
            try:
                for kind in ("tcp", "http"):
                    found = [_once(inside, kind, count) for _ in range(runs)]
                    yield _line(kind, count, found)
            finally:
                server.kill()


def _once(inside: list[str], kind: str, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.checking", kind, str(count), str(PORT)]
    found: dict[str, Any] = json.loads(commands.output([*inside, *command]))
    if found["passed"] != count:
        raise SystemExit(f"{found['passed']} of {count} checks passed")
    return found


def _line(kind: str, count: int, found: list[dict[str, Any]]) -> str:
    def median(name: str) -> float:
        return float(statistics.median(each[name] for each in found))

    walls = [each["wall"] for each in found]
    return (
        f"{count} {kind} checks: {median('wall'):.2f} s ({min(walls):.2f} to {max(walls):.2f}),"
        f" {median('cpu'):.2f} s of processor, {int(median('memory')) >> 20} MiB;"
        f" one of them {median('median') * 1000:.0f} ms, the slowest"
        f" {median('slowest') * 1000:.0f} ms"
    )
