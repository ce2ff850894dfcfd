"""Completion: typer's scripts in a real shell, and names of the running table, safely."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from namespaces import in_namespace

from nftlbc.cli import completing

ROOT = Path(__file__).parents[2]
FARMS = """
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080 state down
}
farm dns {
    listen 203.0.113.10 udp port 53
    backend ns1 10.0.0.13
}
"""
PROGRAM = """#!/bin/sh
exec '{python}' -c 'import sys; sys.argv[0] = "nftlbc"; from nftlbc.cli import main; main()' "$@"
"""
BASH = """
. "$1/nftlbc"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_nftlbc_completion nftlbc
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    script = ROOT / "scripts" / "completion.py"
    subprocess.run([sys.executable, script, folder], check=True, timeout=60, cwd=ROOT)
    program = folder / "bin" / "nftlbc"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return folder


def completed(scripts: Path, *words: str) -> list[str]:
    return in_shell(scripts, "bash", "-c", BASH, "bash", str(scripts), *words).split()


def test_commands_and_options(scripts: Path) -> None:
    assert completed(scripts, "nftlbc", "dr") == ["drain"]
    assert "--wait" in completed(scripts, "nftlbc", "drain", "--w")
    # Nothing of nftlbc: bash goes on with file names.
    assert completed(scripts, "nftlbc", "check", "") == []


@in_namespace
def test_names_of_the_running_table(scripts: Path, tmp_path: Path) -> None:
    assert completed(scripts, "nftlbc", "drain", "") == []
    apply(tmp_path)
    assert completed(scripts, "nftlbc", "drain", "") == ["dns/ns1", "web/app1", "web/app2"]
    assert completed(scripts, "nftlbc", "sessions", "--backend", "w") == ["web/app1", "web/app2"]
    assert completing.farms("w") == ["web"]


@in_namespace
def test_what_is_no_name_is_not_put_on_a_command_line() -> None:
    bad = "$(touch /tmp/x)/`id`;a"
    nft = f"""
        table inet nftlbc {{
            map backends4_8 {{
                type mark : ipv4_addr . inet_service
                elements = {{ 0x80000001 comment "web/app1" : 10.0.0.1 . 80,
                              0x80000002 comment "{bad}" : 10.0.0.2 . 80 }}
            }}
        }}
    """
    subprocess.run(["nft", "-f", "-"], input=nft, text=True, check=True)
    assert completing.backends("") == ["web/app1"]
    assert completing.backends("$") == []


def test_zsh_and_fish_have_theirs(scripts: Path) -> None:
    zsh = (scripts / "_nftlbc").read_text("utf-8")
    assert zsh.startswith("#compdef nftlbc\n")
    fish = (scripts / "nftlbc.fish").read_text("utf-8")
    assert "--command nftlbc" in fish
    for text in (zsh, fish):
        assert "_NFTLBC_COMPLETE" in text


# Types into an interactive zsh what is given, and Tab; ends when what is wanted is seen.
ZSH = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D; print re''ady"
zpty -r -m z seen '*ready*'
zpty -w -n z "$2"$'\\t'
zpty -r -m z seen "*$3*"
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@in_namespace
def test_zsh(scripts: Path, tmp_path: Path) -> None:
    apply(tmp_path)
    for typed, seen in (
        ("nftlbc ", "Make the kernel's table"),
        ("nftlbc dra", "nftlbc drain"),
        ("nftlbc drain --wa", "nftlbc drain --wait"),
        ("nftlbc drain d", "nftlbc drain dns/ns1"),
    ):
        in_shell(scripts, "zsh", "-f", "-c", ZSH, "zsh", str(scripts), typed, seen)


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@in_namespace
def test_fish(scripts: Path, tmp_path: Path) -> None:
    apply(tmp_path)
    for typed, offered in (
        ("nftlbc dra", ["drain"]),
        ("nftlbc drain --wa", ["--wait"]),
        ("nftlbc drain ", ["dns/ns1", "web/app1", "web/app2"]),
    ):
        asked = f"source {scripts}/nftlbc.fish; complete -C '{typed}'"
        said = in_shell(scripts, "fish", "-c", asked)
        assert [each.partition("\t")[0] for each in said.splitlines()] == offered


def in_shell(scripts: Path, shell: str, *words: str) -> str:
    path = f"{scripts}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        [shell, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={"PATH": path, "HOME": str(scripts), "TERM": "dumb", "LC_ALL": "C.UTF-8"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def apply(folder: Path) -> None:
    file = folder / "farms.lb"
    file.write_text(FARMS)
    subprocess.run([sys.executable, "-m", "nftlbc", "apply", "-q", file], check=True, cwd=ROOT)
