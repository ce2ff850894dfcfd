"""Is there room for more connections, and what becomes of those that the kernel lost sight of?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok
from nftlbc.doctor.settings import lasting, set_now
from nftlbc.doctor.situation import Situation

_MAXIMUM: Final = "net/netfilter/nf_conntrack_max"
_LOOSE: Final = "net/netfilter/nf_conntrack_tcp_loose"
_FULL, _FILLING = 90, 75
"""Per cent."""


def room(situation: Situation) -> Iterator[Finding]:
    name = "connection-table"
    count = situation.machine.sysctl("net/netfilter/nf_conntrack_count")
    most = situation.machine.sysctl(_MAXIMUM)
    if count is None or most is None:
        raise Unseen("connections are not tracked yet: nf_conntrack is not loaded")
    if most == 0:
        yield ok(name, f"{count} connections, without a limit")
        return
    share = 100 * count // most
    if share < _FILLING:
        yield ok(name, f"{count} of {most} connections ({share} %)")
        return
    yield Finding(
        name,
        Verdict.PROBLEM if share >= _FULL else Verdict.WARNING,
        f"the connection table is {share} % full: {count} of {most}",
        "once it is full the kernel drops the first packets of new connections",
        "let it hold more (some 320 bytes each)",
        commands=(set_now(_MAXIMUM, 2 * most),),
        lasting=(lasting(_MAXIMUM, 2 * most),),
    )


def loose(situation: Situation) -> Iterator[Finding]:
    name = "tcp-loose"
    value = situation.machine.sysctl(_LOOSE)
    if value is None:
        raise Unseen("connections are not tracked yet: nf_conntrack is not loaded")
    if value:
        yield ok(name, "open connections are taken up again after a reboot or a takeover")
        return
    yield Finding(
        name,
        Verdict.WARNING,
        "nf_conntrack_tcp_loose is 0: the kernel takes up no connection in its middle",
        "after a reboot, or when another balancer takes over, every open TCP connection is reset;"
        " with 1 those go on that are given to the same backend again (hash, consistent)",
        commands=(set_now(_LOOSE, 1),),
        lasting=(lasting(_LOOSE, 1),),
    )
