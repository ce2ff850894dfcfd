"""Consistent hashing: how many clients move when a backend comes, goes, or is down."""

from __future__ import annotations

import pytest
from farms import VIP, VIP6, Balancer, balancing

pytestmark = pytest.mark.kernel

CLIENTS = 2000
NEEDLESS = 0.03


def farm(*backends: str, keys: str = "source-ip", more: str = "") -> str:
    """A farm of each family. Without root, twice the default number of slots would be more than
    the kernel takes in one transaction."""
    lines = {"": "", "6": ""}
    for backend in backends:
        lines["6" if "::" in backend else ""] += f"    backend {backend}\n"
    return f"""
farm cache {{
    listen {VIP} tcp port 80
    balance consistent {keys}
{lines[""]}{more}
}}
farm cache6 {{
    listen {VIP6} tcp port 80
    balance consistent source-ip slots 1021
{lines["6"]}
}}
"""


TEN = [f"b{n} 10.0.0.{n} port 8080 weight {1 + n % 3}" for n in range(1, 11)]
SIX = [f"six{n} 2001:db8:1::{n} port 8080" for n in range(1, 4)]


def _homes(lb: Balancer, family: int = 4, clients: int = CLIENTS) -> list[str]:
    """Each client's backend."""
    sources = [lb.client(number * 31, family) for number in range(clients)]
    names = lb.named(lb.ask_from(sources, to=VIP if family == 4 else VIP6, parallel=64))
    assert all(name.startswith(("b", "six", "spare")) for name in names)
    return names


def _needless(before: list[str], after: list[str], *concerned: str) -> int:
    """How many moved from one backend to another though neither came or went."""
    pairs = zip(before, after, strict=True)
    return sum(a != b and a not in concerned and b not in concerned for a, b in pairs)


def test_adding_or_removing_one_moves_little_more_than_its_share() -> None:
    eleventh = "b11 10.0.0.11 port 8080 weight 2"
    with balancing(farm(*TEN, *SIX), farm(eleventh, *SIX)) as lb:
        before, before6 = _homes(lb), _homes(lb, 6, 500)
        assert set(before) == {f"b{n}" for n in range(1, 11)}
        lb.load(farm(*TEN, eleventh, *SIX))
        added = _homes(lb)
        assert added.count("b11") > CLIENTS * 2 / 22 * 0.7
        assert _needless(before, added, "b11") <= NEEDLESS * CLIENTS
        for gone in ("b3", "b8"):
            lb.load(farm(*(each for each in TEN if not each.startswith(f"{gone} ")), *SIX))
            removed = _homes(lb)
            assert gone not in removed
            assert _needless(before, removed, gone) <= NEEDLESS * CLIENTS
        # The other family knows nothing of it, and everything is as it was.
        assert _homes(lb, 6, 500) == before6
        lb.load(farm(*TEN, *SIX))
        assert _homes(lb) == before


def test_one_that_is_down_moves_only_its_own_and_has_them_back() -> None:
    with balancing(farm(*TEN, *SIX)) as lb:
        before = _homes(lb)
        for state in ("down", "drain"):
            for away in (("b2",), ("b2", "b9")):
                lb.load(farm(*(_with(each, away, state) for each in TEN), *SIX))
                during = _homes(lb)
                assert not set(away) & set(during)
                assert _needless(before, during, *away) == 0
                # Those without a home are spread over all the others.
                homeless = [new for old, new in zip(before, during, strict=True) if old in away]
                assert set(homeless) == {f"b{n}" for n in range(1, 11)} - set(away)
        lb.load(farm(*TEN, *SIX))
        assert _homes(lb) == before


def _with(backend: str, away: tuple[str, ...], state: str) -> str:
    return f"{backend} state {state}" if backend.split()[0] in away else backend


def test_a_backup_takes_only_the_homeless() -> None:
    four, spare = TEN[:4], "spare 10.0.0.99 port 8080 backup"
    with balancing(farm(*four, spare, *SIX, more="    quorum 3")) as lb:
        before = _homes(lb)
        assert "spare" not in before
        lb.load(
            farm(*(_with(b, ("b1", "b3"), "down") for b in four), spare, *SIX, more="    quorum 3")
        )
        during = _homes(lb)
        assert during.count("spare") > 0
        assert _needless(before, during, "b1", "b3") == 0


def test_the_number_of_slots_can_be_chosen() -> None:
    with balancing(farm(*TEN, *SIX, keys="source-ip slots 1021")) as lb:
        before = _homes(lb)
        chain = lb.nft("list", "chain", "inet", "nftlbc", "farm-cache-4")
        assert "mod 1021" in chain
        total = sum(1 + n % 3 for n in range(1, 11))
        for n in range(1, 11):
            share = (1 + n % 3) / total
            assert abs(before.count(f"b{n}") / CLIENTS - share) < 0.04
