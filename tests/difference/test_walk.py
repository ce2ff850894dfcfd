"""A farms file that is edited hundreds of times, each time applied by difference."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from farms_walk import _EDITS, Walk
from namespaces import NFTS, Elsewhere, applied, in_namespace

from nftlbc.plan import planning, telling
from nftlbc.table.build import build
from nftlbc.table.model import Table


@in_namespace
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
def test_every_edit_ends_as_a_fresh_load(seed: int) -> None:
    _walk(seed, 100, NFTS[0])


@in_namespace
@pytest.mark.timeout(600)
@pytest.mark.parametrize("nft", NFTS)
def test_with_every_nft(nft: str) -> None:
    _walk(1000 + NFTS.index(nft), 30, nft)


def _walk(seed: int, steps: int, nft: str) -> None:
    walk, elsewhere = Walk(seed), Elsewhere()
    applied(walk.farms, elsewhere, nft)
    done: Counter[str] = Counter()
    for _ in range(steps):
        done[walk.step()] += 1
        plan = planning.plan(walk.farms)
        if not plan.empty:
            assert telling.told(plan)
        found = applied(walk.farms, elsewhere, nft).wanted
        assert _without_notes(found) == _without_notes(build(walk.farms))
    assert len(done) > len(_EDITS) // 2


def _without_notes(table: Table) -> Table:
    """All but since when the file says what it says, which a fresh load can't know."""
    maps = tuple(
        replace(each, sections={}) if each.name.startswith("states_") else each
        for each in table.maps
    )
    return replace(table, maps=maps)
