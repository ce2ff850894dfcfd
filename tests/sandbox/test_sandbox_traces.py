"""A sandbox leaves nothing behind and needs no root."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hand_written import LAYOUT, ROUND_ROBIN, interpreter_for_all, outcomes, to_farm

from nftlbc.sandbox import Sandbox, SandboxError

pytestmark = pytest.mark.kernel

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]

# Opens a sandbox, puts it to use, says so, and waits to be killed.
USER = """
import sys
sys.path[:0] = sys.argv[1:3]
from hand_written import LAYOUT, ROUND_ROBIN, backends, to_farm
from nftlbc.sandbox import Sandbox
with Sandbox(LAYOUT) as box:
    assert box.load(ROUND_ROBIN).returncode == 0
    for protocol in ("tcp", "udp", "sctp"):
        for family in (4, 6):
            for host in ("clients", "balancer"):
                answers = box.ask([to_farm(family, protocol=protocol, host=host)] * 3)
                assert None not in backends(answers), answers
    box.stop_servers("10.2.0.1")
    if sys.argv[3:]:
        traffic = box.start([to_farm()])
        box.start_command("servers", ["sh", "-c", "setsid sleep 1004 & sleep 1005"])
        print("ready", flush=True)
        sys.stdin.read()
print("done")
"""


def test_the_machine_s_own_network_stays_as_it_was():
    before = _machine()
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        box.stop_servers("10.2.0.1")
        box.ask([to_farm()] * 3)
        assert _machine() == before
    assert _machine() == before


def test_every_process_is_gone_when_the_block_is_left():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        box.start_command("balancer", ["sh", "-c", "setsid sleep 1006 & sleep 1007"])
        box.start([to_farm()])
        time.sleep(0.2)
        ours = _descendants(os.getpid())
        assert len(ours) >= 9
    # At once: leaving waits for the last one.
    assert not [process for process in ours if _lives(process)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_every_process_is_gone_when_the_parent_is_killed(number):
    with _open_user([sys.executable]) as user:
        family = _descendants(user.pid)
        assert len(family) >= 9
        user.send_signal(number)
        user.wait(10)
        assert _all_gone(family)


@pytest.mark.parametrize("victim", ["holder", "init", "keeper"])
def test_whichever_process_is_killed_the_rest_goes_too(victim):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        before = _descendants(os.getpid())
        by_depth = {"holder": 0, "init": 1, "keeper": 2}
        pid = os.getpid()
        for _ in range(by_depth[victim] + 1):
            pid = next(child for child, parent, _ in before if parent == pid)
        os.kill(pid, signal.SIGKILL)
        assert _all_gone(before)
        with pytest.raises(SandboxError):
            box.ask([to_farm()])


def test_the_parent_s_thread_may_end_before_the_sandbox():
    """PR_SET_PDEATHSIG would strike here."""
    from threading import Thread

    box = Sandbox(LAYOUT)
    opener = Thread(target=box.__enter__)
    opener.start()
    opener.join()
    with_threads = []
    try:
        box.load(ROUND_ROBIN)
        askers = [
            Thread(target=lambda: with_threads.extend(box.ask([to_farm()] * 50))) for _ in range(4)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    finally:
        box.close()
    assert outcomes(with_threads) == ["answered"] * 200


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_the_parent_s_does_not_keep_it_open():
    """Forked without exec, it has the parent's end of every channel."""
    with Sandbox(LAYOUT) as box:
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        try:
            ours = [process for process in _descendants(os.getpid()) if process[0] != child]
            assert len(ours) >= 5
            start = time.monotonic()
            box.close()
            assert time.monotonic() - start < 5
            assert not [process for process in ours if _lives(process)]
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_holder_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr("nftlbc.sandbox.processes._HOLD", "raise RuntimeError('out of luck')")
    with pytest.raises(SandboxError, match="out of luck"), Sandbox(LAYOUT):
        pass


def test_an_ordinary_user_needs_no_root():
    argv = [sys.executable]
    if os.geteuid() == 0:
        if not (shutil.which("setpriv") and interpreter_for_all()):
            pytest.skip("no setpriv, or no Python that `nobody` may execute")
        argv = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            interpreter_for_all(),
        ]
    done = subprocess.run(
        [*argv, "-c", USER, str(REPOSITORY), str(HERE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
        # Ordinary users often lack the sbin folders.
        env={"PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_keeps_its_user_namespace():
    with Sandbox(LAYOUT) as box:
        inside = box.run("balancer", ["readlink", "/proc/self/ns/user"]).stdout.strip()
        assert inside == str(Path("/proc/self/ns/user").readlink())


def test_two_at_once_do_not_meet():
    with Sandbox(LAYOUT) as one, Sandbox(LAYOUT) as two:
        one.load(ROUND_ROBIN)
        assert outcomes(one.ask([to_farm()])) == ["answered"]
        assert outcomes(two.ask([to_farm()])) == ["refused"]
        assert two.run("balancer", [*two.nft, "list", "tables"]).stdout == ""


def _machine() -> list[str]:
    """Interfaces, addresses, routes, rules and tables of the machine's own namespace."""
    commands = [
        ["ip", "-brief", "link"],
        ["ip", "-brief", "address"],
        ["ip", "-4", "route", "show", "table", "all"],
        ["ip", "-6", "route", "show", "table", "all"],
        ["ip", "rule"],
        ["ip", "netns"],
        ["nft", "list", "tables"],
        ["sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter"],
    ]
    # Only root may list tables; all else is for everyone.
    return [
        subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for command in commands
    ]


def _open_user(python):
    user = subprocess.Popen(
        [*python, "-c", USER, str(REPOSITORY), str(HERE), "stay"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert user.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    return user


def _processes():
    """All of the machine's: number, parent's number, time of birth."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        if fields[0] != "Z":
            yield int(stat.parent.name), int(fields[1]), int(fields[19])


def _descendants(pid):
    everyone = list(_processes())
    found, generation = [], {pid}
    while generation:
        children = [process for process in everyone if process[1] in generation]
        found += children
        generation = {child for child, _, _ in children}
    return found


def _lives(process):
    pid, _, birth = process
    return any(pid == other and birth == born for other, _, born in _processes())


def _all_gone(processes, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(map(_lives, processes)):
            return True
        time.sleep(0.02)
    return False
