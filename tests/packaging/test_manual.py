"""The manual pages: what the commands say of themselves is in them, and formatters read them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nftlbc.cli import app as cli
from nftlbc.language.syntax import BLOCKS, PLAIN

ROOT = Path(__file__).parents[2]
PAGES = ("nftlbc.1", "farms.lb.5")
MACROS = {"TH", "SH", "SS", "PP", "TP", "IP", "RS", "RE", "nf", "fi", "br", "B", "I", "BR", "RI"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    script = ROOT / "scripts" / "manual.py"
    subprocess.run([sys.executable, script, folder], check=True, timeout=60, cwd="/")
    return folder


def unescaped(page: Path) -> str:
    text = re.sub(r"\\f[BIR]", "", page.read_text("utf-8"))
    return text.replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "").replace("\\e", "\\")


def test_every_command_has_its_options_there(pages: Path) -> None:
    sections = dict(
        re.findall(
            r"^\.SS nftlbc (\S+)\n(.*?)(?=^\.S[HS] )",
            unescaped(pages / "nftlbc.1"),
            re.MULTILINE | re.DOTALL,
        )
    )
    cli._commands()
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    assert set(sections) == set(commands)
    assert "drain" in sections
    for name, command in commands.items():
        text = " ".join(sections[name].split())
        assert " ".join(command.help.split()) in text, name
        for parameter in command.params:
            assert " ".join(parameter.help.split()) in text, (name, parameter.name)
            if parameter.param_type_name == "option":
                assert ", ".join(parameter.opts) in text, (name, parameter.name)


def test_every_statement_has_its_section(pages: Path) -> None:
    text = (pages / "farms.lb.5").read_text("utf-8").replace("\\-", "-")
    for word in (*BLOCKS, *PLAIN):
        assert f"\n.SS {word}\n" in text, word


@pytest.mark.parametrize("page", PAGES)
def test_no_text_is_taken_for_a_request(pages: Path, page: str) -> None:
    for line in (pages / page).read_text("utf-8").splitlines():
        assert not line.startswith("'"), line
        if line.startswith("."):
            assert line[1:].split()[0] in MACROS | {"SY", "YS"}, line


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("tool", ["man", "mandoc"])
def test_formatters_have_nothing_to_say(pages: Path, page: str, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool}")
    options = {
        "man": ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"],
        "mandoc": ["-T", "lint", "-W", "style"],
    }
    done = subprocess.run(
        [tool, *options[tool], pages / page],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    said = done.stderr + (done.stdout if tool == "mandoc" else "")
    assert (done.returncode, said) == (0, "")
