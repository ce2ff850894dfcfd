"""``python -m benchmarks.connections COUNT``: counts so many connections, in a namespace of its own
(``unshare --net``), as one line of JSON. The kernel's limit (nf_conntrack_max) stays as it is.

Four of five are of TCP, one of ten of those is closed; of 1 000 backends.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from pathlib import Path

from nftlbc.nft import conntrack
from nftlbc.nft.netlink.connection import open_socket
from nftlbc.nft.netlink.messages import attribute
from nftlbc.table.model import OURS

_NESTED = 0x8000
_MAKE = 0x1 | 0x400 | 0x200
_BATCH = 200


def _nest(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))


def _flow(number: int, protocol: int, reply: bool) -> bytes:
    client = (0x0A00_0000 + number // 50_000).to_bytes(4, "big"), 10_000 + number % 50_000
    server = (0xCB00_7100 + number % 250).to_bytes(4, "big"), 80
    (source, sport), (target, dport) = (server, client) if reply else (client, server)
    return _nest(
        2 if reply else 1,
        _nest(1, attribute(1, source), attribute(2, target)),
        _nest(
            2,
            attribute(1, bytes([protocol])),
            attribute(2, struct.pack("!H", sport)),
            attribute(3, struct.pack("!H", dport)),
        ),
    )


def _entry(number: int) -> bytes:
    protocol = 17 if number % 5 == 0 else 6
    parts = [_flow(number, protocol, False), _flow(number, protocol, True)]
    parts += [attribute(3, struct.pack("!I", 0xE)), attribute(7, struct.pack("!I", 3_000))]
    if protocol == 6:
        state = 7 if number % 10 == 1 else 3
        parts.append(_nest(4, _nest(1, attribute(1, bytes([state])))))
    parts.append(attribute(8, struct.pack("!I", OURS + 1 + number % 1_000)))
    body = struct.pack("!BBH", socket.AF_INET, 0, 0) + b"".join(parts)
    return struct.pack("=IHHII", 16 + len(body), 1 << 8, _MAKE, number, 0) + body


def main() -> None:
    wanted = int(sys.argv[1])
    most = int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
    count = min(wanted, most - 1_000)
    with open_socket() as kernel:
        for first in range(0, count, _BATCH):
            some = range(first, min(first + _BATCH, count))
            kernel.send(b"".join(_entry(number) for number in some))
    begin, used = time.perf_counter(), time.process_time()
    found = conntrack.count()
    wall, cpu = time.perf_counter() - begin, time.process_time() - used
    counted = found.tcp.total() + found.flows.total() + found.closed.total()
    print(json.dumps({"made": count, "counted": counted, "wall": wall, "cpu": cpu}))


main()
