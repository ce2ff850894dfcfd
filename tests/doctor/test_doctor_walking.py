"""What a foreign chain does to a packet, as it is worked out here and as the kernel does it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from ground import HEALTHY, inside
from tables import WEB4, load

from nftlbc.doctor.foreign.listing import _parse, _rows
from nftlbc.doctor.foreign.model import Table
from nftlbc.doctor.foreign.packet import Path, translated
from nftlbc.doctor.foreign.walking import Effect, Walk

PATH = Path(
    4, "tcp", "203.0.113.10", 80, "10.0.0.11", 8080, "clients", "servers", True, "10.0.0.0/24"
)
MATCHES = [
    "tcp dport 8080",
    "tcp dport != 8080",
    "tcp dport { 80, 443 }",
    "tcp dport { 8000-8099 }",
    "th dport 8080",
    "tcp sport < 1024",
    "udp dport 8080",
    "meta l4proto tcp",
    "meta l4proto != tcp",
    "ip protocol { tcp, udp }",
    "ip daddr 10.0.0.11",
    "ip daddr != 10.0.0.0/8",
    "ip daddr @there",
    "ip daddr 10.0.0.1-10.0.0.20",
    "ip daddr . th dport { 10.0.0.11 . 8080, 10.0.0.12 . 80 }",
    "ip saddr 10.0.0.0/24",
    "ip6 daddr 2001:db8::/32",
    "meta nfproto ipv4",
    "meta nfproto ipv6",
    'iifname "clients"',
    'iifname != "clients"',
    'oifname { "servers", "x" }',
    'oifname "serv*"',
    "ct state new",
    "ct state != new",
    "ct state { established, related }",
    "ct state established,new",
    "ct status dnat",
    "ct status & dnat == dnat",
    "ct status & (dnat | snat) == 0",
    "ct direction original",
    "ct direction reply",
    "ct mark and 0x80000000 != 0",
    "ct mark and 0x80000000 == 0",
    "ct mark 0",
    "ct original ip daddr 203.0.113.10",
    "meta l4proto tcp ct original proto-dst 81",
    "fib daddr type local",
    "fib daddr type unicast",
    "icmp type echo-request",
    "counter",
]
VERDICTS = [
    "accept",
    "drop",
    "return",
    "jump one",
    "goto one",
    "jump two",
    "reject",
    "continue",
    "counter",
    "ct state vmap { new : jump two, established : accept }",
    "tcp dport vmap { 80 : accept, 8080 : goto two }",
    "meta l4proto vmap { udp : drop }",
]


def possible(words: list[str]) -> bool:
    """nft refuses a rule for two protocols at once."""
    kinds = ("tcp ", "udp ", "icmp ", "ip protocol ", "th ", "meta l4proto ")
    families = ("ip ", "ip6 ", "meta nfproto ", "icmp ", "ct original ip ")
    return all(
        len({kind for each in words for kind in group if each.startswith(kind)}) < 2
        for group in (kinds, families)
    )


def table(seed: int) -> str:
    """A chain that nobody would write, and two that it may go to."""
    choose = random.Random(seed)

    def rules(count: int, verdicts: list[str]) -> str:
        lines = []
        for _ in range(count):
            while True:
                conditions = choose.sample(MATCHES, choose.choice((0, 1, 1, 1, 2, 3)))
                words = [*conditions, choose.choice(verdicts)]
                if possible(words):
                    break
            lines.append(" ".join(words))
        return "\n".join(lines)

    plain = [each for each in VERDICTS if "one" not in each and "two" not in each]
    below = [each for each in VERDICTS if "one" not in each and "vmap" not in each]
    policy = choose.choice(("accept", "drop"))
    return load(
        "table inet odd {\n"
        "set there { type ipv4_addr; flags interval; elements = { 10.0.0.0/28, 192.0.2.7 } }\n"
        f"chain two {{\n{rules(3, plain)}\n}}\nchain one {{\n{rules(3, below)}\n}}\n"
        f"chain forward {{\ntype filter hook forward priority 0; policy {policy};\n"
        f"{rules(5, VERDICTS)}\n}}\n}}"
    )


def parsed(listing: str) -> Table:
    return _parse("inet", "odd", _rows(listing))[0]


def walk(listing: str) -> Walk:
    found = parsed(listing)
    return Walk(found, translated(PATH)).run(found.chains["forward"])


@pytest.mark.kernel
@pytest.mark.parametrize("first", [0, 30, 2190])
def test_the_kernel_does_what_is_worked_out(first: int) -> None:
    steps: list[dict[str, str]] = [{"run": HEALTHY}]
    scripts = [table(seed) for seed in range(first, first + 30)]
    for script in scripts:
        frame = f"clients 198.51.100.7 {40000 + 2 * len(steps)} 203.0.113.10 80 syn"
        steps += [{"run": script}, {"apply": WEB4}, {"run": "nft -j list table inet odd"}]
        steps += [{"passes": frame}, {"run": "nft flush ruleset"}]
    results = inside(steps)
    certain = 0
    for script, listing, passed in zip(scripts, results[3::5], results[4::5], strict=True):
        found = walk(listing)
        possible = {end.effect is Effect.ACCEPT for end in found.ends}
        assert passed in possible, script
        if found.blocked():
            assert not passed, script
        certain += len(possible) == 1
    assert certain > 15  # else nothing was tried


def chain(*rules: list[Any], policy: str = "accept", **others: list[list[Any]]) -> Walk:
    """A walk through rules as nft's JSON has them."""
    rows: list[Any] = [{"chain": {"name": name, "handle": 1}} for name in others]
    base = {"type": "filter", "hook": "forward", "prio": 0, "policy": policy}
    rows.append({"chain": {"name": "forward", "handle": 1, **base}})
    for name, each in {"forward": list(rules), **others}.items():
        rows += [{"rule": {"chain": name, "handle": 1, "expr": rule}} for rule in each]
    return walk(json.dumps({"nftables": rows}))


MARKED = {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 5}}
DROP, ACCEPT, RETURN = {"drop": None}, {"accept": None}, {"return": None}


def test_what_depends_on_the_unknown_is_not_certain() -> None:
    assert not chain([MARKED, DROP]).blocked()
    assert not chain([MARKED, ACCEPT], policy="drop").blocked()
    assert chain([MARKED, DROP], [DROP]).blocked()
    assert not chain([{"limit": {"rate": 5, "per": "second"}}, ACCEPT], policy="drop").blocked()


def test_a_return_that_may_happen_leaves_what_follows_open() -> None:
    assert not chain([{"jump": {"target": "x"}}], x=[[MARKED, RETURN], [DROP]]).blocked()
    assert chain([{"jump": {"target": "x"}}], x=[[RETURN], [DROP]], policy="drop").blocked()
    assert not chain([{"goto": {"target": "x"}}], [DROP], x=[[RETURN]]).blocked()
    assert chain([{"jump": {"target": "x"}}], [DROP], x=[[RETURN]]).blocked()


def test_statements_that_are_not_known_are_no_claim() -> None:
    for unknown in ("update @m { ... }", {"xt": {"type": "match", "name": "bpf"}}, 7, None):
        assert not chain([unknown, ACCEPT], policy="drop").blocked()
        assert not chain([unknown, DROP]).blocked()
    odd = {"match": {"op": "==", "left": {"osf": {"key": "name"}}, "right": "Linux"}}
    assert not chain([odd, DROP]).blocked()
    assert not chain([{"match": {"left": {"&": 7}}}, DROP]).blocked()


def test_chains_that_call_each_other_come_to_an_end() -> None:
    """The kernel takes no such table, but what is read here may be anything."""
    found = chain([{"jump": {"target": "x"}}] * 1, x=[[{"jump": {"target": "x"}}]] * 50)
    assert not found.blocked()
