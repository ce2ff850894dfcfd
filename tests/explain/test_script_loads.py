"""The written script, as real nft versions take it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hand_table import FARMS, LONG_SIZE, TABLE
from namespace import NFTS, inside

from nftlbc.nft.script import write
from nftlbc.table.model import Table

pytestmark = pytest.mark.kernel

STICKY = "add element inet nftlbc sticky4 { 0:1 . 10.5.0.1 timeout 60s : 0x80000011 }"


@pytest.mark.parametrize("nft", NFTS)
def test_it_loads_and_loads_again(nft: str, tmp_path: Path) -> None:
    script = write(TABLE)
    listing = inside("sh", "-c", f"{nft} -f - && {nft} list table inet nftlbc", input=script)
    for chain in TABLE.chains:
        assert f"chain {chain.name} {{" in listing
    for each in TABLE.maps:
        assert f" {each.name} {{" in listing
    # Over a running table: its rules are replaced, not added, and its elements too.
    twice = inside(
        "sh",
        "-c",
        f"cat > $0 && {nft} -f $0 && {nft} -f $0 && {nft} list table inet nftlbc",
        str(tmp_path / "script.nft"),
        input=script,
    )
    assert twice == listing


@pytest.mark.parametrize("nft", NFTS)
def test_an_older_table_goes_and_sticky_entries_stay(nft: str) -> None:
    farms = tuple(each for each in FARMS if each.name != "farm-snat")
    gone = {
        name: {farm: rows for farm, rows in sections.items() if farm != "snat"}
        for name, sections in ((each.name, each.sections) for each in TABLE.maps)
    }
    kept = [each for each in TABLE.chains if each not in FARMS]
    smaller = Table(
        tuple(replace(each, sections=gone[each.name]) for each in TABLE.maps), (*kept, *farms)
    )
    script = "".join([write(TABLE), f"{STICKY}\n", write(smaller)])
    listing = inside("sh", "-c", f"{nft} -f - && {nft} list table inet nftlbc", input=script)
    assert "10.5.0.1" in listing
    assert "snat/b1" not in listing
    assert "turn/b1" in listing
    assert f"size {LONG_SIZE}" in listing
