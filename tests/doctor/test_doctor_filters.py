"""Foreign chains that drop, for real: found where they stand in the way, and let be where not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ground import WEB, each, examined, inside, mended, mended_each
from tables import ANSWERS, DNS, WEB4, chain, forward, load

pytestmark = pytest.mark.kernel

DROPPING = [
    (),
    (ANSWERS,),
    ("ct state vmap { established : accept, related : accept, invalid : drop }",),
    ("ct state invalid drop", "ct direction reply accept"),
    ("ct status snat ct direction reply accept", "ct mark 0 accept"),
]
DROPPING_WEB = [
    (ANSWERS, "jump other", 'iifname "lo" accept'),
    (ANSWERS, "meta l4proto icmp accept"),
    (ANSWERS, "ip daddr 192.0.2.0/24 accept", "tcp dport 80 accept"),
]
LETTING_THROUGH = [
    ("ct status dnat accept",),
    (ANSWERS, "ct state new ct status dnat accept"),
    (ANSWERS, "ct status & dnat == dnat accept"),
    (ANSWERS, "ct mark and 0x80000000 != 0 accept"),
    (ANSWERS, "ct mark & 0x80000000 == 0x80000000 accept"),
    (ANSWERS, "ip daddr 10.0.0.0/24 tcp dport 8080 accept"),
    (ANSWERS, "ip daddr { 10.0.0.0-10.0.0.99 } tcp dport { 80, 8000-8999 } accept"),
    (ANSWERS, 'iifname "clients" oifname "servers" accept'),
    (ANSWERS, 'iifname "client*" oifname { "servers", "other" } accept'),
    (ANSWERS, "ct original ip daddr 203.0.113.10 accept"),
    (ANSWERS, "ip daddr . tcp dport vmap { 10.0.0.11 . 8080 : accept }"),
    (ANSWERS, "meta l4proto vmap { tcp : jump tcps }"),
    (ANSWERS, "meta nfproto ipv4 goto tcps"),
    # Which clients may come is the owner's business.
    (ANSWERS, "ip saddr 198.51.100.0/24 accept"),
    (ANSWERS, "limit rate 100/second accept"),
    (ANSWERS, "meta mark 0x5 accept"),
]
A_RULE_THAT_DROPS = [
    "ip daddr 10.0.0.11 tcp dport 8080 drop",
    "ip daddr @blocked reject",
    'iifname "clients" jump other',
    "ct state new goto other",
    "ct state { new, invalid } drop",
    "tcp dport 8080 drop",
    "ip saddr 10.0.0.11 drop",
]
A_RULE_THAT_DROPS_SOMETHING_ELSE = [
    "udp dport 8080 drop",
    "tcp dport 80 drop",  # the port that clients asked for is not there any more
    "ip daddr 203.0.113.10 drop",
    "ip6 daddr 2001:db8::/32 drop",
    "ct state invalid drop",
    "meta l4proto udp jump other",
    "ip saddr 198.51.100.0/24 drop",
    "limit rate over 100/second drop",
]


@pytest.mark.parametrize("farms", [WEB, WEB4, ""])
def test_a_forward_chain_that_drops(farms: str) -> None:
    cases = [forward(*rules) for rules in DROPPING + (DROPPING_WEB if farms == WEB4 else [])]
    for case, (before, after) in mended_each(farms, "foreign-filter", *cases).items():
        assert before.wrong == {"foreign-filter": "problem"}, case
        found = before.the("foreign-filter")
        assert found["commands"] == ["nft insert rule inet fw at-forward ct status dnat accept"]
        assert "table inet fw" in found["what"]
        assert after.wrong == {}, case


def test_a_forward_chain_that_lets_them_through() -> None:
    tcps = load("table inet fw {\nchain tcps {\ntcp dport 1-65535 accept\n}\n}")
    cases = [tcps + forward(*rules) for rules in LETTING_THROUGH]
    for case, report in each(WEB4, *cases).items():
        assert report.wrong == {}, case


def test_only_the_answers_are_dropped() -> None:
    """Clients may be anywhere but in the backends' own network."""
    places = ("10.0.0.11", "10.0.0.0/25", "10.0.0.1-10.0.0.99")
    cases = [forward(f"ip daddr {place} accept") for place in places]
    for case, (before, after) in mended_each(WEB4, "foreign-filter", *cases).items():
        assert before.wrong == {"foreign-filter": "problem"}, case
        assert "answers" in before.the("foreign-filter")["what"]
        assert after.wrong == {}, case


def test_a_rule_that_drops() -> None:
    other = (
        "set blocked { type ipv4_addr; flags interval; elements = { 10.0.0.0/24 } }\n"
        "chain other {\nmeta l4proto udp return\ndrop\n}"
    )
    hook = "filter hook forward priority 10"
    cases = [chain("inet fw", hook, rule, before=other) for rule in A_RULE_THAT_DROPS]
    for case, (before, after) in mended_each(WEB4, "foreign-filter", *cases).items():
        assert before.wrong == {"foreign-filter": "problem"}, case
        assert after.wrong == {}, case


def test_a_rule_that_drops_something_else() -> None:
    other, hook = "chain other {\ndrop\n}", "filter hook forward priority 10"
    rules = A_RULE_THAT_DROPS_SOMETHING_ELSE
    cases = [chain("inet fw", hook, rule, before=other) for rule in rules]
    for case, report in each(WEB4, *cases).items():
        assert report.wrong == {}, case


def test_each_of_two_chains_that_drop_is_told() -> None:
    tables = forward() + forward(family="ip")
    before, after = mended(WEB4, "foreign-filter", tables)
    assert len(before.all("foreign-filter")) == 2
    assert after.wrong == {}


def test_only_the_farm_that_is_dropped_is_told() -> None:
    report = examined(WEB4 + DNS, forward("meta l4proto udp accept"))
    assert report.the("foreign-filter")["affects"] == ["farm web"]


def test_tables_that_do_nothing_to_our_packets() -> None:
    hook = "filter hook forward priority 0; policy drop"
    cases = [
        forward(family="ip6"),
        chain("inet fw", hook, before="flags dormant;"),
        chain("inet nftlbc", hook),  # ours: it knows what it does
        chain("inet fw", "filter hook input priority 0; policy drop"),
        chain("inet fw", "filter hook output priority 0; policy drop"),
    ]
    for case, report in each(WEB4, *cases).items():
        assert report.wrong == {}, case


def test_dropped_before_it_is_translated() -> None:
    cases = [
        chain("inet fw", f"filter hook prerouting priority {priority}", rule)
        for priority, rule in (
            (-300, "ip daddr 203.0.113.10 tcp dport 80 drop"),
            (-150, "ct state new ip daddr 203.0.113.10 drop"),
            (-150, "ip saddr 10.0.0.11 tcp sport 8080 drop"),
        )
    ]
    for case, (before, after) in mended_each(WEB4, "foreign-filter", *cases).items():
        assert before.wrong == {"foreign-filter": "problem"}, case
        assert after.wrong == {}, case


def test_dropped_where_it_comes_in() -> None:
    """nft 1.0.6 does not tell which interface an ingress chain is for; then nothing is claimed."""
    table = (
        'table netdev fw {\nchain in { type filter hook ingress device "clients" priority 0;\n'
        "ip daddr 203.0.113.10 drop\n}\n}"
    )
    steps = [{"run": load(table)}, {"run": "nft -j list table netdev fw"}]
    told = '"dev"' in inside([{"run": "ip link add clients type veth"}, *steps])[-1]
    report = examined(WEB4, load(table))
    assert report.wrong == ({"foreign-filter": "problem"} if told else {})


def test_an_nft_that_dies_costs_one_table(tmp_path: Path) -> None:
    """Old ones do, over what a new one wrote."""
    program = tmp_path / "nft"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *"list table inet newer"*) kill -SEGV $$;; esac\n'
        'exec /usr/sbin/nft "$@"\n'
    )
    program.chmod(0o755)
    tables = load("table inet newer {\nchain c {\n}\n}") + forward()
    report = examined(WEB4, tables, path=f"{tmp_path}:{os.environ['PATH']}")
    assert report.wrong == {"foreign-tables": "not checked", "foreign-filter": "problem"}
    found = report.the("foreign-tables")["what"]
    assert "table inet newer" in found
    assert "died by SIGSEGV" in found
