"""Round robin: exact shares in smooth order, whoever is up."""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby

import pytest
from farms import VIP, VIP6, Balancer, balancing

pytestmark = pytest.mark.kernel

WEIGHTS = {
    8001: (1, 1, 1),
    8002: (5, 2, 1),
    8003: (3, 3, 2),
    8004: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    8005: (1023, 1),
    8006: (512, 256, 256),
    8007: (65535, 65535),
    8008: (1,),
    8009: (7, 11, 13),
}


def farm(name: str, port: int, weights: tuple[int, ...]) -> str:
    backends = "".join(
        f"    backend b{number} 10.0.{port - 8000}.{number} port 8080 weight {weight}\n"
        for number, weight in enumerate(weights, 1)
    )
    return f"farm {name} {{\n    listen {VIP} tcp port {port}\n{backends}}}\n"


def test_shares_are_the_weights_exactly() -> None:
    text = "".join(farm(f"f{port}", port, weights) for port, weights in WEIGHTS.items())
    with balancing(text) as lb:
        for port, weights in WEIGHTS.items():
            turns = 1200 // sum(weights) or 1
            reduced = {8006: (2, 1, 1), 8007: (1, 1)}.get(port, weights)
            asked = turns * sum(reduced)
            answers = lb.ask(asked, port=port, parallel=32)
            expected = {f"b{n}": turns * weight for n, weight in enumerate(reduced, 1)}
            assert lb.counted(answers) == expected, weights


def test_the_order_is_smooth() -> None:
    with balancing(farm("a", 8002, (5, 2, 1)) + farm("b", 8009, (7, 11, 13))) as lb:
        for port, weights in ((8002, (5, 2, 1)), (8009, (7, 11, 13))):
            names = lb.named(lb.ask(3 * sum(weights), port=port))
            for number, weight in enumerate(weights, 1):
                share = Fraction(weight, sum(weights))
                for asked in range(1, len(names) + 1):
                    # Nobody is ever a whole connection ahead of its share, or behind it.
                    assert abs(names[:asked].count(f"b{number}") - asked * share) < 1
            assert max(len(list(run)) for _, run in groupby(names)) <= 3


STATES = """
farm web {{
    listen {vip}, {vip6} tcp port 80
    backend a  10.0.0.1 port 8080 weight 5{a}
    backend b  10.0.0.2 port 8080 weight 2{b}
    backend c  10.0.0.3 port 8080 weight 1{c}
    backend a6 2001:db8:1::1 port 8080 weight 5{a}
    backend b6 2001:db8:1::2 port 8080 weight 2{b}
    backend c6 2001:db8:1::3 port 8080 weight 1{c}
}}
"""


def states(a: str = "", b: str = "", c: str = "") -> str:
    return STATES.format(vip=VIP, vip6=VIP6, a=a, b=b, c=c)


def test_shares_are_exact_for_those_that_remain() -> None:
    with balancing(states()) as lb:
        _exact(lb, a=5, b=2, c=1)
        for away in (" state down", " state drain"):
            lb.load(states(a=away))
            _exact(lb, b=2, c=1)
            lb.load(states(b=away))
            _exact(lb, a=5, c=1)
            lb.load(states(a=away, c=away))
            _exact(lb, b=1)
        lb.load(states().replace("weight 2", "weight 0"))
        _exact(lb, a=5, c=1)
        lb.load(states())
        _exact(lb, a=5, b=2, c=1)


def _exact(lb: Balancer, **weights: int) -> None:
    asked = 6 * sum(weights.values())
    for to, suffix in ((VIP, ""), (VIP6, "6")):
        expected = {f"{name}{suffix}": 6 * weight for name, weight in weights.items()}
        assert lb.counted(lb.ask(asked, to=to, parallel=8)) == expected


def test_large_weights_are_off_by_less_than_a_thousandth() -> None:
    weights = (40000, 20000, 5534, 1)
    with balancing(farm("big", 8001, weights)) as lb:
        rules = lb.nft("list", "chain", "inet", "nftlbc", "farm-big-4")
        slots = int(rules.split(" mod ")[1].split()[0])
        counted = lb.counted(lb.ask(slots, port=8001, parallel=64))
        assert sum(counted.values()) == slots
        for number, weight in enumerate(weights, 1):
            error = abs(Fraction(counted[f"b{number}"], slots) - Fraction(weight, sum(weights)))
            assert error < Fraction(1, 1024)


def test_each_family_has_its_turn_and_protocols_share_one() -> None:
    text = f"""
farm dns {{
    listen {VIP}, {VIP6} tcp, udp, sctp port 53
    backend a  10.0.0.1 weight 2
    backend b  10.0.0.2
    backend a6 2001:db8:1::1 weight 2
    backend b6 2001:db8:1::2
}}
"""
    with balancing(text) as lb:
        for to, turn in ((VIP, ["a", "b", "a"]), (VIP6, ["a6", "b6", "a6"])):
            names = []
            for protocol in ("tcp", "udp", "sctp") * 3:
                names += lb.named(lb.ask(1, to, 53, protocol))
            assert names == turn * 3
