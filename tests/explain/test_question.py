"""What can be asked, and what a wrong question is told."""

from __future__ import annotations

import pytest

from nftlbc.explain.outcome import Packet
from nftlbc.explain.question import packet


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("198.51.100.7", "203.0.113.10:443", ("198.51.100.7", None, "203.0.113.10", 443, "tcp")),
        (
            "198.51.100.7:40000",
            "203.0.113.10:53/udp",
            ("198.51.100.7", 40000, "203.0.113.10", 53, "udp"),
        ),
        ("2001:db8::7", "[2001:db8::10]:80", ("2001:db8::7", None, "2001:db8::10", 80, "tcp")),
        (
            "[2001:DB8:0::7]:5",
            "[2001:db8:0:0::10]:65535/sctp",
            ("2001:db8::7", 5, "2001:db8::10", 65535, "sctp"),
        ),
        ("[2001:db8::7]", "[2001:db8::10]:1", ("2001:db8::7", None, "2001:db8::10", 1, "tcp")),
    ],
)
def test_what_can_be_asked(source: str, target: str, expected: tuple[object, ...]) -> None:
    asked, mistakes = packet(source, target)
    assert mistakes == []
    assert asked == Packet(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("203.0.113.10", "203.0.113.10:80"),
        ("127.0.0.1", "203.0.113.10:80"),
        ("::1", "[2001:db8::10]:80"),
    ],
)
def test_the_balancers_own_processes(source: str, target: str) -> None:
    asked, _ = packet(source, target)
    assert asked is not None
    assert asked.hook == "output"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("198.51.100.300", "203.0.113.10:80", "'198.51.100.300' is not an address"),
        ("www.example.org", "203.0.113.10:80", "'www.example.org' is not an address"),
        ("", "203.0.113.10:80", "'' is not an address"),
        ("198.51.100.7:0", "203.0.113.10:80", "port 0 is not between 1 and 65535"),
        ("198.51.100.7:", "203.0.113.10:80", "'' is not a port"),
        ("198.51.100.7:http", "203.0.113.10:80", "'http' is not a port"),
        ("198.51.100.7:\u0663", "203.0.113.10:80", "'\u0663' is not a port"),
        ("[2001:db8::7", "[2001:db8::1]:80", "'[2001:db8::7' is not [ADDRESS]:PORT"),
        ("[2001:db8::7]80", "[2001:db8::1]:80", "'[2001:db8::7]80' is not [ADDRESS]:PORT"),
        ("fe80::1%eth0", "[2001:db8::1]:80", "'fe80::1%eth0' names an interface"),
        ("198.51.100.7", "203.0.113.10", "203.0.113.10 has no port"),
        ("198.51.100.7", "203.0.113.10/udp", "203.0.113.10/udp has no port"),
        ("2001:db8::7", "2001:db8::10", "2001:db8::10 has no port"),
        ("198.51.100.7", "203.0.113.10:80800", "port 80800 is not between 1 and 65535"),
        ("198.51.100.7", "203.0.113.10:80/tpc", "'tpc' is none of tcp, udp or sctp"),
        ("198.51.100.7", "203.0.113.10:80/", "'' is none of tcp, udp or sctp"),
        (
            "198.51.100.7",
            "[2001:db8::10]:80",
            "198.51.100.7 is IPv4 and 2001:db8::10 is IPv6: no connection is both",
        ),
    ],
)
def test_what_is_wrong(source: str, target: str, message: str) -> None:
    asked, mistakes = packet(source, target)
    assert asked is None
    assert [each.message.startswith(message) for each in mistakes] == [True]


def test_both_are_told_and_a_near_word() -> None:
    _, mistakes = packet("198.51.100", "203.0.113.10:80/upd")
    assert len(mistakes) == 2
    assert mistakes[0].help is not None
    assert "198.51.100.7:40000" in mistakes[0].help
    assert mistakes[1].help == "did you mean 'udp'?"
