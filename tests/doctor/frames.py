"""One TCP segment, sent at the far end of a link: it comes in as if somebody had sent it."""

import json
import os
import socket
import struct
import subprocess
import time

_FLAGS = {"syn": 0x02, "syn-ack": 0x12}


def send(device: str, source: str, port: str, target: str, target_port: str, flags: str) -> None:
    """Lets a segment come in by a device whose far end is called ``DEVICE-far``."""
    packet = _packet(source, int(port), target, int(target_port), _FLAGS[flags])
    frame = _hardware(device) + b"\x02\0\0\0\0\x01" + b"\x08\x00" + packet
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((f"{device}-far", 0))
        sender.send(frame)


def passes(text: str) -> bool:
    """Whether a segment (as ``send`` takes it) comes out at ``servers``.

    Two counters see it come in and go out. A second segment, sent on the same processor, comes in
    behind it: once that is counted, the first has gone as far as it goes.
    """
    device, source, port, *rest = text.split()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _nft("-f", "-", text=_COUNTERS)
    send(device, source, port, *rest)
    send(device, source, str(int(port) + 1), "192.0.2.2", "9", "syn")
    while not _packets("behind"):
        time.sleep(0.001)
    passed = _packets("out") > 0
    _nft("delete", "table", "ip", "counting")
    return passed


_COUNTERS = """\
table ip counting {
    counter behind { }
    counter out { }
    chain pre { type filter hook prerouting priority -400; ip daddr 192.0.2.2 counter name behind; }
    chain post {
        type filter hook postrouting priority 400;
        oifname "servers" counter name out
    }
}
"""


def _packets(counter: str) -> int:
    told = json.loads(_nft("-j", "list", "counter", "ip", "counting", counter))
    return sum(row["counter"]["packets"] for row in told["nftables"] if "counter" in row)


def _nft(*arguments: str, text: str = "") -> str:
    return subprocess.run(
        ["nft", *arguments], input=text, capture_output=True, text=True, check=True
    ).stdout


def _hardware(device: str) -> bytes:
    told = subprocess.run(
        ["ip", "-json", "link", "show", device], capture_output=True, text=True, check=True
    ).stdout
    return bytes.fromhex(json.loads(told)[0]["address"].replace(":", ""))


def _packet(source: str, port: int, target: str, target_port: int, flags: int) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    ports = struct.pack("!HH", port, target_port)
    segment = ports + struct.pack("!IIBBHHH", 1000, 1001, 0x50, flags, 65535, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", _sum(pseudo + segment)) + segment[18:]
    length = 20 + len(segment)
    header = struct.pack("!BBHHHBBH", 0x45, 0, length, 1, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    return header[:10] + struct.pack("!H", _sum(header)) + header[12:] + segment


def _sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
