"""Reaching clients that only wait: their connections were cut off, and they don't send.

A rule answers whatever such a client sends with a reset (``table.filters``). To make it send, it is
told something that no connection expects, from the listener's address: a SYN with an ACK, as if a
connection began. TCP answers that with an ACK whatever its numbers are (RFC 793, 3.9; RFC 5961, 4),
and the rule answers the ACK.

Why a SYN-ACK and not a bare ACK that is out of the window: connection tracking takes a bare ACK
that it does not know for the middle of a connection and gives it an entry of its own, so it would
need a rule against that in the output hook, for every packet of the machine; and whoever translates
on the way to the client (a router at home) drops it as invalid, while it lets a SYN-ACK through.
"""

from __future__ import annotations

import errno
import secrets
import socket
import struct
import time
from collections.abc import Iterable
from typing import Final

from nftlbc.nft.flows import Flow
from nftlbc.nft.program import NftError

WAITING: Final = frozenset({3, 4, 5})
"""ESTABLISHED, FIN_WAIT, CLOSE_WAIT: the client's side may wait for something."""
_PATIENCE: Final = 10.0
"""Seconds for all of them; 50 000 take less than one."""
_TCP: Final = struct.Struct("!HHIIBBHHH")
_SYN_ACK: Final = 0x12
_IPV6_HDRINCL: Final = 36
"""Since Linux 4.5; the socket module does not name it."""


def wake(flows: Iterable[Flow]) -> int:
    """Sends a packet to each client; how many could be sent.

    Raises NftError where there is no right to raw sockets.
    """
    deadline = time.monotonic() + _PATIENCE
    sent = 0
    with _raw(socket.AF_INET) as four, _raw(socket.AF_INET6) as six:
        for flow in flows:
            if _send(four if flow.family == 4 else six, flow, deadline):
                sent += 1
            elif time.monotonic() > deadline:
                break
    return sent


def _raw(family: int) -> socket.socket:
    try:
        made = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    except PermissionError:
        raise NftError(
            "clients that only wait can't be told: they learn with their next packet",
            "telling them needs the right to raw sockets: root, or the capability CAP_NET_RAW",
        ) from None
    except OSError:  # no IPv6 on this machine, and so no flow of it
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
    made.setblocking(False)
    return made


def _send(raw: socket.socket, flow: Flow, deadline: float) -> bool:
    client = socket.inet_ntop(socket.AF_INET if flow.family == 4 else socket.AF_INET6, flow.client)
    text = packet(flow)
    while True:
        try:
            raw.sendto(text, (client, 0))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as problem:
            if problem.errno != errno.ENOBUFS:
                return False  # no route to it any more, or somebody's rule against it
        else:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)


def packet(flow: Flow) -> bytes:
    """The SYN-ACK from a connection's listener to its client, with its IP header."""
    numbers = secrets.randbits(64)
    ports = flow.listener_port, flow.client_port
    header = [*ports, numbers >> 32, numbers & 0xFFFF_FFFF, 5 << 4, _SYN_ACK, 1024, 0, 0]
    ends = flow.listener + flow.client
    pseudo = ends + struct.pack("!HH", socket.IPPROTO_TCP, _TCP.size)
    header[7] = _checksum(pseudo + _TCP.pack(*header))
    segment = _TCP.pack(*header)
    if flow.family == 6:
        return struct.pack("!IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, 64) + ends + segment
    # The kernel writes the length, the number and the checksum.
    start = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0x4000, 64, socket.IPPROTO_TCP, 0)
    return start + ends + segment


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
