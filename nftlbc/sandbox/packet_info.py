"""Which local address a datagram came to, and how to answer from it.

Linux's IP_PKTINFO and IPV6_PKTINFO (ip(7), ipv6(7)). The interface in the answer is left
open: the route decides.
"""

import socket
import struct
from typing import TypeAlias

# <linux/in.h>; Python has no name for it before 3.14.
_IP_PKTINFO = 8

_IN_PKTINFO = struct.Struct("=i4s4s")  # interface, local address, destination in the header
_IN6_PKTINFO = struct.Struct("=16si")  # destination, interface

Ancillary: TypeAlias = list[tuple[int, int, bytes]]


def ask_for_arrivals(sock: socket.socket) -> None:
    """Let recvmsg() tell where each datagram came to."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def arrived_at(ancillary: Ancillary) -> str:
    """The address out of recvmsg()'s ancillary data. Raises OSError where it has none."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            return socket.inet_ntop(socket.AF_INET, _IN_PKTINFO.unpack_from(data)[2])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return socket.inet_ntop(socket.AF_INET6, _IN6_PKTINFO.unpack_from(data)[0])
    raise OSError("a datagram without packet information")


def answer_from(address: str) -> Ancillary:
    """sendmsg()'s ancillary data that makes `address` the source."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(packed, 0))]
    packed = socket.inet_pton(socket.AF_INET, address)
    return [(socket.IPPROTO_IP, _IP_PKTINFO, _IN_PKTINFO.pack(0, packed, bytes(4)))]
