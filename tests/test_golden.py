"""Farms files and their scripts, side by side; the same bytes however they are compiled.

tests/golden/scripts holds a farms file and its script for each construct, and the scripts of the
examples. ``pytest --update-golden`` writes the scripts; each line that it changes is read.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(__file__).parent / "golden" / "scripts"
CASES = [*sorted(SCRIPTS.glob("*.lb")), *sorted(ROOT.glob("examples/*.lb"))]
OTHER_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def script_of(case: Path) -> Path:
    """Where the script of a farms file is kept."""
    if case.parent == SCRIPTS:
        return case.with_suffix(".nft")
    return SCRIPTS / "examples" / f"{case.stem}.nft"


def compiled(path: Path) -> str:
    farms, diagnostics = pipeline.read(os.fspath(path))
    assert not has_errors(diagnostics), draw(diagnostics)
    return pipeline.script(farms)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_farms_file_compiles_to_its_script(
    case: Path, golden: Callable[[Path, str], None]
) -> None:
    golden(script_of(case), compiled(case))


def test_each_script_has_its_farms_file() -> None:
    assert set(SCRIPTS.rglob("*.nft")) <= {script_of(case) for case in CASES}


def test_the_order_of_farms_and_of_includes_is_nothing(tmp_path: Path) -> None:
    """A file for each farm, included in many orders."""
    farms = [
        f"farm {name} {{\n listen 203.0.113.{number}, 2001:db8::{number:x} tcp port 80-{80 + number}\n"
        f" persist source-ip\n balance {balance}\n"
        f" backend a 10.0.0.{number}\n backend b 10.0.1.{number} weight {number}\n"
        f" backend c 2001:db8:1::{number:x}\n}}\n"
        for number, (name, balance) in enumerate(
            [
                ("zeta", "random"),
                ("alpha", "round-robin"),
                ("mid", "hash source-ip"),
                ("beta", "consistent source-ip slots 7"),
                ("omega", "least-cpu"),
            ],
            1,
        )
    ]
    scripts = set()
    for seed in range(8):
        folder = tmp_path / str(seed)
        folder.mkdir()
        shuffled = list(farms)
        random.Random(seed).shuffle(shuffled)
        (folder / "farms.lb").write_text('include "farms.d/*.lb"\n' + "".join(shuffled[:2]))
        (folder / "farms.d").mkdir()
        for number, text in enumerate(shuffled[2:]):
            (folder / "farms.d" / f"{number}.lb").write_text(text)
        scripts.add(compiled(folder / "farms.lb"))
    assert len(scripts) == 1


_COMPILE = """
import sys
sys.path[:0] = sys.argv[1:3]
from nftlbc import pipeline
for path in sys.argv[3:]:
    farms, _ = pipeline.read(path)
    sys.stdout.write(pipeline.script(farms))
"""


def _compiled_by(python: str, **environment: str) -> str:
    """All cases compiled by another process; its Python needs no packages of its own."""
    import lark

    import nftlbc

    paths = [str(Path(module.__path__[0]).parent) for module in (nftlbc, lark)]
    done = subprocess.run(
        [python, "-c", _COMPILE, *paths, *map(str, CASES)],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", ["0", "1", "4294967295", "random"])
def test_scripts_are_the_same_whatever_the_hash_seed(seed: str) -> None:
    expected = "".join(compiled(case) for case in CASES)
    assert _compiled_by(sys.executable, PYTHONHASHSEED=seed) == expected


@pytest.mark.parametrize("version", OTHER_PYTHONS)
def test_scripts_are_the_same_with_every_python(version: str) -> None:
    python = _find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    expected = "".join(compiled(case) for case in CASES)
    assert _compiled_by(python) == expected


def _find_python(version: str) -> str | None:
    """On the path, or among those that pyenv keeps beside it."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    for python in (shutil.which(f"python{version}"), *map(str, kept)):
        # What is on the path may be a shim with nothing behind it.
        if (
            python
            and not subprocess.run([python, "-V"], capture_output=True, check=False).returncode
        ):
            return python
    return None
