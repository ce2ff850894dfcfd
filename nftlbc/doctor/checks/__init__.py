"""The checks, in the order in which they are told: the kernel, the network, the other tables,
the room that is left. A check is a name and a function that looks and yields what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from nftlbc.doctor.checks import (
    answers,
    backends,
    balancers,
    boot,
    firewall,
    forwarding,
    listeners,
    probing,
    rewriting,
    sticky,
    tables,
    tracking,
    trial,
    versions,
)
from nftlbc.doctor.finding import Finding
from nftlbc.doctor.situation import Situation


class Check(NamedTuple):
    name: str
    look: Callable[[Situation], Iterator[Finding]]
    """Raises Unseen where it can't."""
    of_farms: bool = False
    """It is of no use without a farms file."""


CHECKS: Final = (
    Check("nft-version", versions.nft),
    Check("kernel-version", versions.kernel),
    Check("kernel-features", trial.check),
    Check("ip-forward", forwarding.ipv4),
    Check("ipv6-forward", forwarding.ipv6),
    Check("listener-address", listeners.check, True),
    Check("snat-address", listeners.sources, True),
    Check("backend-route", backends.routes, True),
    Check("rp-filter", backends.reverse_path, True),
    Check("one-armed", answers.one_armed, True),
    Check("hairpin", answers.hairpin, True),
    Check("own-connections", answers.own_connections, True),
    Check("foreign-tables", tables.check),
    Check("foreign-filter", firewall.check),
    Check("foreign-nat", rewriting.translations, True),
    Check("untracked", rewriting.untracked, True),
    Check("foreign-masquerade", rewriting.sources, True),
    Check("foreign-marks", rewriting.marks),
    Check("other-balancers", balancers.others),
    Check("local-sockets", balancers.sockets, True),
    Check("connection-table", tracking.room),
    Check("tcp-loose", tracking.loose),
    Check("sticky-maps", sticky.check),
    Check("checks-made", probing.check, True),
    Check("flush-ruleset", boot.check),
)
