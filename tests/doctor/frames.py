"""One TCP segment, sent at the far end of a link: it comes in as if somebody had sent it."""

import json
import socket
import struct
import subprocess

_FLAGS = {"syn": 0x02, "syn-ack": 0x12}


def send(device: str, source: str, port: str, target: str, target_port: str, flags: str) -> None:
    """Lets a segment come in by a device whose far end is called ``DEVICE-far``."""
    packet = _packet(source, int(port), target, int(target_port), _FLAGS[flags])
    frame = _hardware(device) + b"\x02\0\0\0\0\x01" + b"\x08\x00" + packet
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((f"{device}-far", 0))
        sender.send(frame)


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
