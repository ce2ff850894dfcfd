"""The loop as a service: its manager, the journal, the commands of farms, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
import time
from pathlib import Path

import pytest
from network import NFTLBC, Network, farm, network, wait_for

pytestmark = pytest.mark.kernel


def test_the_service_manager(tmp_path: Path) -> None:
    with network(tmp_path, farm(2)) as net:
        # The first sign of life comes at once, the others by the watchdog's time and not the tick's.
        with net.loop(every="60s", environment={"WATCHDOG_USEC": "900000"}) as loop:
            assert "STATUS=checking 2 backends" in loop.told
            loop.told.clear()
            for _ in range(3):
                loop.hears("WATCHDOG=1")
                loop.told.clear()
            took = loop.close()
        assert "STOPPING=1" in loop.told
        print(f"\nSIGTERM: {took * 1000:.0f} ms")
        assert took < 5  # about .2 s


def test_it_ends_at_once_whatever_goes_on(tmp_path: Path) -> None:
    """A command that hangs, checks that are not answered, and a lock that another one has."""
    command = script(tmp_path / "hang", "sleep 60")
    text = farm(
        2,
        "check tcp { interval 5s; timeout 5s; fall 1; rise 1 }\n    check tcp {"
        " interval 300ms; timeout 300ms; fall 1; rise 1 }",
        f'on-change exec "{command}"',
    )
    with network(tmp_path, text) as net, net.loop() as loop:
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down")
        net.box.stop_servers("10.0.0.2", outcome="silent")
        hold = (
            "import time; from nftlbc.nft import lock\n"
            "with lock.held():\n open('locked', 'w'); time.sleep(40)"
        )
        other = net.box.start_command(
            "balancer",
            ("sh", "-c", f'cd {tmp_path} && exec "$@"', "sh", sys.executable, "-c", hold),
        )
        wait_for((tmp_path / "locked").exists)
        net.box.start_servers("10.0.0.1")
        time.sleep(1)  # it waits for the lock
        took = loop.close()
        print(f"\nSIGTERM with all that: {took * 1000:.0f} ms")
        assert took < 8  # about 1 s
        other.stop()
        assert not running(net, "sleep 60")


def running(net: Network, text: str) -> bool:
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            there = str((entry / "ns" / "net").readlink()) if entry.name.isdigit() else ""
        except OSError:
            continue
        if text in line and there == _namespace(net):
            return True
    return False


def _namespace(net: Network) -> str:
    return net.box.run("balancer", ("readlink", "/proc/self/ns/net")).stdout.strip()


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_who_sits_before_it_sees_that_it_runs(tmp_path: Path) -> None:
    with network(tmp_path, farm(2)) as net:
        with net.loop() as loop:
            pass
        assert loop.text == ""
        screen = tmp_path / "screen"
        probe = f"{sys.executable} -m nftlbc probe {net.file} --every 1s"
        command = net.box.start_command("balancer", ("script", "-qfec", probe, str(screen)))
        wait_for(lambda: screen.exists() and "checking" in screen.read_text())
        net.write(net.file.read_text() + farm(1, name="new", port=81))
        wait_for(lambda: "was read" in screen.read_text())
        command.stop(signal.SIGTERM)
        lines = [line for line in screen.read_text().splitlines() if "Script" not in line]
        began, missing, read = lines[:3]
        assert re.fullmatch(r"\d\d:\d\d:\d\d checking 2 backends of 1 farm; Ctrl-C ends it", began)
        text = "farm new: not in the table, and not checked: nftlbc apply loads it"
        assert missing[9:] == text
        assert read[9:] == "the farms file was read: checking 2 backends of 1 farm"
        once = net.probe()
        assert text in once.stderr


def test_remove_tells_who_puts_the_table_back(tmp_path: Path) -> None:
    nftlbc = (sys.executable, "-m", "nftlbc")
    with network(tmp_path, farm(1)) as net:
        with net.loop():
            told = net.box.run("balancer", (*nftlbc, "remove"))
            assert re.search(r"probe --every \(process \d+\) puts the table back", told.stderr)
            assert "systemctl stop nftlbc-probe" in told.stderr
            wait_for(lambda: "table inet nftlbc" in net.nft("list", "tables"))
        for text in ("table inet nftlbc is gone", "there was no table inet nftlbc"):
            told = net.box.run("balancer", (*nftlbc, "remove"))
            assert (told.returncode, told.stderr) == (0, f"{text}\n")


def test_a_quiet_loop_tells_that_checks_are_made(tmp_path: Path) -> None:
    with network(tmp_path, farm(2)) as net:
        assert '"probed=0"' in net.nft("list", "table", "inet", "nftlbc")
        with net.loop():
            wait_for(lambda: '"probed=1' in net.nft("list", "table", "inet", "nftlbc"))


def test_records_are_written_at_the_end(tmp_path: Path) -> None:
    """What only the memory knew: that one of two successes was there."""
    slow = "check tcp { interval 1s; timeout 300ms; fall 1; rise 9 }"
    with network(tmp_path, farm(2, slow)) as net:
        with net.loop() as loop:
            net.box.stop_servers("10.0.0.1")
            loop.says("web/b1 down")
            net.box.start_servers("10.0.0.1")
            time.sleep(3)
        record = net.nft("list", "table", "inet", "nftlbc").split("check=down/")[1]
        row = int(record.split("/")[1])
        assert 0 < row < 9
        # The next one goes on from there.
        with net.loop() as loop:
            loop.says("web/b1 up")


def test_the_journal_has_priorities_and_programs_have_json(tmp_path: Path) -> None:
    with network(tmp_path, farm(1)) as net:
        # As systemd does it: standard output is the journal's stream, and the variable names it.
        out = tmp_path / "out"
        out.touch()
        found = out.stat()
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        with net.loop(environment=journal) as loop:
            net.box.stop_servers("10.0.0.1")
            loop.says("nobody takes new clients")
            net.box.start_servers("10.0.0.1")
            loop.says("at its quorum")
        assert [line[:3] for line in loop.lines] == ["<4>", "<3>", "<5>", "<5>"]
        with net.loop("--json") as loop:
            net.box.stop_servers("10.0.0.1")
            loop.says("quorum")
        first, second = map(json.loads, loop.lines)
        assert abs(first.pop("time") - time.time()) < 60
        assert first.pop("text").startswith("tcp 10.0.0.1:8080 connection refused, 2 of 2")
        assert first == {"kind": "down", "farm": "web", "backend": "b1"}
        assert (second["kind"], second["backend"]) == ("quorum", "")


def test_commands_are_called_in_order_and_keep_nobody_waiting(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    slow = script(
        tmp_path / "slow",
        f'sleep 0.4; echo "$NFTLBC_BACKEND $NFTLBC_WAS-$NFTLBC_STATE $NFTLBC_REASON'
        f' $NFTLBC_ADDRESS:$NFTLBC_PORT $NFTLBC_QUORUM $NFTLBC_TAKERS/$NFTLBC_NEEDED" >>{calls}',
    )
    hang = script(tmp_path / "hang", "sleep 30")
    text = farm(2, more=f'on-change exec "{slow}"')
    # More that hang than there are threads for other work.
    hanging = "".join(
        farm(2, name=f"f{n}", port=100 + n, more=f'on-change exec "{hang}"') for n in range(10)
    )
    with network(tmp_path, text + hanging) as net, net.loop() as loop:
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down")
        begin = time.monotonic()
        net.box.stop_servers("10.0.0.2")
        loop.says("web/b2 down")
        loop.says("f9/b2 down")
        assert time.monotonic() - begin < 8  # hanging commands are ended after 10 s
        net.box.start_servers("10.0.0.1")
        loop.says("web: at its quorum")
        wait_for(lambda: calls.exists() and len(calls.read_text().splitlines()) == 5)
        assert calls.read_text().splitlines() == [
            "b1 up-down refused 10.0.0.1:8080 met 1/1",
            "b2 up-down refused 10.0.0.2:8080 missed 0/1",
            " quorum-met-quorum-missed refused : missed 0/1",
            "b1 down-up check 10.0.0.1:8080 met 1/1",
            " quorum-missed-quorum-met check : met 1/1",
        ]


def test_it_does_not_begin_without_a_table_or_a_file(tmp_path: Path) -> None:
    with network(tmp_path, farm(1), apply=False) as net:
        done = net.probe("--every", "1s", status=3)
        assert "there is no table inet nftlbc" in done.stderr
        assert "nftlbc apply FILE" in done.stderr
        net.apply()
        net.write(farm(1).replace("interval 300ms", "interval x"))
        done = net.probe("--every", "1s", status=1)
        assert "farms.lb:4" in done.stderr
        assert "Traceback" not in done.stderr
        assert "name a file" in net.nftlbc("probe", "-", "--every", "1s", status=2).stderr
        net.probe("--every", "1s", "--explain", status=2)
        net.probe("--every", "soon", status=2)


def test_a_full_disk_of_its_log_does_not_end_it(tmp_path: Path) -> None:
    with network(tmp_path, farm(2)) as net:
        words = f'exec "$@" >/dev/full 2>{tmp_path}/err'
        command = net.box.start_command(
            "balancer",
            (
                "sh",
                "-c",
                words,
                "sh",
                sys.executable,
                "-m",
                "nftlbc",
                "probe",
                str(net.file),
                "--every",
                "500ms",
            ),
        )
        time.sleep(2)
        net.box.stop_servers("10.0.0.1")
        wait_for(lambda: net.who(2) == {"10.0.0.2": 2})
        net.box.start_servers("10.0.0.1")
        wait_for(lambda: len(net.who(2)) == 2)
        assert command.stop().returncode == 0


def test_a_farms_file_that_becomes_a_pipe(tmp_path: Path) -> None:
    """Nobody writes there: a loop that waited for it would check, and change, nothing any more."""
    with network(tmp_path, farm(2)) as net:
        with net.loop() as loop:
            pipe = tmp_path / "pipe"
            os.mkfifo(pipe)
            pipe.replace(net.file)
            loop.says("is no ordinary file: name a farms file; the checks stay as they were")
            net.box.stop_servers("10.0.0.1")
            loop.says("web/b1 down")
            net.write(farm(2, "check tcp { interval 300ms; timeout 300ms; fall 1; rise 1 }"))
            net.box.start_servers("10.0.0.1")
            loop.says("web/b1 up")
        os.mkfifo(pipe)
        done = net.nftlbc("probe", str(pipe), "--every", "1s", status=2)
        assert "reads the farms file again when it changes" in done.stderr


def test_it_ends_when_its_reader_has_gone(tmp_path: Path) -> None:
    """``probe --every 2s | head -1``: at the next word."""
    first, status = tmp_path / "first", tmp_path / "status"
    with network(tmp_path, farm(2)) as net:
        shell = f'{{ "$@"; echo $? >{status}; }} | head -n 1 >{first}'
        words = (*NFTLBC, "probe", str(net.file), "--every=300ms")
        command = net.box.start_command("balancer", ("sh", "-c", shell, "sh", *words))
        net.box.stop_servers("10.0.0.1")
        wait_for(lambda: first.exists() and "web/b1 down" in first.read_text())
        net.box.start_servers("10.0.0.1")
        wait_for(lambda: status.exists() and status.read_text())
        assert status.read_text() == "141\n"
        command.stop()
        assert net.status()["web/b1"] == "up"
