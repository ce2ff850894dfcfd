"""Every mistake is told: where it is, what was expected, what was probably meant, all at once.

A case is a farms file in tests/golden/mistakes, NAME.lb (or a folder NAME with farms.lb and what
it includes), beside NAME.txt, which holds what a person reads.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

import nftlbc
from nftlbc import rules
from nftlbc.diagnostics import Diagnostic, Severity, as_github, as_json, draw
from nftlbc.language import load, read

Golden = Callable[[Path, str], None]

FOLDER = Path(__file__).parent.parent / "golden" / "mistakes"
FILES = sorted([*FOLDER.glob("*.lb"), *FOLDER.glob("*/farms.lb")])
FARM = "farm web {\n    listen 203.0.113.1 tcp port 80\n    backend app1 10.0.0.11 port 8080\n}\n"


def case_name(file: Path) -> str:
    return file.stem if file.parent == FOLDER else file.parent.name


def mistakes(name: str) -> list[Diagnostic]:
    farms, diagnostics = read(name)
    return [*diagnostics, *rules.check(farms)]


@pytest.mark.parametrize("file", FILES, ids=case_name)
def test_mistakes_of_a_file(file: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    golden(FOLDER / f"{case_name(file)}.txt", draw(mistakes(file.name)))
