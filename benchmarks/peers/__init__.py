"""The balancers that are measured beside each other: one file each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.network import Network
from benchmarks.peers import haproxy, iptables, limits, nftlb, nginx, ours
from benchmarks.peers.peer import Peer

Make = Callable[[Network, Path], Peer]

LIMITS: dict[str, Make] = {
    "no NAT": limits.Nothing,
    "conntrack only": limits.Tracking,
    "one dnat rule": limits.OneRule,
}
"""What the kernel takes for less than balancing."""
KERNEL: dict[str, Make] = {
    "nftlbc": ours.Ours,
    "nftlb": nftlb.Nftlb,
    "iptables": iptables.Iptables,
}
PROXIES: dict[str, Make] = {"haproxy": haproxy.Haproxy, "nginx": nginx.Nginx}
