"""Loading over what runs: under load, over other tables, and when it fails."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import cycle

import pytest
from farms import VIP, VIP6, Balancer, balancing, compiled

from nftlbc.sandbox import Request

pytestmark = pytest.mark.kernel


def farms(number: int) -> str:
    """A set of farms of which two stay, in all that matters to a connection; the rest changes."""
    weight, port = 1 + number % 3, 8080 + number % 2
    listen = f"listen {VIP}, {VIP6}"
    sticky = "".join(
        f"    backend s{n}  10.0.1.{n} port 8080 weight {1 + (n + number) % 3}\n"
        f"    backend s{n}6 2001:db8:1::{n} port 8080\n"
        for n in range(1, 4)
    )
    changing = f"""
farm web {{
    {listen} tcp port 80
    {listen} tcp port 1000-1999
    {"balance hash source-ip" if number % 4 == 1 else ""}
    backend a  10.0.0.1 port {port} weight {weight}
    backend b  10.0.0.2 port 8080 weight {4 - weight} {"state drain" if number % 5 == 3 else ""}
    backend a6 2001:db8:1::1 port {port} weight {weight}
    backend b6 2001:db8:1::2 port 8080
    {"backend c 10.0.0.3 port 8080" if number % 2 else ""}
}}
farm udp {{
    {listen} udp port 53 {"to 8080" if number % 3 else "to 8081"}
    {"forward masquerade" if number % 2 else ""}
    {"hairpin" if number % 3 == 1 else ""}
    backend d  10.0.0.4
    backend d6 2001:db8:1::4
}}
farm sticky {{
    {listen} tcp port 443
    persist source-ip
{sticky}}}
farm hashed {{
    {listen} tcp port 444
    persist source-ip, source-port
{sticky}}}
"""
    others = "".join(
        f"""
farm other{n} {{
    {listen} tcp port {5000 + n} {"to 99" if n % 2 else ""}
    {"persist source-ip size 64" if n % 3 == 0 else ""}
    backend x 10.0.9.1 port 8080 {"state down" if n % 4 == 0 else ""}
    backend x6 2001:db8:9::1 port 8080
}}
"""
        for n in range(number % 7, 12)
    )
    return changing + others


SETS = [farms(number) for number in range(12)]


def test_a_reload_under_load_costs_no_connection() -> None:
    scripts = [compiled(text) for text in SETS]
    assert len(set(scripts)) == len(scripts)
    with balancing(SETS[0], *SETS[1:]) as lb:
        traffic = [lb.box.start(requests, parallel=4) for requests in _requests(lb)]
        for _, script in zip(range(60), cycle(scripts)):
            lb.load_script(script)
        answers = [answer for each in traffic for answer in each.stop()]
        assert len(answers) > 1000
        failed = [answer for answer in answers if answer.outcome != "answered"]
        assert not failed, failed[:5]
        homes = defaultdict(set)
        for answer in answers:
            if answer.request.port in (443, 444):
                key = (answer.request.source, answer.request.address, answer.request.port)
                homes[key].add(answer.backend)
        assert len(homes) == 80
        for key, backends in homes.items():
            assert len(backends) == 1, key
        assert len({backend for backends in homes.values() for backend in backends}) == 6


def _requests(lb: Balancer) -> list[list[Request]]:
    changing, staying = [], []
    for family, vip in ((4, VIP), (6, VIP6)):
        clients = [lb.client(number, family) for number in range(20)]
        changing += [Request("clients", None, vip, port) for port in (80, 1000, 1500, 1999)]
        changing.append(Request("clients", None, vip, 53, "udp"))
        staying += [Request("clients", client, vip, 443) for client in clients]
        # One source port each, so that the client is the same every time.
        staying += [
            Request("clients", client, vip, 444, source_port=40000 + number)
            for number, client in enumerate(clients)
        ]
    return [changing, staying]


def test_a_packet_between_two_tables_is_not_refused() -> None:
    """It has its slot's number by an old rule, and the slot is gone: the next try finds the new."""
    with balancing(SETS[0]) as lb:
        [slots] = [
            line.split()[1]
            for line in lb.nft("list", "maps").splitlines()
            if line.startswith("\tmap slots_")
        ]
        asked = [Request("clients", None, vip, port) for vip in (VIP, VIP6) for port in (80, 443)]
        lb.nft("flush", "map", "inet", "nftlbc", slots)
        traffic = lb.box.start(asked, parallel=len(asked), timeout=5, repeat=False)
        time.sleep(0.3)  # so that they are on their way; they try again after a second
        lb.load(SETS[0])
        answers = traffic.stop()
        assert [answer.outcome for answer in answers] == ["answered"] * len(asked)


def test_traffic_is_the_same_over_any_older_table() -> None:
    """Whatever ran before: each farm's first connections are those of an empty machine."""
    with balancing(SETS[5], *SETS) as lb:
        fresh = _probe(lb)
        assert len(set(fresh)) > 6
    for before in (
        SETS[0],
        SETS[11],
        "farm f { listen 203.0.113.10 udp port 9\n backend x 10.0.9.1 }",
    ):
        with balancing(before, *SETS) as lb:
            lb.ask(3)
            lb.ask(2, VIP, 53, "udp", source=lb.client(500))
            lb.load(SETS[5])
            assert _probe(lb) == fresh


def _probe(lb: Balancer) -> list[str]:
    found = []
    for vip in (VIP, VIP6):
        for port in (80, 1500, 443, 444, *range(5000, 5012)):
            answers = [
                lb.ask(1, vip, port, source=lb.client(number, 6 if vip == VIP6 else 4))[0]
                for number in (1, 2, 1, 3, 2)
            ]
            found += [
                f"{port} {name} {answer.backend_port}"
                for answer, name in zip(answers, lb.named(answers), strict=True)
            ]
        found += lb.named(lb.ask(3, vip, 53, "udp"))
    return found


def test_a_script_that_fails_changes_nothing() -> None:
    with balancing(SETS[1], *SETS) as lb:
        known = lb.named(lb.ask_from([lb.client(number) for number in range(6)], VIP, 443))
        before = lb.nft("-a", "list", "table", "inet", "nftlbc").replace("expires", "\nexpires")
        for line in (
            "add element inet nftlbc slots_1024 { 1 : goto nowhere }\n",
            "add rule inet nftlbc pick ip daddr @nowhere drop\n",
            "add rule inet nftlbc output masquerade\n",
            "this is no command\n",
        ):
            done = lb.box.load(compiled(SETS[2]) + line)
            assert done.returncode != 0
            after = lb.nft("-a", "list", "table", "inet", "nftlbc").replace("expires", "\nexpires")
            keep = [row for row in before.splitlines() if not row.startswith("expires")]
            assert [row for row in after.splitlines() if not row.startswith("expires")] == keep
        assert lb.named(lb.ask_from([lb.client(number) for number in range(6)], VIP, 443)) == known
        assert {answer.outcome for answer in lb.ask(8)} == {"answered"}


def test_no_farms_at_all_is_a_table_too() -> None:
    with balancing(SETS[0]) as lb:
        lb.load("")
        assert set(lb.named(lb.ask(2) + lb.ask(2, VIP6, 443))) == {"refused"}
        lb.load(SETS[0])
        assert {answer.outcome for answer in lb.ask(8)} == {"answered"}
