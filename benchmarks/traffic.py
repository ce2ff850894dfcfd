"""What a rule on every packet costs: datagrams of one flow, forwarded with and without
``count traffic``, in a network of its own."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from nftlbc import pipeline
from nftlbc.sandbox import Layout, Sandbox

PACKETS = 200_000
_SENDING = """
import ctypes, resource, socket, sys
packets = int(sys.argv[1])
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]
class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint),
                ("vectors", ctypes.POINTER(Vector)), ("count", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("sent", ctypes.c_uint)]
vector = Vector(b"x" * 64, 64)
batch = (Message * 64)(*[Message(None, 0, ctypes.pointer(vector), 1, None, 0, 0, 0)] * 64)
send = ctypes.CDLL(None).sendmmsg
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.connect(("203.0.113.10", 53))
    sender.send(b"first")
    before = resource.getrusage(resource.RUSAGE_SELF)
    sent = 0
    while sent < packets:
        sent += send(sender.fileno(), batch, 64, 0)
    after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""
"""The sender's own time: the kernel forwards in its name what it sends through a veth."""
_SINK = """
table inet sink {
    chain arrived { type filter hook prerouting priority -300; udp dport 5300 counter drop; }
}
"""
_FARMS = """
farm measured {{
    listen 203.0.113.10 udp port 53
    {measured}
    backend app1 10.0.0.1 port 5300
}}
farm other {{
    listen 203.0.113.10 udp port 54
    {other}
    backend app1 10.0.0.1 port 5301
}}
"""
_CASES = ("without", "of another farm", "of this farm")


def lines(runs: int) -> Iterator[str]:
    found = _measured(runs)
    without = found["without"]
    yield (
        f"forwarding a datagram of 64 bytes: {_each(without):.0f} ns, "
        "of the sender, the load balancer and the way"
    )
    for case in _CASES[1:]:
        ratios = sorted(a / b for a, b in zip(found[case], without, strict=True))
        more = statistics.median(
            (a - b) / PACKETS * 1e9 for a, b in zip(found[case], without, strict=True)
        )
        yield (
            f"count traffic {case} / without: {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f}), {more:.0f} ns a packet"
        )


def _each(seconds: Sequence[float]) -> float:
    """Nanoseconds of one packet."""
    return statistics.median(seconds) / PACKETS * 1e9


def _measured(runs: int) -> dict[str, list[float]]:
    """Seconds of processor time, in turn, so that what the machine does meanwhile hits all."""
    layout = Layout(("203.0.113.10",), ("10.0.0.1",), udp_ports=(5301,))
    scripts = {
        case: _script("count traffic" * (case == _CASES[2]), "count traffic" * (case == _CASES[1]))
        for case in _CASES
    }
    found: dict[str, list[float]] = {case: [] for case in _CASES}
    with Sandbox(layout) as box:
        box.run("servers", (*box.nft, "-f", "-"), _SINK)
        for _ in range(runs):
            for case, script in scripts.items():
                box.run("balancer", (*box.nft, "delete", "table", "inet", "nftlbc"))
                if box.load(script).returncode:
                    raise SystemExit("nft refuses the measured farms")
                argv = (sys.executable, "-c", _SENDING, str(PACKETS))
                found[case].append(float(box.run("clients", argv, timeout=120).stdout))
        arrived = box.run("servers", (*box.nft, "list", "table", "inet", "sink")).stdout
    least = runs * len(_CASES) * PACKETS * 0.99
    if int(arrived.split("packets ")[1].split()[0]) < least:
        raise SystemExit("datagrams got lost on their way: nothing was measured")
    return found


def _script(measured: str, other: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "farms.lb"
        file.write_text(_FARMS.format(measured=measured, other=other))
        farms, _ = pipeline.read(str(file))
    return pipeline.script(farms)
