"""What down, drain, reset, keep, backup and slow start mean to clients while the loop runs."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from network import VIP, Network, farm, network, wait_for

from nftlbc.sandbox import Answer, Request

pytestmark = pytest.mark.kernel

CHECK = "check tcp { interval 300ms; timeout 300ms; fall 2; rise 2 }"


def held(net: Network, count: int, port: int = 80, protocol: str = "tcp") -> list[Answer]:
    request = Request("clients", None, VIP, port, protocol, hold=True)  # type: ignore[arg-type]
    answers = net.box.ask([request] * count)
    assert {each.outcome for each in answers} == {"answered"}
    return answers


def outcomes(answers: list[Answer]) -> Counter[str]:
    return Counter(each.outcome for each in answers)


def test_connections_flows_and_sticky_clients_of_a_dead_backend(tmp_path: Path) -> None:
    """Its service ends and its machine goes on: open connections are still answered."""
    keep = farm(2, CHECK)
    reset = farm(2, CHECK, "on-down reset", name="cut", port=81)
    sticky = farm(2, CHECK, "persist source-ip for 1m", name="known", port=82)
    flows = (
        f"farm dns {{\n listen {VIP} udp port 53\n backend b1 10.0.0.1 port 53\n"
        f" backend b2 10.0.0.2 port 53\n check tcp {{ port 8080; interval 300ms; timeout 300ms;"
        " fall 2; rise 2 }\n}\n"
    )
    with network(tmp_path, keep + reset + sticky + flows) as net, net.loop() as loop:
        kept, cut, udp = held(net, 4), held(net, 4, 81), held(net, 4, 53, "udp")
        clients = [net.box.client_address(n) for n in range(8)]
        homes = [
            each.backend
            for each in net.box.ask([Request("clients", each, VIP, 82) for each in clients])
        ]
        assert set(homes) == {"10.0.0.1", "10.0.0.2"}
        # Only new connections to the checked port are refused; what is open goes on.
        net.nft("-f", "-", input=REFUSES, host="servers")
        for name in ("web", "cut", "known", "dns"):
            loop.says(f"{name}/b1 down: tcp 10.0.0.1:8080 connection refused, 2 of 2")
        loop.says("2 open connections were reset")
        loop.says("2 UDP flows are balanced anew with the next packet")
        of_b1 = [each for each in cut if each.backend == "10.0.0.1"]
        assert outcomes(net.box.listen(of_b1)) == {"reset": 2}
        assert outcomes(net.box.talk(kept)) == {"answered": 4}
        assert outcomes(net.box.talk([each for each in cut if each not in of_b1])) == {
            "answered": 2
        }
        assert {each.backend for each in net.box.talk(udp)} == {"10.0.0.2"}
        again = net.box.ask([Request("clients", each, VIP, 82) for each in clients])
        assert {each.backend for each in again} == {"10.0.0.2"}
        net.nft("flush", "ruleset", host="servers")
        loop.says("known/b1 up")
        again = net.box.ask([Request("clients", each, VIP, 82) for each in clients])
        assert {each.backend for each in again} == {"10.0.0.2"}  # they have a home
        loop.says("web/b1 up")
        loop.says("cut/b1 up")
        assert net.who(4, 81) == {"10.0.0.1": 2, "10.0.0.2": 2}


REFUSES = """
table inet refuses {
    chain arriving {
        type filter hook input priority 0
        ip daddr 10.0.0.1 tcp dport 8080 tcp flags & (syn | ack) == syn reject with tcp reset
    }
}
"""


def test_keep_the_last_and_backups(tmp_path: Path) -> None:
    keeps = farm(2, CHECK, "when-all-down keep")
    spare = farm(2, CHECK, "backend spare 10.0.0.9 port 8080 backup", name="spared", port=81)
    with network(tmp_path, keeps + spare) as net, net.loop() as loop:
        assert set(net.who(6, 81)) == {"10.0.0.1", "10.0.0.2"}
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down")
        time.sleep(1.1)  # not in the same second: the last one counts
        net.box.stop_servers("10.0.0.2")
        loop.says("web: below its quorum: 0 of 1 take new clients, the last ones that were up")
        loop.says("spared: below its quorum: 0 of 1 take new clients, 1 in reserve helps")
        assert net.who(2, 81) == {"10.0.0.9": 2}
        # The last one is tried all the same: who knows what its check is worth.
        net.nft("flush", "ruleset", host="servers")
        assert net.who(2) == {"10.0.0.2": 2}
        loop.says("spared: at its quorum again")
        loop.says("web/b1 up")
        loop.says("spared/b1 up")
        loop.says("spared/b2 up")
        assert net.who(4, 81) == {"10.0.0.1": 2, "10.0.0.2": 2}


def test_slow_start_climbs(tmp_path: Path) -> None:
    with network(tmp_path, farm(2, CHECK, "slow-start 6s")) as net:
        with net.loop(every="300ms") as loop:
            net.box.stop_servers("10.0.0.1")
            loop.says("web/b1 down")
            assert net.who(8) == {"10.0.0.2": 8}
            net.box.start_servers("10.0.0.1")
            back = loop.says("web/b1 up")
            seen = []
            while not seen or seen[-1] < 0.5:
                assert time.monotonic() < back + 30, seen
                found = net.who(64)
                seen.append(found["10.0.0.1"] / found.total())
                # By the second and the tick in which it is seen, and the slots that there are.
                weight = 0.1 + 0.9 * (time.monotonic() - back + 1.5) / 6
                assert seen[-1] <= weight / (1 + weight) + 2 / 32
                time.sleep(0.5)
            assert time.monotonic() > back + 4
            rising = [later >= sooner - 0.04 for sooner, later in pairwise(seen)]
            assert all(rising), seen


def test_dynamic_weights_take_clients_off_a_busy_backend(tmp_path: Path) -> None:
    """Connections that stay open at one of two: the other one gets more of the new ones."""
    text = farm(2, CHECK, "balance least-connections")
    with network(tmp_path, text) as net, net.loop(every="200ms") as loop:
        connections = held(net, 60)
        mine = [each for each in connections if each.backend == "10.0.0.2"]
        net.box.release(mine)
        wait_for(lambda: net.who(32)["10.0.0.2"] > 20)
        # The averages are written silently.
        loop.close()
        assert loop.text == ""
        records = net.nft("list", "table", "inet", "nftlbc")
        assert records.count("weight=") == 2
