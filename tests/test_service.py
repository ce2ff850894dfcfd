"""packaging/: what the units run exists, and runs with no more rights than it has there."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nftlbc.cli import app as cli
from nftlbc.cli.terminal import DEFAULT_FILE
from nftlbc.nft import lock

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
TABLE = "nftlbc.service"
PROBES = ("nftlbc-probe.service", "nftlbc-probe-once.service")
SERVICES = (TABLE, *PROBES)
FARM = """
farm web {
    listen 203.0.113.10 tcp port 80
    persist source-ip
    forward masquerade
    backend app1 10.0.0.11 port 8080
}
"""
PROBED = """
farm pinged {
    listen 203.0.113.10 tcp port 80
    backend here 127.0.0.1 port 8080
    backend gone 127.0.0.2 port 8080 state down
    check icmp { timeout 1s }
    check exec { command "/bin/sh" "-c" "touch /tmp/own && ! touch /odd 2>/dev/null" }
}
"""

# A checkout in /tmp goes on being there.
OWN_TMP = f"""
here=$(mktemp -d)
mount -t tmpfs none $here
mkdir -p $here{str(ROOT).removeprefix("/tmp")}
mount --rbind {ROOT} $here{str(ROOT).removeprefix("/tmp")}
mount --move $here /tmp
"""
BOX = f"""
set -e
mount --make-rprivate /
{OWN_TMP if ROOT.is_relative_to("/tmp") else "mount -t tmpfs none /tmp"}
mount -t tmpfs none /run
mkdir {lock._FOLDER}
mount --bind {lock._FOLDER} {lock._FOLDER}
mount -o remount,bind,ro /run
mount -o remount,bind,ro /
for place in / /run; do if touch $place/odd 2>/dev/null; then exit 99; fi; done
ip -br link >&2
$PREPARE
exec setpriv --no-new-privs --bounding-set=-all,$CAPABILITIES --inh-caps=-all,$CAPABILITIES "$@"
"""
"""As the unit's: a system that can't be written to but for its /tmp and the folder of the lock."""


def read(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string((PACKAGING / name).read_text("utf-8"))
    return found


def understood(line: str) -> dict[str, object]:
    """What nftlbc takes from a command line of a unit or of cron."""
    program, name, *arguments = shlex.split(line)
    assert program in ("/usr/bin/nftlbc", "nftlbc")
    cli._commands()
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    return dict(command.make_context(name, list(arguments)).params)


@pytest.mark.parametrize("name", SERVICES)
def test_its_commands_are_there(name: str) -> None:
    unit = read(name)
    lines = [unit["Service"][key] for key in ("ExecStart", "ExecReload") if key in unit["Service"]]
    for line in lines:
        assert line.startswith("/"), "systemd-analyze verify wants the whole path"
        if line == "/bin/sh -c 'kill -HUP $MAINPID'":
            continue
        assert line.startswith("/usr/bin/nftlbc "), "where the package puts it"
        assert understood(line)["file"] == unit["Unit"]["ConditionPathExists"] == DEFAULT_FILE


def test_what_they_run_is_what_they_are_for() -> None:
    assert understood(read("nftlbc-probe.service")["Service"]["ExecStart"])["every"]
    assert understood(read("nftlbc-probe-once.service")["Service"]["ExecStart"])["probe"]
    line = (PACKAGING / "nftlbc.cron").read_text().splitlines()[-1]
    assert understood(re.sub(r"^(\S+\s+){5}root\s+", "", line))["probe"]


@pytest.mark.parametrize("name", SERVICES)
def test_it_may_write_where_the_lock_is(name: str) -> None:
    service = read(name)["Service"]
    assert f"/run/{service['RuntimeDirectory']}" == str(lock._FOLDER)
    # Were it taken away at a stop, who waits there and who comes later would hold different locks.
    assert service["RuntimeDirectoryPreserve"] == "yes"


def test_it_follows_nftables() -> None:
    about = read(TABLE)["Unit"]
    assert "nftables.service" in about["After"].split()
    assert about["ReloadPropagatedFrom"] == about["PartOf"] == "nftables.service"
    assert "nftables.service" in read(TABLE)["Install"]["WantedBy"].split()
    assert "network-pre.target" in about["Before"].split()


def test_probing_stops_and_comes_back_with_the_table() -> None:
    unit = read("nftlbc-probe.service")
    assert unit["Unit"]["Requires"] == TABLE
    assert TABLE in unit["Unit"]["After"].split()
    assert TABLE in unit["Install"]["WantedBy"].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_has_nothing_to_say(tmp_path: Path) -> None:
    """But that nftlbc is not in /usr/bin, on this machine."""
    for path in PACKAGING.glob("nftlbc*.*"):
        if path.suffix in (".service", ".timer"):
            text = path.read_text("utf-8").replace("/usr/bin/nftlbc", "/bin/true")
            (tmp_path / path.name).write_text(text, "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    told = [line for line in done.stderr.splitlines() if "nftlbc" in line or str(tmp_path) in line]
    assert (done.returncode, told) == (0, [])


def run(
    name: str, command: list[str], farms: str, shown: str = "true", prepare: str = "true"
) -> subprocess.CompletedProcess[str]:
    """Runs a command of nftlbc with the rights of a unit, then a shell's line."""
    capabilities = read(name)["Service"]["CapabilityBoundingSet"].split()
    wanted = ",".join(f"+{each.removeprefix('CAP_').lower()}" for each in capabilities)
    unshare = ["unshare", "-nm"] if os.geteuid() == 0 else ["unshare", "-Urnm"]
    script = BOX.replace("$CAPABILITIES", wanted).replace("$PREPARE", prepare)
    program = ["env", "-i", f"PATH={os.environ['PATH']}", sys.executable, "-m", "nftlbc"]
    inside = ["sh", "-c", f'set -e; "$@"; {shown}', "sh", *program, *command, "-"]
    return subprocess.run(
        [*unshare, "sh", "-c", script, "sh", *inside],
        input=farms,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.kernel
def test_apply_needs_only_its_rights_and_no_network() -> None:
    """In a namespace with no interface but lo, which is down."""
    assert read(TABLE)["Service"]["CapabilityBoundingSet"] == "CAP_NET_ADMIN"
    done = run(TABLE, ["apply"], FARM, "nft list table inet nftlbc; ls /run/nftlbc")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("lo ")
    assert "DOWN" in done.stderr.splitlines()[0]
    assert "1 farm, 1 backend: done" in done.stderr
    assert "chain farm-web-4" in done.stdout
    assert ".lock" in done.stdout


@pytest.mark.kernel
@pytest.mark.parametrize("name", PROBES)
def test_checks_ping_and_run_commands_with_only_their_rights(name: str) -> None:
    """The command may write to its own /tmp, and nowhere else."""
    done = run(name, ["apply", "--probe"], PROBED, prepare="ip link set lo up")
    assert done.returncode == 0, done.stderr
    assert "1 farm, 2 backends: done" in done.stderr
    assert "here down" not in done.stdout
