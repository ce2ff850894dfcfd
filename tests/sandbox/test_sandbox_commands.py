"""Commands in the namespaces, and big transactions."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hand_written import LAYOUT, ROUND_ROBIN

from nftlbc.sandbox import ProgramMissing, Sandbox, SandboxError

pytestmark = pytest.mark.kernel


def test_status_output_and_input():
    with Sandbox(LAYOUT) as box:
        done = box.run("clients", ["sh", "-c", "cat; echo no >&2; exit 3"], "über\n")
        assert (done.returncode, done.stdout, done.stderr) == (3, "über\n", "no\n")
        with pytest.raises(FileNotFoundError, match="no-such-program"):
            box.run("clients", ["/no-such-program"])


def test_each_host_is_a_network_of_its_own():
    with Sandbox(LAYOUT) as box:
        hosts = ("clients", "balancer", "servers")
        networks = {box.run(host, ["readlink", "/proc/self/ns/net"]).stdout for host in hosts}
        assert len(networks | {f"{Path('/proc/self/ns/net').readlink()}\n"}) == 4


def test_the_listeners_are_real_addresses_of_the_balancer():
    with Sandbox(LAYOUT) as box:
        addresses = box.run("balancer", ["ip", "-brief", "address", "show", "lo"]).stdout
        assert "10.3.0.1/32" in addresses
        assert "2001:db8:3::1/128" in addresses
        assert "tentative" not in box.run("balancer", ["ip", "address"]).stdout


def test_a_command_that_takes_too_long_is_killed_with_its_children():
    with Sandbox(LAYOUT) as box:
        start = time.monotonic()
        with pytest.raises(subprocess.TimeoutExpired):
            box.run("balancer", ["sh", "-c", "sleep 1001 & sleep 1002"], timeout=0.2)
        assert time.monotonic() - start < 2
        assert _gone("sleep 1001")
        assert _gone("sleep 1002")


def test_a_command_in_the_background():
    with Sandbox(LAYOUT) as box:
        command = box.start_command("servers", ["sh", "-c", "echo begun; exec sleep 1003"])
        assert box.run("servers", ["echo", "beside"]).stdout == "beside\n"
        time.sleep(0.1)
        done = command.stop()
        assert (done.returncode, done.stdout) == (-signal.SIGTERM, "begun\n")


def test_a_refused_script_is_told_by_its_status():
    with Sandbox(LAYOUT) as box:
        done = box.load("table inet nftlbc { chain")
        assert done.returncode == 1
        assert "syntax error" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can force the socket buffer")
def test_root_can_load_a_big_script():
    elements = ", ".join(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255} : {i}" for i in range(1, 40_000))
    script = (
        f"table inet big {{ map m {{ type ipv4_addr : mark; elements = {{ {elements} }}; }}; }}"
    )
    assert len(script) > 600_000
    with Sandbox(LAYOUT) as box:
        assert box.load(script).returncode == 0


def test_nothing_works_outside_the_with_block():
    box = Sandbox(LAYOUT)
    with pytest.raises(SandboxError, match="not open"):
        box.load(ROUND_ROBIN)
    with box:
        box.load(ROUND_ROBIN)
        with pytest.raises(SandboxError, match="open already"), box:
            pass
    with pytest.raises(SandboxError, match="not open"):
        box.load(ROUND_ROBIN)
    with box:
        assert box.run("balancer", [*box.nft, "list", "tables"]).stdout == ""


def test_a_missing_program_is_named_with_its_package(monkeypatch):
    with pytest.raises(ProgramMissing, match="no-such-nft is not installed"):
        Sandbox(LAYOUT, nft="no-such-nft")
    monkeypatch.setattr("nftlbc.sandbox.programs.search_path", lambda: "/nowhere")
    with pytest.raises(ProgramMissing, match="apt install nftables"):
        Sandbox(LAYOUT)


def _gone(command: str) -> bool:
    """Whether no process with this command line is left, within 2 s."""
    for _ in range(40):
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        if command not in listed.stdout.splitlines():
            return True
        time.sleep(0.05)
    return False
