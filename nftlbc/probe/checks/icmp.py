"""``check icmp``: an answer to a ping."""

from __future__ import annotations

import errno
import os

import icmplib

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.result import Failure, Finding
from nftlbc.probe.target import Target


async def check(target: Target, attempt: Attempt) -> Finding:
    attempt.step = "no answer to a ping"
    with icmplib.AsyncSocket(_socket(target)) as sock:
        request = icmplib.ICMPRequest(target.address, os.getpid() & 0xFFFF or 1, _next())
        try:
            sock.send(request)
            # The alarm ends it, not this timeout.
            reply = await sock.receive(request, timeout=2 * attempt.limit + 60)
            reply.raise_for_status()
        except icmplib.ICMPSocketError as problem:
            cause = problem.__context__
            raise (cause if isinstance(cause, OSError) else OSError(str(problem))) from None
        except icmplib.ICMPError:
            raise Failure("unreachable", "host unreachable", silent=True) from None
    attempt.heard = True
    return Finding("answers a ping")


_sequence = 0


def _next() -> int:
    """A raw socket hears the answers to all of them."""
    global _sequence
    _sequence = (_sequence + 1) & 0xFFFF
    return _sequence


def _socket(target: Target) -> icmplib.ICMPv4Socket | icmplib.ICMPv6Socket:
    """Without privileges where ``net.ipv4.ping_group_range`` allows it, else a raw one."""
    kind = icmplib.ICMPv6Socket if ":" in target.address else icmplib.ICMPv4Socket
    source = target.check.source
    try:
        return kind(source, privileged=False)
    except icmplib.SocketPermissionError:
        pass
    except icmplib.SocketAddressError:
        raise OSError(errno.EADDRNOTAVAIL, "source") from None
    try:
        return kind(source, privileged=True)
    except icmplib.SocketPermissionError:
        text = "no right to ping: widen net.ipv4.ping_group_range, or give CAP_NET_RAW"
        raise Failure("forbidden", text, silent=True) from None
    except icmplib.SocketAddressError:
        raise OSError(errno.EADDRNOTAVAIL, "source") from None
