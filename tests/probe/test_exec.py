"""Checks by a command: its environment, its status, its number, and that nothing of it is left."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from asking import asked, run, target

from nftlbc.farms import Backend, Balance, Farm, Listener
from nftlbc.probe.weights import weigh
from nftlbc.states import of_text, text

SH = "/bin/sh"


def script(text: str, *arguments: str) -> tuple[str, ...]:
    return (SH, "-c", text, "check", *arguments)


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def written(file: Path) -> int:
    until = time.monotonic() + 10
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < until
        time.sleep(0.01)
    return int(file.read_text())


def gone(number: int) -> bool:
    until = time.monotonic() + 5
    while alive(number) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(number)


@pytest.mark.parametrize(
    ("text", "word", "told"),
    [
        ("exit 0", "ok", "status 0"),
        ("exit 3", "exit-3", "status 3"),
        ("echo the disk is full; exit 3", "exit-3", "status 3: the disk is full"),
        ("kill -TERM $$", "signal", "ended by SIGTERM"),
        ("printf '\\033[31m\\n'; exit 1", "exit-1", "status 1: \ufffd[31m"),
        ("echo secret >&2; exit 1", "exit-1", "status 1"),
    ],
)
def test_status(text: str, word: str, told: str) -> None:
    result = asked("exec", 8080, command=script(text))
    assert (result.word, result.passed) == (word, word == "ok")
    assert result.why == f"exec 127.0.0.1:8080 {told}"


def test_its_environment_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNMP_COMMUNITY", "secret")
    wanted = "web app1 10.0.0.1 8080 unset"
    told = "$NFTLBC_FARM $NFTLBC_BACKEND $NFTLBC_ADDRESS $NFTLBC_PORT ${SNMP_COMMUNITY-unset}"
    command = script(f'test "{told}" = "$1" && test -n "$PATH"', wanted)
    assert asked("exec", 8080, "10.0.0.1", command=command).passed
    assert not asked("exec", 8081, "10.0.0.1", command=command).passed


def test_there_is_no_shell() -> None:
    assert not asked("exec", 1, command=("/bin/true; true",)).passed
    assert asked("exec", 1, command=("/usr/bin/test", "$HOME", "=", "$HOME")).passed
    assert not asked("exec", 1, command=("/usr/bin/test", "$HOME", "=", os.environ["HOME"])).passed


@pytest.mark.parametrize("command", ["/nowhere/x", "/etc/passwd", "/etc"])
def test_a_command_that_is_none_is_this_machines_fault(command: str) -> None:
    result = asked("exec", 1, command=(command,))
    assert (result.passed, result.word, result.silent) == (False, "command", True)


@pytest.mark.parametrize(
    ("printed", "figure"),
    [
        ("0.75", 0.75),
        ("12 connections", 12.0),
        (" 1e3\n5", 1000.0),
        ("", None),
        ("many", None),
        ("nan", None),
        ("inf", None),
        ("-1", None),
    ],
)
def test_the_number_that_it_prints(printed: str, figure: float | None) -> None:
    result = asked("exec", 1, command=("/usr/bin/printf", "%s\\n", printed))
    assert (result.passed, result.figure) == (True, figure)


@pytest.mark.parametrize(
    "text",
    [
        "echo $$ > FILE; sleep 60",
        "sleep 60 & echo $! > FILE; wait",
        "(sleep 60 & echo $! > FILE; wait)",
        "set -m; sleep 60 & echo $! > FILE; wait",
        "setsid sh -c 'echo $$ > FILE; sleep 60' & sleep 60",
        "trap '' TERM INT HUP; echo $$ > FILE; while :; do sleep 1; done",
    ],
)
def test_at_its_deadline_it_is_killed_with_its_children(text: str, tmp_path: Path) -> None:
    file = tmp_path / "number"
    command = script(text.replace("FILE", str(file)))
    result = asked("exec", 1, timeout=500, command=command)
    assert (result.passed, result.word) == (False, "timeout")
    assert gone(written(file))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_stays_behind_delays_nothing_and_is_killed(tmp_path: Path) -> None:
    """It keeps the output open, which a reader would wait for."""
    file = tmp_path / "number"
    result = asked("exec", 1, command=script(f"sleep 60 & echo $! > {file}; echo 5"))
    assert (result.passed, result.figure) == (True, 5.0)
    assert gone(written(file))


def test_output_without_end_is_not_read() -> None:
    result = asked("exec", 1, command=script("cat /dev/zero"))
    assert (result.passed, result.word) == (False, "too-much")


def test_many_at_once_and_a_run_that_is_cut_short(tmp_path: Path) -> None:
    quick = [target("exec", n, command=script("exit 0")) for n in range(1, 101)]
    slow = [target("exec", n, timeout=60_000, command=script("sleep 60")) for n in range(1, 11)]
    found = run([*quick, *slow], deadline=4)
    assert all(found[each].passed for each in quick)
    assert not any(each in found for each in slow)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_python_itself_may_be_the_command() -> None:
    assert asked("exec", 1, command=(sys.executable, "-c", "print(1)")).figure == 1.0


def test_a_number_beyond_all_measure_is_a_load_like_another() -> None:
    """Weights go on, and what is remembered of them is read back."""
    figure = asked("exec", 1, command=script("echo 1e308")).figure
    backends = tuple(Backend(f"b{n}", f"10.0.0.{n}", 80) for n in range(1, 4))
    listeners = (Listener("203.0.113.1", "tcp", 80, 80),)
    farm = Farm("web", listeners, backends, balance=Balance("custom"))
    for _ in range(3):
        farm = weigh(farm, {"b1": figure, "b2": figure, "b3": 1.0}, 1_000_000)
    for each in farm.backends:
        measured = each.remembered.measured
        assert measured is not None
        again = of_text(text(each.remembered)).measured
        assert again is not None
        assert again.weight == pytest.approx(measured.weight, rel=1e-3)
