"""compile and check as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
}
"""
BAD = GOOD.replace("8080", "80800").replace("port 80\n", "prot 80\n")


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


@pytest.fixture
def farms(tmp_path: Path) -> Path:
    file = tmp_path / "farms.lb"
    file.write_text(GOOD)
    return file


def test_standard_output_is_the_script_and_nothing_else(farms: Path) -> None:
    done = nftlbc("compile", str(farms))
    assert done.returncode == 0
    assert done.stdout.startswith("# A load balancer's table")
    assert done.stderr == ""
    assert nftlbc("compile", "-", stdin=GOOD).stdout == done.stdout


def test_mistakes_give_no_output_and_keep_the_old_file(farms: Path, tmp_path: Path) -> None:
    out = tmp_path / "farms.nft"
    out.write_text("old")
    farms.write_text(BAD)
    done = nftlbc("compile", str(farms), "-o", str(out))
    assert done.returncode == 1
    assert done.stdout == ""
    assert out.read_text() == "old"
    assert "farms.lb:2:29: error:" in done.stderr
    assert "80800 is not between 1 and 65535" in done.stderr


def test_output_is_written_atomically(farms: Path, tmp_path: Path) -> None:
    out = tmp_path / "farms.nft"
    out.write_text("old")
    out.chmod(0o640)
    inode = out.stat().st_ino
    link = tmp_path / "link.nft"
    link.symlink_to(out)
    assert nftlbc("compile", str(farms), "-o", str(link)).returncode == 0
    assert link.is_symlink()
    assert out.read_text() == nftlbc("compile", str(farms)).stdout
    assert out.stat().st_ino != inode
    assert out.stat().st_mode & 0o777 == 0o640
    assert {each.name for each in tmp_path.iterdir()} == {"farms.lb", "farms.nft", "link.nft"}


def test_output_that_cannot_be_written(farms: Path, tmp_path: Path) -> None:
    done = nftlbc("compile", str(farms), "-o", str(tmp_path / "no" / "farms.nft"))
    assert done.returncode == 3
    assert "no such file or directory" in done.stderr.lower()
    done = nftlbc("compile", str(farms), "-o", "/dev/stdout")
    assert done.stdout == nftlbc("compile", str(farms)).stdout


def test_check_against_a_golden(farms: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden.nft"
    done = nftlbc("compile", str(farms), "--check", str(golden))
    assert done.returncode == 4
    assert "does not exist" in done.stderr
    assert nftlbc("compile", str(farms), "-o", str(golden)).returncode == 0
    done = nftlbc("compile", str(farms), "--check", str(golden))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    farms.write_text(GOOD.replace("10.0.0.11", "10.0.0.12"))
    before = golden.read_text()
    done = nftlbc("compile", str(farms), "--check", str(golden))
    assert done.returncode == 4
    assert "-    0x" in done.stdout
    assert "+    0x" in done.stdout
    assert golden.read_text() == before


def test_check_in_its_three_formats(farms: Path) -> None:
    done = nftlbc("check", str(farms))
    assert (done.returncode, done.stdout) == (0, "")
    farms.write_text(BAD)
    text = nftlbc("check", str(farms))
    assert text.returncode == 1
    assert text.stderr.count(": error:") == 2
    rows = json.loads(nftlbc("check", str(farms), "--json").stdout)
    assert [(row["line"], row["severity"]) for row in rows] == [(2, "error"), (3, "error")]
    github = nftlbc("check", str(farms), "--format", "github").stdout
    assert github.count("::error file=") == 2
    assert nftlbc("check", str(farms), "--format", "xml").returncode == 2


def test_strict_makes_warnings_mistakes(farms: Path) -> None:
    farms.write_text("define x = 80\n" + GOOD)
    assert nftlbc("check", str(farms)).returncode == 0
    assert nftlbc("check", "--strict", str(farms)).returncode == 1


def test_a_missing_file(tmp_path: Path) -> None:
    done = nftlbc("compile", str(tmp_path / "none.lb"))
    assert done.returncode == 1
    assert "none.lb" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away(farms: Path) -> None:
    command = f"{sys.executable} -m nftlbc compile {farms} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "141")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(farms: Path, tmp_path: Path, closed: str) -> None:
    out = tmp_path / "farms.nft"
    command = f"{sys.executable} -m nftlbc compile {farms} -o {out} {closed}"
    done = subprocess.run(["bash", "-c", command], timeout=60, check=False)
    assert done.returncode == 0
    assert out.read_text() == nftlbc("compile", str(farms)).stdout


@pytest.mark.parametrize("command", ["compile FILE", "check --json FILE", "schema", "--help"])
def test_a_full_disk_is_told(farms: Path, command: str) -> None:
    words = command.replace("FILE", str(farms))
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m nftlbc {words} >/dev/full"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert "defect" not in done.stderr


def test_names_of_files_steer_no_terminal(tmp_path: Path) -> None:
    file = tmp_path / "farms\x1b[31m.lb"
    file.write_text(GOOD)
    for words in (["check"], ["fmt", "--check"], ["fmt"]):
        assert "\x1b" not in nftlbc(*words, str(file)).stderr
    file.write_text(BAD)
    assert "\x1b" not in nftlbc("check", str(file)).stderr


def test_the_farms_file_is_not_overwritten_by_the_script(farms: Path) -> None:
    done = nftlbc("compile", str(farms), "-o", str(farms))
    assert done.returncode == 2
    assert farms.read_text() == GOOD


def test_an_included_pipe_is_not_waited_for(farms: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    farms.write_text('include "pipe"\n' + GOOD)
    done = nftlbc("check", str(farms))
    assert done.returncode == 1
    assert "is no ordinary file" in done.stderr


def test_wrong_usage() -> None:
    assert nftlbc("compile", "--no-such-option").returncode == 2
    assert nftlbc("no-such-command").returncode == 2
    version = nftlbc("--version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "nftlbc")
