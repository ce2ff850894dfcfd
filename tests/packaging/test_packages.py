"""The wheel and the source archive, and what the Debian package is made of."""

from __future__ import annotations

import email
import inspect
import os
import re
import subprocess
import sys
import types
import typing
import zipfile
from pathlib import Path

import pytest

from nftlbc import __version__, pipeline
from nftlbc.cli import app as cli
from nftlbc.diagnostics import has_errors

ROOT = Path(__file__).parents[2]


def hatchling(where: Path, kind: str, into: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", into],
        check=True,
        cwd=where,
        capture_output=True,
        timeout=60,
    )
    [made] = into.iterdir()
    return made


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hatchling(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the source archive builds."""
    folder = tmp_path_factory.mktemp("unpacked")
    # By tar: the filters of Python's own are missing before 3.11.4, which Debian 12 does not have.
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True, timeout=60)
    [unpacked] = folder.iterdir()
    return hatchling(unpacked, "wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_of_the_archive_is_that_of_the_tree(wheel: Path, tmp_path: Path) -> None:
    def names(path: Path) -> set[str]:
        return set(zipfile.ZipFile(path).namelist())

    assert names(wheel) == names(hatchling(ROOT, "wheel", tmp_path))
    assert "nftlbc/grammar/farms.lark" in names(wheel)
    assert "nftlbc/py.typed" in names(wheel)


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    folder = f"nftlbc-{__version__}.dist-info"
    told = email.message_from_bytes(packed.read(f"{folder}/METADATA"))
    assert told["Version"] == __version__
    assert told["Requires-Python"] == ">=3.10"
    needed = told.get_all("Requires-Dist") or []
    always = {re.split(r"[<>=]", each)[0] for each in needed if "extra ==" not in each}
    assert always == {"jsonschema", "lark", "typer"}
    assert any(re.match(r"h11.*extra == .probe.", each) for each in needed)
    assert b"nftlbc = nftlbc.cli:main" in packed.read(f"{folder}/entry_points.txt")


def test_what_is_in_the_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "nftlbc", "check", ROOT / "examples" / "web.lb"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "NFTLBC_TRACEBACK": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_debian_package_is_of_this_version() -> None:
    first = (ROOT / "debian" / "changelog").read_text("utf-8").splitlines()[0]
    assert first.startswith(f"nftlbc ({__version__}) ")


def test_the_debian_package_has_the_files_that_it_names() -> None:
    made = {"debian/made/nftlbc.1", "debian/made/farms.lb.5"}
    for name in ("install", "manpages", "docs", "examples"):
        for line in (ROOT / "debian" / f"nftlbc.{name}").read_text("utf-8").splitlines():
            pattern = line.split()[0]
            if pattern not in made and not pattern.startswith("debian/made/completion/"):
                assert list(ROOT.glob(pattern)), pattern


def test_the_sample_has_no_farm_and_its_example_is_right(tmp_path: Path) -> None:
    sample = ROOT / "packaging" / "farms.lb"
    farms, diagnostics = pipeline.read(str(sample))
    assert not farms and not has_errors(diagnostics)
    text = re.sub(r"^# ?", "", sample.read_text("utf-8"), flags=re.MULTILINE)
    file = tmp_path / "farms.lb"
    file.write_text(text[text.index("farm web") : text.index("\n}\n") + 3])
    farms, diagnostics = pipeline.read(str(file))
    assert farms and not diagnostics


def test_every_typer_understands_what_the_commands_take() -> None:
    """Debian 12 has typer 0.7: that knows neither Annotated nor ``str | None``."""
    cli._commands()
    for each in (cli.app.registered_callback, *cli.app.registered_commands):
        assert each and each.callback
        for parameter in inspect.signature(each.callback).parameters.values():
            assert type(parameter.default).__name__ in ("OptionInfo", "ArgumentInfo")
            hint = parameter.annotation
            assert typing.get_origin(hint) is not typing.Annotated
            assert not isinstance(hint, (str, types.UnionType))
