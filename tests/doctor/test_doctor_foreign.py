"""Other people's tables, for real: what stands in the way is found, what does not is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ground import HEALTHY, WEB, Report, examined, inside, mended

pytestmark = pytest.mark.kernel

WEB4 = """\
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
}
"""
DNS = """\
farm dns {
    listen 203.0.113.10 udp port 53
    backend ns1 10.0.0.53
}
"""


def load(table: str) -> str:
    return f"nft -f - <<'END'\n{table}\nEND\n"


def forward(*rules: str, policy: str = "drop", family: str = "inet") -> str:
    lines = "\n".join(rules)
    hook = f"type filter hook forward priority 0; policy {policy};"
    return load(
        f"table {family} fw {{\nchain other {{\n}}\nchain forward {{\n{hook}\n{lines}\n}}\n}}"
    )


ANSWERS = "ct state established,related accept"


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


@pytest.mark.parametrize("farms", [WEB, WEB4, ""])
def test_a_forward_chain_that_drops(farms: str) -> None:
    cases = [forward(*rules) for rules in (DROPPING if farms != WEB4 else DROPPING + DROPPING_WEB)]
    for case, (before, after) in mended_each(farms, "foreign-filter", *cases).items():
        assert before.wrong == {"foreign-filter": "problem"}, case
        found = before.the("foreign-filter")
        assert found["commands"] == ["nft insert rule inet fw forward ct status dnat accept"]
        assert "table inet fw" in found["what"]
        assert after.wrong == {}, case


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


def test_a_forward_chain_that_lets_them_through() -> None:
    tcps = "add table inet fw\nadd chain inet fw tcps\nadd rule inet fw tcps tcp dport 1-65535 accept\n"
    cases = [load(tcps) + forward(*rules) for rules in LETTING_THROUGH]
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


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr 10.0.0.11 tcp dport 8080 drop",
        "ip daddr @blocked reject",
        'iifname "clients" jump other',
        "ct state new goto other",
        "ct state { new, invalid } drop",
        "tcp dport 8080 drop",
        "ip saddr 10.0.0.11 drop",
    ],
)
def test_a_rule_that_drops(rule: str) -> None:
    table = load(
        "table inet fw {\nset blocked { type ipv4_addr; flags interval; elements = { 10.0.0.0/24 } }\n"
        "chain other {\nmeta l4proto udp return\ndrop\n}\n"
        f"chain forward {{ type filter hook forward priority 10;\n{rule}\n}}\n}}"
    )
    before, after = mended(WEB4, "foreign-filter", table)
    assert before.wrong == {"foreign-filter": "problem"}
    assert after.wrong == {}


@pytest.mark.parametrize(
    "rule",
    [
        "udp dport 8080 drop",
        "tcp dport 80 drop",  # the port that clients asked for is not there any more
        "ip daddr 203.0.113.10 drop",
        "ip6 daddr 2001:db8::/32 drop",
        "ct state invalid drop",
        "meta l4proto udp jump other",
        "ip saddr 198.51.100.0/24 drop",
        "limit rate over 100/second drop",
    ],
)
def test_a_rule_that_drops_something_else(rule: str) -> None:
    table = load(
        "table inet fw {\nchain other {\ndrop\n}\n"
        f"chain forward {{ type filter hook forward priority 10;\n{rule}\n}}\n}}"
    )
    assert examined(WEB4, table).wrong == {}


def test_each_of_two_chains_that_drop_is_told() -> None:
    tables = forward() + forward(family="ip").replace(" fw ", " fw2 ")
    before, after = mended(WEB4, "foreign-filter", tables)
    assert len(before.all("foreign-filter")) == 2
    assert after.wrong == {}


def test_only_the_farm_that_is_dropped_is_told() -> None:
    report = examined(WEB4 + DNS, forward("meta l4proto udp accept"))
    assert report.the("foreign-filter")["affects"] == ["farm web"]


def test_a_table_of_the_other_family_is_none_of_ours() -> None:
    assert examined(WEB4, forward(family="ip6")).wrong == {}


def test_a_dormant_table_does_nothing() -> None:
    table = load(
        "table inet fw {\nflags dormant\n"
        "chain forward { type filter hook forward priority 0; policy drop; }\n}"
    )
    assert examined(WEB4, table).wrong == {}


@pytest.mark.parametrize(
    ("hook", "rule"),
    [
        ("prerouting priority -300", "ip daddr 203.0.113.10 tcp dport 80 drop"),
        ("prerouting priority -150", "ct state new ip daddr 203.0.113.10 drop"),
        ("prerouting priority -150", "ip saddr 10.0.0.11 tcp sport 8080 drop"),
    ],
)
def test_dropped_before_it_is_translated(hook: str, rule: str) -> None:
    table = load(f"table inet fw {{\nchain early {{ type filter hook {hook};\n{rule}\n}}\n}}")
    before, after = mended(WEB4, "foreign-filter", table)
    assert before.wrong == {"foreign-filter": "problem"}
    assert after.wrong == {}


def test_dropped_where_it_comes_in() -> None:
    """nft 1.0.6 does not tell which interface an ingress chain is for; then nothing is claimed."""
    table = load(
        'table netdev fw {\nchain in { type filter hook ingress device "clients" priority 0;\n'
        "ip daddr 203.0.113.10 drop\n}\n}"
    )
    report = examined(WEB4, table)
    assert report.wrong in ({}, {"foreign-filter": "problem"})


def nat(*rules: str, priority: int = -100, chain: str = "pre") -> str:
    lines = "\n".join(rules)
    hook = f"type nat hook prerouting priority {priority};"
    other = "chain other {\ndnat to 10.0.0.99\n}\n"
    return load(f"table ip theirs {{\n{other}chain {chain} {{\n{hook}\n{lines}\n}}\n}}")


@pytest.mark.parametrize("priority", [-100, -105])
@pytest.mark.parametrize(
    "rule",
    [
        "tcp dport 80 dnat to 10.0.0.99:80",
        "ip daddr 203.0.113.10 tcp dport 80 redirect to :8000",
        "fib daddr type local jump other",
        "ip daddr 203.0.113.0/24 meta l4proto tcp goto other",
        "tcp dport vmap { 80 : goto other }",
        "ip daddr { 203.0.113.9-203.0.113.11 } tcp dport { 80, 443 } dnat to 10.0.0.99",
    ],
)
def test_a_nat_chain_that_translates_a_listener(rule: str, priority: int) -> None:
    before, after = mended(WEB4, "foreign-nat", nat(rule, priority=priority))
    assert before.wrong == {"foreign-nat": "problem"}
    assert before.the("foreign-nat")["commands"] == [
        "nft insert rule ip theirs pre ip daddr 203.0.113.10 tcp dport 80 accept"
    ]
    assert after.wrong == {}


def test_a_nat_chain_that_translates_some_clients() -> None:
    rule = "ip saddr 198.51.100.0/24 tcp dport 80 dnat to 10.0.0.99:80"
    assert examined(WEB4, nat(rule)).wrong == {"foreign-nat": "warning"}


@pytest.mark.parametrize(
    ("rule", "priority"),
    [
        ("tcp dport 81 dnat to 10.0.0.99:80", -100),
        ("udp dport 80 dnat to 10.0.0.99:80", -100),
        ("ip daddr 203.0.113.11 tcp dport 80 dnat to 10.0.0.99:80", -100),
        ('iifname "servers" tcp dport 80 dnat to 10.0.0.99:80', -100),
        ("fib daddr type unicast tcp dport 80 dnat to 10.0.0.99:80", -100),
        ("tcp dport 80 dnat to 10.0.0.99:80", -90),  # ours has been there before
    ],
)
def test_a_nat_chain_that_translates_something_else(rule: str, priority: int) -> None:
    assert examined(WEB4, nat(rule, priority=priority)).wrong == {}


@pytest.mark.parametrize(
    "rule",
    [
        "udp dport 53 notrack",
        "ip daddr 203.0.113.10 notrack",
        'iifname "clients" udp dport { 53, 5353 } notrack',
        "udp sport 53 notrack",
    ],
)
def test_packets_that_are_not_tracked(rule: str) -> None:
    table = load(
        f"table ip raw2 {{\nchain pre {{ type filter hook prerouting priority -300;\n{rule}\n}}\n}}"
    )
    before, after = mended(DNS, "untracked", table)
    assert before.wrong == {"untracked": "problem"}
    assert after.wrong == {}
    assert examined(WEB4, table.replace("ip daddr 203.0.113.10", "udp dport 53")).wrong == {}


def test_notrack_behind_tracking_does_nothing() -> None:
    table = load(
        "table ip raw2 {\nchain pre { type filter hook prerouting priority -150;\nnotrack\n}\n}"
    )
    assert examined(DNS, table).wrong == {}


def post(rule: str) -> str:
    hook = "type nat hook postrouting priority 100;"
    return load(f"table ip theirs {{\nchain post {{ {hook}\n{rule}\n}}\n}}")


@pytest.mark.parametrize(
    "rule", ['oifname "servers" masquerade', "ip daddr 10.0.0.0/8 snat to 10.0.0.1"]
)
def test_somebody_else_replaces_the_clients_addresses(rule: str) -> None:
    before, after = mended(WEB4, "foreign-masquerade", post(rule))
    assert before.wrong == {"foreign-masquerade": "warning"}
    assert after.wrong == {}
    masquerading = WEB4.replace("listen", "forward masquerade\n    listen")
    assert examined(masquerading, post(rule)).wrong == {}


def test_masquerading_towards_the_clients_is_common_and_harmless() -> None:
    assert examined(WEB4, post('oifname "clients" masquerade')).wrong == {}


def mangle(*rules: str, hook: str = "prerouting", priority: int = -150) -> str:
    lines = "\n".join(rules)
    head = f"type filter hook {hook} priority {priority};"
    return load(f"table inet wan {{\nchain marks {{ {head}\n{lines}\n}}\n}}")


@pytest.mark.parametrize("farms", [WEB4, ""])
@pytest.mark.parametrize(
    "table",
    [
        mangle("ct mark != 0 meta mark set ct mark"),
        mangle("meta mark set ct mark"),
        mangle("meta mark set ct mark and 0xff"),
        mangle("ct state established meta mark set ct mark"),
        mangle("ct mark set meta mark", hook="postrouting"),
        mangle("ct mark set ct mark or 0x10", hook="forward"),
    ],
)
def test_connection_marks_that_are_saved_or_restored(table: str, farms: str) -> None:
    before, after = mended(farms, "foreign-marks", table)
    assert before.wrong == {"foreign-marks": "problem"}
    found = before.the("foreign-marks")
    assert "ct mark and 0x80000000 == 0" in found["mend"]
    assert "handle" in found["what"]
    assert after.wrong == {}


def test_the_guard_that_is_told_mends_it() -> None:
    guarded = mangle("ct mark and 0x80000000 == 0 ct mark != 0 meta mark set ct mark")
    assert examined(WEB4, guarded).wrong == {}
    assert examined("", guarded).wrong == {}


@pytest.mark.parametrize(
    "table",
    [
        # Set before ours is, and never read: ours overwrites it.
        mangle('ct state new iifname "clients" ct mark set 0x1'),
        mangle("ct mark 0x1 meta mark set ct mark"),
        mangle("ct mark { 1, 2, 3 } meta mark set ct mark"),
        mangle("ct mark and 0x80000000 != 0 return", "meta mark set ct mark"),
        mangle("meta mark set 0x1"),
        mangle("udp dport 53 meta mark set ct mark"),
    ],
)
def test_marks_that_are_none_of_ours(table: str) -> None:
    assert examined(WEB4, table).wrong == {}


def test_without_farms_some_marks_can_not_be_told_apart() -> None:
    table = mangle('iifname "wan2" meta mark set ct mark')
    assert examined("", table).wrong == {"foreign-marks": "warning"}
    assert examined(WEB4, table).wrong == {}


def test_a_chain_that_also_decides_is_not_to_be_left_early() -> None:
    table = load(
        "table inet fw {\nchain forward { type filter hook forward priority 0; policy drop;\n"
        "meta mark set ct mark\nct status dnat accept\n}\n}"
    )
    found = examined(WEB4, table).the("foreign-marks")
    assert found["verdict"] == "problem"
    assert found["commands"] == []


@pytest.fixture
def dying(tmp_path: Path) -> str:
    """A PATH whose nft dies over one table, as old ones do over what a new one wrote."""
    program = tmp_path / "nft"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *"list table inet newer"*) kill -SEGV $$;; esac\n'
        'exec /usr/sbin/nft "$@"\n'
    )
    program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_an_nft_that_dies_costs_one_table(dying: str) -> None:
    tables = load("table inet newer {\nchain c {\n}\n}") + forward()
    report = examined(WEB4, tables, path=dying)
    assert report.wrong == {"foreign-tables": "not checked", "foreign-filter": "problem"}
    found = report.the("foreign-tables")["what"]
    assert "table inet newer" in found
    assert "died by SIGSEGV" in found


def test_ours_is_no_foreign_table() -> None:
    table = load(
        "table inet nftlbc {\nchain c { type filter hook forward priority 0; policy drop; }\n}"
    )
    assert examined(WEB4, table).wrong == {}


def test_a_user_without_rights_is_told() -> None:
    before = "setpriv --bounding-set=-all --inh-caps=-all nft list tables 2>&1 || true"
    (_, said) = inside([{"run": HEALTHY}, {"run": before}])
    assert "ermitted" in said
    assert isinstance(examined(WEB4), Report)
