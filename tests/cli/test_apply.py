"""apply and remove: what nft's refusals become, with stand-ins for nft and with the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FARM = """\
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
}
"""


def nftlbc(
    *arguments: str, path: str | None = None, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [*before, sys.executable, "-m", "nftlbc", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


@pytest.fixture
def farms(tmp_path: Path) -> str:
    file = tmp_path / "farms.lb"
    file.write_text(FARM)
    return str(file)


def stand_in(folder: Path, text: str) -> str:
    """A program called nft that comes first in the PATH."""
    program = folder / "nft"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


VERSION = '[ "$1" = --version ] && echo "nftables v1.0.6 (Lester Gooch #5)" && exit 0\n'


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ('echo "nftables v0.9.8 (E.D.S.)"', ["0.9.8 is too old", "1.0.2"]),
        ("echo something else", ["does not tell its version"]),
        (VERSION + "kill -SEGV $$", ["died by SIGSEGV", "defect of nft"]),
        (VERSION + "exit 139", ["died by SIGSEGV"]),
        (
            VERSION + 'echo "netlink: Error: cache initialization failed: '
            'Operation not permitted" >&2; exit 1',
            ["may not change the kernel's tables", "CAP_NET_ADMIN"],
        ),
        (
            VERSION + 'cat >/dev/null; echo "/dev/stdin:9:1-9: Error: Could not process rule: '
            'Message too long" >&2; head -c 9000000 /dev/zero | tr "\\0" x >&2; exit 1',
            ["larger than one transaction", "wmem_max"],
        ),
    ],
)
def test_refusals_are_told_with_a_remedy(
    farms: str, tmp_path: Path, program: str, words: list[str]
) -> None:
    done = nftlbc("apply", farms, path=stand_in(tmp_path, program))
    assert done.returncode == 3
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1000
    assert done.stdout == ""


def test_the_farm_that_nft_stumbled_over_is_named(farms: str, tmp_path: Path) -> None:
    script = nftlbc("compile", farms).stdout.splitlines()
    line = next(n for n, text in enumerate(script, 1) if "numgen" in text)
    program = (
        VERSION + f'cat >/dev/null; echo "/dev/stdin:{line}:9-20: Error: Could not process rule: '
        'No such file or directory" >&2; exit 1'
    )
    done = nftlbc("apply", farms, path=stand_in(tmp_path, program))
    assert done.returncode == 3
    assert "nft refused farm web in farm-web-4" in done.stderr


def test_an_element_that_nft_stumbled_over_names_its_map(farms: str, tmp_path: Path) -> None:
    script = nftlbc("compile", farms).stdout.splitlines()
    line = next(n for n, text in enumerate(script, 1) if "10.0.0.11 . 8080" in text)
    program = (
        VERSION + f'cat >/dev/null; echo "/dev/stdin:{line}:9-20: Error: Could not process rule: '
        'Too many open files in system" >&2; exit 1'
    )
    done = nftlbc("apply", farms, path=stand_in(tmp_path, program))
    assert "nft refused farm web in backends4_1024: a map is full" in done.stderr


def test_no_nft(farms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nftlbc.nft import program

    monkeypatch.setattr(program, "_SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(program.NftError) as refused:
        program.find()
    assert "apt install nftables" in str(refused.value.remedy)


def test_a_file_with_mistakes_reaches_no_nft(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(FARM.replace("8080", "80800"))
    called = tmp_path / "called"
    done = nftlbc("apply", str(file), path=stand_in(tmp_path, f"touch {called}"))
    assert done.returncode == 1
    assert "farms.lb:3:33: error:" in done.stderr
    assert not called.exists()


@pytest.mark.kernel
def test_apply_and_remove_in_a_namespace(farms: str) -> None:
    script = (
        f"nft add table ip other && {sys.executable} -m nftlbc apply {farms} && "
        f"{sys.executable} -m nftlbc apply {farms} && nft list table inet nftlbc && "
        f"{sys.executable} -m nftlbc remove && {sys.executable} -m nftlbc remove && "
        "nft list tables"
    )
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "chain farm-web-4" in done.stdout
    assert done.stdout.rstrip().endswith("table ip other")
    assert done.stderr.count("1 farm, 1 backend") == 2


def test_nft_is_given_a_whole_file(farms: str, tmp_path: Path) -> None:
    """Of a pipe it would load what it had when we were ended, if that ended with a command."""
    done = nftlbc(
        "apply", farms, path=stand_in(tmp_path, VERSION + "[ -f /dev/stdin ] && grep -c chain")
    )
    assert done.returncode == 0, done.stderr
    done = nftlbc("apply", farms, path=stand_in(tmp_path, VERSION + "[ -p /dev/stdin ]"))
    assert done.returncode == 3


def test_a_file_without_farms_is_not_applied(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text("# none yet\n")
    called = tmp_path / "called"
    done = nftlbc("apply", str(file), path=stand_in(tmp_path, f"touch {called}"))
    assert done.returncode == 1
    assert "nftlbc remove" in done.stderr
    assert not called.exists()


def test_an_nft_that_hangs_is_ended(tmp_path: Path) -> None:
    from nftlbc.nft import program

    stand_in(tmp_path, "sleep 30")
    with pytest.raises(program.NftError, match=r"did not end within 0\.2 s"):
        program.run(str(tmp_path / "nft"), ["-f", "-"], "", timeout=0.2)


@pytest.mark.kernel
def test_without_rights(farms: str) -> None:
    before = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    done = nftlbc("apply", farms, before=before)
    assert done.returncode == 3
    assert "this user may not read the kernel's tables" in done.stderr
    assert "CAP_NET_ADMIN" in done.stderr
