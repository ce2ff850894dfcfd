"""packaging/nftlbc.service: what it runs exists, and runs with no more rights than it has there."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nftlbc.cli import app as cli
from nftlbc.cli.terminal import DEFAULT_FILE
from nftlbc.nft import lock

UNIT = Path(__file__).parents[1] / "packaging" / "nftlbc.service"
FARM = """
farm web {
    listen 203.0.113.10 tcp port 80
    persist source-ip
    forward masquerade
    backend app1 10.0.0.11 port 8080
}
"""

BOX = f"""
set -e
mount --make-rprivate /
mount -t tmpfs none /tmp
mount -t tmpfs none /run
mkdir {lock._FOLDER}
mount --bind {lock._FOLDER} {lock._FOLDER}
mount -o remount,bind,ro /run
mount -o remount,bind,ro /
for place in / /run; do if touch $place/odd 2>/dev/null; then exit 99; fi; done
ip -br link >&2
exec setpriv --no-new-privs --bounding-set=-all,+net_admin --inh-caps=-all,+net_admin "$@"
"""
"""As the unit's: a system that can't be written to but for its /tmp and the folder of the lock."""


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(UNIT.read_text("utf-8"))
    return found


@pytest.mark.parametrize("setting", ["ExecStart", "ExecReload"])
def test_its_commands_are_there(unit: configparser.ConfigParser, setting: str) -> None:
    program, name, *arguments = shlex.split(unit["Service"][setting])
    assert program == "nftlbc"
    cli._commands()
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, list(arguments))
    assert context.params["file"] == unit["Unit"]["ConditionPathExists"] == DEFAULT_FILE


def test_it_may_write_where_the_lock_is(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert f"/run/{service['RuntimeDirectory']}" == str(lock._FOLDER)
    # Were it taken away at a stop, who waits there and who comes later would hold different locks.
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert service["CapabilityBoundingSet"] == "CAP_NET_ADMIN"


def test_it_follows_nftables(unit: configparser.ConfigParser) -> None:
    about = unit["Unit"]
    assert "nftables.service" in about["After"].split()
    assert about["ReloadPropagatedFrom"] == about["PartOf"] == "nftables.service"
    assert "nftables.service" in unit["Install"]["WantedBy"].split()
    assert "network-pre.target" in about["Before"].split()


@pytest.mark.kernel
def test_apply_needs_only_its_rights_and_no_network() -> None:
    """In a namespace with no interface but lo, which is down."""
    unshare = ["unshare", "-nm"] if os.geteuid() == 0 else ["unshare", "-Urnm"]
    shown = 'set -e; "$@" -; nft list table inet nftlbc; ls /run/nftlbc'
    apply = ["env", "-i", f"PATH={os.environ['PATH']}", sys.executable, "-m", "nftlbc", "apply"]
    done = subprocess.run(
        [*unshare, "sh", "-c", BOX, "sh", "sh", "-c", shown, "sh", *apply],
        input=FARM,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=UNIT.parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("lo ")
    assert "DOWN" in done.stderr.splitlines()[0]
    assert "1 farm, 1 backend: done" in done.stderr
    assert "chain farm-web-4" in done.stdout
    assert ".lock" in done.stdout
