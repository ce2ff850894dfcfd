"""Farms nobody wrote, with everything: what is meant, what the kernel has, what nft lists, what the
interpreter and ``explain --live`` say, and where connections go are the same.

    NFTLBC_CASES=5000 NFTLBC_NFTS=nft:/path/to/another/nft make conformance

In the suite a part of it: fixed seeds, and fresh ones. A failure tells its seed, with which
``NFTLBC_SEED=SEED NFTLBC_CASES=1 make conformance`` does it again.
"""

from __future__ import annotations

import os
import secrets
import time
import traceback
from pathlib import Path

import pytest
from chance import Draws, chi_square, doubt
from conforming import Grounds, case
from namespaces import NFTS, in_namespace

from nftlbc.nft import kernel

CASES = int(os.environ.get("NFTLBC_CASES", "20"))
FIRST = int(os.environ.get("NFTLBC_SEED", "0"))


@in_namespace
@pytest.mark.timeout(0)
def test_farms_nobody_wrote(tmp_path: Path) -> None:
    _run(range(FIRST, FIRST + CASES), tmp_path)


@in_namespace
@pytest.mark.timeout(0)
def test_farms_that_are_others_every_time(tmp_path: Path) -> None:
    first = secrets.randbelow(10**9)
    _run(range(first, first + 4), tmp_path)


def _run(seeds: range, folder: Path) -> None:
    grounds, began, failed = Grounds(NFTS), time.monotonic(), []
    for seed in seeds:
        try:
            case(seed, grounds, folder, farms=3 if os.geteuid() == 0 else 1)
        except Exception:
            failed.append(f"NFTLBC_SEED={seed}: {traceback.format_exc()[-2500:]}")
            print(failed[-1], flush=True)
            if len(failed) == 5 or seeds.stop - seeds.start < 100:
                break
            # An older nft may die of a newer one's table.
            kernel.remove(NFTS[seed % len(NFTS)])
        if (seed - seeds.start + 1) % 100 == 0:
            print(f"{seed - seeds.start + 1} cases, {time.monotonic() - began:.0f} s", flush=True)
    assert not failed, "\n\n".join(each[:3000] for each in failed)
    draws = grounds.draws
    assert doubt(draws.statistic, draws.freedom) > 1e-9, draws
    assert draws.worst > 1e-9, draws
    assert grounds.done["connections"] > len(seeds) * 10
    assert grounds.done["live"] > len(seeds)
    assert draws.freedom >= len(seeds) // 16
    print(f"{len(seeds)} cases, {dict(grounds.done)}, {draws}, {time.monotonic() - began:.0f} s")


def test_chi_square_knows_a_loaded_die() -> None:
    """Against tables: 16.9 with 9 degrees of freedom is 5 %, 21.7 is 1 %."""
    assert doubt(16.919, 9) == pytest.approx(0.05, rel=0.02)
    assert doubt(21.666, 9) == pytest.approx(0.01, rel=0.03)
    fair = {"a": 0.5, "b": 0.25, "c": 0.25}
    assert chi_square({"a": 50, "b": 25, "c": 25}, fair) == (0.0, 2)
    assert doubt(*chi_square({"a": 500, "b": 400, "c": 100}, fair)) < 1e-9
    assert chi_square({"a": 3}, {"a": 0.5, "b": 0.5}) == (0.0, 0)
    with pytest.raises(AssertionError):
        Draws().add({"z": 1}, fair)  # type: ignore[arg-type]
