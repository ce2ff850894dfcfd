"""Foreign chains that translate, leave untracked, replace sources or use connection marks."""

from __future__ import annotations

import pytest
from ground import each, mended_each
from tables import ANSWERS, DNS, WEB4, chain, mangle, nat, post, raw

pytestmark = pytest.mark.kernel

TRANSLATING = [
    "tcp dport 80 dnat to 10.0.0.99:80",
    "ip daddr 203.0.113.10 tcp dport 80 redirect to :8000",
    "fib daddr type local jump other",
    "ip daddr 203.0.113.0/24 meta l4proto tcp goto other",
    "tcp dport vmap { 80 : goto other }",
    "ip daddr { 203.0.113.9-203.0.113.11 } tcp dport { 80, 443 } dnat to 10.0.0.99",
]
TRANSLATING_SOMETHING_ELSE = [
    nat("tcp dport 81 dnat to 10.0.0.99:80"),
    nat("udp dport 80 dnat to 10.0.0.99:80"),
    nat("ip daddr 203.0.113.11 tcp dport 80 dnat to 10.0.0.99:80"),
    nat('iifname "servers" tcp dport 80 dnat to 10.0.0.99:80'),
    nat("fib daddr type unicast tcp dport 80 dnat to 10.0.0.99:80"),
    nat("ip daddr 203.0.113.10 accept", "tcp dport 80 dnat to 10.0.0.99:80"),
    # Ours has been there before.
    nat("tcp dport 80 dnat to 10.0.0.99:80", priority=-90),
]
UNTRACKING = [
    "udp dport 53 notrack",
    "ip daddr 203.0.113.10 notrack",
    'iifname "clients" udp dport { 53, 5353 } notrack',
    "udp sport 53 notrack",
]
REPLACING = ['oifname "servers" masquerade', "ip daddr 10.0.0.0/8 snat to 10.0.0.1"]
MARKING = [
    mangle("ct mark != 0 meta mark set ct mark"),
    mangle("meta mark set ct mark"),
    mangle("meta mark set ct mark and 0xff"),
    mangle("ct state established meta mark set ct mark"),
    mangle("ct mark set meta mark", hook="postrouting"),
    mangle("ct mark set ct mark or 0x10", hook="forward"),
]
GUARDED = mangle("ct mark and 0x80000000 == 0 ct mark != 0 meta mark set ct mark")
MARKING_OTHERS = [
    GUARDED,
    # Set before ours is, and never read: ours overwrites it.
    mangle('ct state new iifname "clients" ct mark set 0x1'),
    mangle("ct mark 0x1 meta mark set ct mark"),
    mangle("ct mark { 1, 2, 3 } meta mark set ct mark"),
    mangle("ct mark and 0x80000000 != 0 return", "meta mark set ct mark"),
    mangle("meta mark set 0x1"),
    mangle("udp dport 53 meta mark set ct mark"),
]


@pytest.mark.parametrize("priority", [-100, -105])
def test_a_nat_chain_that_translates_a_listener(priority: int) -> None:
    cases = [nat(rule, priority=priority) for rule in TRANSLATING]
    for case, (before, after) in mended_each(WEB4, "foreign-nat", *cases).items():
        assert before.wrong == {"foreign-nat": "problem"}, case
        assert before.the("foreign-nat")["commands"] == [
            "nft insert rule ip theirs at-prerouting ip daddr 203.0.113.10 tcp dport 80 accept"
        ]
        assert after.wrong == {}, case


def test_a_nat_chain_that_translates_some_clients() -> None:
    case = nat("ip saddr 198.51.100.0/24 tcp dport 80 dnat to 10.0.0.99:80")
    (report,) = each(WEB4, case).values()
    assert report.wrong == {"foreign-nat": "warning"}


def test_a_nat_chain_that_translates_something_else() -> None:
    for case, report in each(WEB4, *TRANSLATING_SOMETHING_ELSE).items():
        assert report.wrong == {}, case


def test_packets_that_are_not_tracked() -> None:
    cases = [raw(rule) for rule in UNTRACKING]
    for case, (before, after) in mended_each(DNS, "untracked", *cases).items():
        assert before.wrong == {"untracked": "problem"}, case
        assert after.wrong == {}, case


def test_packets_that_are_tracked_all_the_same() -> None:
    cases = [
        raw("tcp dport 53 notrack"),
        raw("udp dport 54 notrack"),
        raw("notrack", priority=-150),
    ]
    for case, report in each(DNS, *cases).items():
        assert report.wrong == {}, case


def test_somebody_else_replaces_the_clients_addresses() -> None:
    cases = [post(rule) for rule in REPLACING]
    for case, (before, after) in mended_each(WEB4, "foreign-masquerade", *cases).items():
        assert before.wrong == {"foreign-masquerade": "warning"}, case
        assert after.wrong == {}, case
    masquerading = WEB4.replace("listen", "forward masquerade\n    listen")
    for case, report in each(masquerading, *cases).items():
        assert report.wrong == {}, case


def test_masquerading_towards_the_clients_is_common_and_harmless() -> None:
    (report,) = each(WEB4, post('oifname "clients" masquerade')).values()
    assert report.wrong == {}


@pytest.mark.parametrize("farms", [WEB4, ""])
def test_connection_marks_that_are_saved_or_restored(farms: str) -> None:
    for case, (before, after) in mended_each(farms, "foreign-marks", *MARKING).items():
        assert before.wrong == {"foreign-marks": "problem"}, case
        found = before.the("foreign-marks")
        assert "ct mark and 0x80000000 == 0" in found["mend"]
        assert "handle" in found["what"]
        assert after.wrong == {}, case


def test_marks_that_are_none_of_ours() -> None:
    for case, report in each(WEB4, *MARKING_OTHERS).items():
        assert report.wrong == {}, case
    (report,) = each("", GUARDED).values()
    assert report.wrong == {}


def test_without_farms_some_marks_can_not_be_told_apart() -> None:
    case = mangle('iifname "wan2" meta mark set ct mark')
    assert each("", case)[case].wrong == {"foreign-marks": "warning"}
    assert each(WEB4, case)[case].wrong == {}


def test_a_chain_that_also_decides_is_not_to_be_left_early() -> None:
    """Leaving it would be dropped by its policy."""
    hook = "filter hook forward priority 0; policy drop"
    case = chain("inet fw", hook, "meta mark set ct mark", ANSWERS, "ct status dnat accept")
    found = each(WEB4, case)[case].the("foreign-marks")
    assert found["verdict"] == "problem"
    assert found["commands"] == []
