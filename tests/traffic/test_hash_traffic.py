"""Random and hash: shares in expectation; the same client to the same backend."""

from __future__ import annotations

from itertools import combinations
from math import sqrt

import pytest
from farms import VIP, Balancer, balancing, predicted, read

from nftlbc import pipeline
from nftlbc.sandbox import Request

pytestmark = pytest.mark.kernel

FIELDS = ("source-ip", "source-port", "destination-ip", "destination-port")
KEYS = [
    *(", ".join(keys) for count in range(1, 5) for keys in combinations(FIELDS, count)),
    "source-ip/24/112",
    "source-ip/20/100, destination-port",
    "destination-ip/31/127, source-ip/25/121",
    "source-ip/32/128",
    "source-ip/9/33, source-port, destination-ip/31/64, destination-port",
]
FARM = """
farm f{number} {{
    listen 203.0.113.10, 203.0.113.11 tcp port {first}-{last}
    listen 2001:db8::10, 2001:db8::11 tcp port {first}-{last}
    balance {balance}
    backend a  10.0.0.1 port 8080 weight 2
    backend b  10.0.0.2 port 8080
    backend c  10.0.0.3 port 8080
    backend a6 2001:db8:1::1 port 8080 weight 2
    backend b6 2001:db8:1::2 port 8080
    backend c6 2001:db8:1::3 port 8080
}}
"""
TEXT = "".join(
    FARM.format(
        number=number,
        first=1000 + 10 * number,
        last=1003 + 10 * number,
        balance=f"consistent {keys} slots 251" if number % 3 == 2 else f"hash {keys}",
    )
    for number, keys in enumerate(KEYS)
)


def test_random_gives_the_shares_in_expectation() -> None:
    text = f"""
farm web {{
    listen {VIP} tcp port 80
    balance random
    backend a 10.0.0.1 port 8080 weight 3
    backend b 10.0.0.2 port 8080 weight 2
    backend c 10.0.0.3 port 8080
}}
"""
    asked = 3000
    with balancing(text) as lb:
        names = lb.named(lb.ask(asked, parallel=32))
    assert set(names) == {"a", "b", "c"}
    for name, share in (("a", 3 / 6), ("b", 2 / 6), ("c", 1 / 6)):
        # 5.2 standard deviations: three alarms in 5 000 000 runs without a cause.
        allowed = 5.2 * sqrt(asked * share * (1 - share))
        assert abs(names.count(name) - asked * share) < allowed
    # A round robin has 3 : 2 : 1 in each six; chance has it in 14 of 100.
    sixes = [sorted(names[at : at + 6]) for at in range(0, asked, 6)]
    assert sixes.count(list("aaabbc")) < asked / 6 / 2


def test_hashes_are_the_same_on_every_load_and_as_predicted() -> None:
    with balancing(TEXT) as lb:
        first = [_asked(lb, number) for number in range(len(KEYS))]
    with balancing(TEXT) as lb:
        # Another table in another namespace; every fourth farm will do.
        for number in range(0, len(KEYS), 4):
            assert _asked(lb, number) == first[number]


def test_each_key_counts_and_no_other() -> None:
    with balancing(TEXT) as lb:
        for number, keys in enumerate(KEYS[:15]):
            answers = lb.box.ask(_requests(lb, number), parallel=32)
            found: dict[tuple[object, ...], set[str]] = {}
            for answer, name in zip(answers, lb.named(answers), strict=True):
                asked = answer.request
                values = {
                    "source-ip": asked.source,
                    "source-port": asked.source_port,
                    "destination-ip": asked.address,
                    "destination-port": asked.port,
                }
                parts = tuple(values[key] for key in keys.split(", "))
                found.setdefault((":" in asked.address, *parts), set()).add(name)
            assert all(len(names) == 1 for names in found.values()), keys
            if len(found) > 20:
                assert len(set().union(*found.values())) == 6, keys


def _requests(lb: Balancer, number: int) -> list[Request]:
    """Forty clients of each family in several networks, both addresses, all the ports."""
    found = []
    for family in (4, 6):
        for index in range(40):
            source = lb.client(index * 1637 % 65000, family)
            to = f"{'203.0.113.1' if family == 4 else '2001:db8::1'}{index % 2}"
            for more in range(2):
                port = 1000 + 10 * number + (index // 2 + more) % 4
                found.append(Request("clients", source, to, port, source_port=20000 + more))
    return found


def _asked(lb: Balancer, number: int) -> list[str]:
    """Who answered, once it has been compared with the interpreter's word."""
    answers = lb.box.ask(_requests(lb, number), parallel=32)
    names = lb.named(answers)
    told = predicted(pipeline.table(read(TEXT)), answers)
    assert [f"f{number}/{name}" for name in names] == told, KEYS[number]
    return names
