"""Just enough SCTP (RFC 9260) to see where an INIT is sent, on kernels without SCTP.

The client sends an INIT; the backend, if the checksum is right, answers with an INIT ACK
whose state cookie is its identity line. Both go through raw sockets.
"""

import struct
from typing import NamedTuple

from nftlbc.sandbox.identity import identity_line

_HEADER = struct.Struct("!HHII")  # source port, destination port, tag, checksum
_CHUNK = struct.Struct("!BBH")  # type, flags, length
# Initiate tag, receive window, outbound streams, inbound streams, initial TSN.
_INIT = struct.Struct("!IIHHI")
_PARAMETER = struct.Struct("!HH")  # type, length

_TYPE_INIT = 1
_TYPE_INIT_ACK = 2
_TYPE_ABORT = 6
_STATE_COOKIE = 7
_WINDOW = 65535


class Reply(NamedTuple):
    """An answer to our INIT: a backend's identity line, or an ABORT (None)."""

    line: bytes | None


def init(source_port: int, port: int, tag: int) -> bytes:
    """The packet that opens an association; `tag`, not 0, is how the answer is known."""
    chunk = _INIT.pack(tag, _WINDOW, 1, 1, tag)
    return _packet(source_port, port, 0, _TYPE_INIT, chunk)


def answer_init(packet: bytes, local: str, peer: str, ports: frozenset[int]) -> bytes | None:
    """What a host at `local` answers: INIT ACK, ABORT on a port that is not served, and
    nothing to what is no INIT or has a wrong checksum."""
    if not checksum_is_right(packet) or len(packet) < _HEADER.size + _CHUNK.size + _INIT.size:
        return None
    source_port, port, _, _ = _HEADER.unpack_from(packet)
    kind, _, _ = _CHUNK.unpack_from(packet, _HEADER.size)
    if kind != _TYPE_INIT:
        return None
    tag: int = _INIT.unpack_from(packet, _HEADER.size + _CHUNK.size)[0]
    if port not in ports:
        return _packet(port, source_port, tag, _TYPE_ABORT, b"")
    cookie = identity_line((local, port), (peer, source_port))
    chunk = _INIT.pack(tag ^ 0xFFFFFFFF or 1, _WINDOW, 1, 1, tag) + _PARAMETER.pack(
        _STATE_COOKIE, _PARAMETER.size + len(cookie)
    )
    return _packet(port, source_port, tag, _TYPE_INIT_ACK, chunk + cookie)


def read_reply(packet: bytes, source_port: int, port: int, tag: int) -> Reply | None:
    """The answer to `init(source_port, port, tag)`; None if the packet is none, or has a
    wrong checksum."""
    if len(packet) < _HEADER.size + _CHUNK.size or not checksum_is_right(packet):
        return None
    if _HEADER.unpack_from(packet)[:3] != (port, source_port, tag):
        return None
    kind, _, length = _CHUNK.unpack_from(packet, _HEADER.size)
    if kind == _TYPE_ABORT:
        return Reply(None)
    if kind != _TYPE_INIT_ACK:
        return None
    cookie = _HEADER.size + _CHUNK.size + _INIT.size + _PARAMETER.size
    return Reply(packet[cookie : _HEADER.size + length])


def is_init_of(packet: bytes, tag: int) -> bool:
    """Whether this is (the beginning of) our INIT, as an ICMP error quotes it."""
    at = _HEADER.size + _CHUNK.size
    return len(packet) >= at + 4 and packet[at : at + 4] == struct.pack("!I", tag)


def checksum_is_right(packet: bytes) -> bool:
    """Whether the packet's CRC32c, at bytes 8 to 11, is that of the rest."""
    if len(packet) < _HEADER.size:
        return False
    return packet[8:12] == _checksum(packet)


def _packet(source_port: int, port: int, tag: int, kind: int, chunk: bytes) -> bytes:
    header = _HEADER.pack(source_port, port, tag, 0)
    length = _CHUNK.size + len(chunk)
    padding = bytes(-length % 4)
    packet = header + _CHUNK.pack(kind, 0, length) + chunk + padding
    return packet[:8] + _checksum(packet) + packet[12:]


def _checksum(packet: bytes) -> bytes:
    crc = crc32c(packet[:8] + bytes(4) + packet[12:])
    # RFC 9260, appendix A: the one field that goes out with its low byte first.
    return struct.pack("<I", crc)


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC, as in iSCSI: crc32c(b"123456789") is 0xE3069283."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        row = byte
        for _ in range(8):
            row = row >> 1 ^ (0x82F63B78 if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


_TABLE = _table()
