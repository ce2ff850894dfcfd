"""A check whose Python package is not on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from nftlbc import pipeline
from nftlbc.cli import app as program
from nftlbc.probe import packages
from nftlbc.probe.target import targets

FARMS = """\
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.1
    check http { path "/" }
}
"""


@pytest.fixture
def without_h11(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    real = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == "h11" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    file = tmp_path / "farms.lb"
    file.write_text(FARMS)
    return file


def test_it_is_told_with_its_place_and_its_remedy(
    without_h11: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["nftlbc", "probe", str(without_h11)])
    with pytest.raises(SystemExit) as ended:
        program.run()
    told = capsys.readouterr().err
    assert ended.value.code == 3
    told = told.partition("nftlbc: error: there is no table")[0]
    assert "farms.lb:4:5: error: check http needs the Python package h11" in told
    assert "apt install python3-h11" in told


def test_what_can_be_asked_is_asked(without_h11: Path) -> None:
    """For want of a package no other check is left unmade."""
    without_h11.write_text(FARMS.replace("check http", "check tcp; check http"))
    farms, _ = pipeline.read(str(without_h11))
    assert [target.check.kind for target in targets(farms)] == ["tcp", "http"]
    assert [target.check.kind for target in packages.askable(targets(farms))] == ["tcp"]
