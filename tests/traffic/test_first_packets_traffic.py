"""No rule sees an established packet: the table costs a connection's first packet alone."""

from __future__ import annotations

import json

import pytest
from farms import VIP, VIP6, Balancer, balancing

from nftlbc.sandbox import Request

pytestmark = pytest.mark.kernel

FARMS = "".join(
    f"""
farm f{port} {{
    listen {VIP}, {VIP6} tcp, udp port {port}
    {line}
    backend a  10.0.0.1 port 8080
    backend a6 2001:db8:1::1 port 8080
}}
"""
    for port, line in enumerate(
        [
            "",
            "persist source-ip",
            "forward masquerade",
            "hairpin",
            "balance consistent source-ip slots 101",
            "forward snat to 10.9.9.9, 2001:db8:9::9",
            "persist source-ip, source-port, destination-ip, destination-port size 100",
        ],
        80,
    )
)
PORTS = range(80, 87)
HOOKS = ("prerouting", "output", "postrouting")


def test_only_first_packets_are_seen() -> None:
    with balancing(FARMS) as lb:
        chains = json.loads(lb.nft("-j", "list", "table", "inet", "nftlbc"))["nftables"]
        based = [each["chain"] for each in chains if each.get("chain", {}).get("hook")]
        assert {chain["hook"] for chain in based} == set(HOOKS)
        assert {chain["type"] for chain in based} == {"nat"}
        # A witness in front of each of our chains, in our own table.
        for hook in HOOKS:
            lb.nft("insert", "rule", "inet", "nftlbc", hook, "tcp", "dport", "!=", "0", "counter")
        held = lb.box.ask(
            [
                Request(host, None, vip, port, hold=True)
                for host in ("clients", "balancer")
                for vip in (VIP, VIP6)
                for port in PORTS
            ]
        )
        for _ in range(10):
            assert {answer.outcome for answer in lb.box.talk(held)} == {"answered"}
        lb.box.release(held, reset=False)
        from_elsewhere = 2 * len(PORTS)
        assert _counted(lb, "prerouting") == from_elsewhere
        assert _counted(lb, "output") == from_elsewhere
        assert _counted(lb, "postrouting") == 2 * from_elsewhere
        # The backends' own counters count connections.
        listing = lb.nft("list", "table", "inet", "nftlbc")
        assert listing.count("counter packets 2 bytes") == 2 * len(PORTS)


def _counted(lb: Balancer, chain: str) -> int:
    listing = lb.nft("list", "chain", "inet", "nftlbc", chain)
    return int(listing.split("counter packets ")[1].split()[0])
