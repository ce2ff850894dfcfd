"""fmt, schema and explain as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
UNTIDY = "farm web {\n  listen 203.0.113.10 tcp port 80;  backend a 10.0.0.1\n}\n"
TIDY = "farm web {\n    listen 203.0.113.10 tcp port 80\n    backend a 10.0.0.1\n}\n"


def nftlbc(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nftlbc", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=60,
        check=False,
    )


def test_fmt_rewrites_the_file(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(UNTIDY)
    file.chmod(0o640)
    assert nftlbc("fmt", "--check", str(file)).returncode == 4
    shown = nftlbc("fmt", "--diff", str(file))
    assert shown.returncode == 4
    assert "+    backend a 10.0.0.1\n" in shown.stdout
    assert file.read_text() == UNTIDY
    assert nftlbc("fmt", str(file)).returncode == 0
    assert file.read_text() == TIDY
    assert file.stat().st_mode & 0o777 == 0o640
    assert nftlbc("fmt", "--check", str(file)).returncode == 0
    assert nftlbc("fmt", "-", stdin=UNTIDY).stdout == TIDY


def test_fmt_leaves_a_file_with_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(UNTIDY.replace("tcp", "tpc"))
    assert nftlbc("fmt", str(file)).returncode == 1
    assert "tpc" in file.read_text()


def test_the_examples_are_formatted() -> None:
    done = nftlbc("fmt", "--check", *map(str, sorted(EXAMPLES.glob("*.lb"))))
    assert done.returncode == 0, done.stderr


def test_there_and_back_through_json(tmp_path: Path) -> None:
    for example in sorted(EXAMPLES.glob("*.lb")):
        document, back = tmp_path / "farms.json", tmp_path / "back.lb"
        assert nftlbc("fmt", "--to", "json", str(example), "-o", str(document)).returncode == 0
        assert nftlbc("fmt", "--to", "lb", str(document), "-o", str(back)).returncode == 0
        script = nftlbc("compile", "-q", str(example)).stdout
        assert script
        assert nftlbc("compile", "-q", str(document)).stdout == script
        assert nftlbc("compile", "-q", str(back)).stdout == script
        assert nftlbc("fmt", "--check", str(document)).returncode == 0


def test_schema_is_a_schema() -> None:
    done = nftlbc("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["$schema"].endswith("2020-12/schema")


def test_explain() -> None:
    cache = str(EXAMPLES / "cache.lb")
    done = nftlbc("explain", cache, "198.51.100.7", "203.0.113.60:3128/tcp")
    assert done.returncode == 0
    assert "of 1021" in done.stdout
    told = json.loads(
        nftlbc("explain", "--json", cache, "198.51.100.7", "203.0.113.60:3128").stdout
    )
    assert told
    assert nftlbc("explain", cache).returncode == 2
    default = nftlbc("explain", "198.51.100.7", "203.0.113.60:3128")
    assert default.returncode == 0 or "/etc/nftlbc/farms.lb" in default.stderr
    wrong = nftlbc("explain", cache, "198.51.100", "203.0.113.60:3128")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "198.51.100" in wrong.stderr
