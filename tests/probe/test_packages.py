"""A check whose Python package is not on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from nftlbc.cli import app as program
from nftlbc.probe.farms_file import FarmsFile, Mistaken

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


@pytest.mark.parametrize("command", [("probe",), ("apply", "--probe")])
def test_it_is_told_with_its_place_and_its_remedy(
    command: tuple[str, ...],
    without_h11: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["nftlbc", *command, str(without_h11)])
    with pytest.raises(SystemExit) as ended:
        program.run()
    told = capsys.readouterr().err
    assert ended.value.code == 3
    assert "farms.lb:4:5: error: check http needs the Python package h11" in told
    assert "apt install python3-h11" in told


def test_a_loop_goes_on_with_what_it_had(without_h11: Path) -> None:
    with pytest.raises(Mistaken, match="needs the Python package h11"):
        FarmsFile(str(without_h11)).read()
