"""One run, as cron makes it: what it does, what it says, how it ends."""

from __future__ import annotations

import json
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from network import NFTLBC, VIP, Network, farm, network, wait_for

from nftlbc.sandbox import Request

pytestmark = pytest.mark.kernel

FALL3 = "check tcp { interval 5s; timeout 500ms; fall 3; rise 2 }"


def record(net: Network) -> str:
    found = re.search(r'comment "([^"]*check=[^"]*)"', net.nft("list", "table", "inet", "nftlbc"))
    return found[1] if found else ""


def test_down_in_one_run_and_back_in_two(tmp_path: Path) -> None:
    check = "check http { interval 5s; timeout 500ms; fall 3; rise 2 }"
    with network(tmp_path, farm(2, check), servers=False) as net:
        with net.shops("10.0.0.1", "10.0.0.2") as folder:
            log = folder / "10.0.0.1.log"
            assert net.probe().stdout == ""
            assert len(log.read_text().splitlines()) == 1
            (folder / "10.0.0.1.mode").write_text("503")
            begin = time.monotonic()
            done = net.probe()
            assert done.stdout == "web/b1 down: http 10.0.0.1:8080 status 503, 3 of 3\n"
            assert time.monotonic() - begin < 15  # not fall times the interval
            assert len(log.read_text().splitlines()) == 1 + 3
            assert net.who(1)["10.0.0.1"] == 0
            # Down it is asked once. Nothing has changed: nothing is said.
            done = net.probe()
            assert (done.stdout, done.stderr) == ("", "")
            assert len(log.read_text().splitlines()) == 1 + 3 + 1
            (folder / "10.0.0.1.mode").write_text("ok")
            assert net.probe().stdout == ""
            assert record(net).startswith("check=down/")
            assert net.probe().stdout == "web/b1 up: its checks pass\n"


def test_several_checks_and_one_of_the_same_thing(tmp_path: Path) -> None:
    both = 'check tcp { fall 1; rise 1 }\n    check http { path "/x"; fall 1; rise 1 }'
    text = (
        farm(1, both)
        + farm(1, both, name="same", port=81)
        + farm(1, "check tcp", name="t", port=82)
    )
    with network(tmp_path, text, servers=False) as net, net.shops("10.0.0.1") as folder:
        assert net.probe().stdout == ""
        # Of three farms: one connection for tcp, one for http.
        assert len((folder / "10.0.0.1.log").read_text().splitlines()) == 2
        (folder / "10.0.0.1.mode").write_text("404")
        lines = net.probe(status=4).stdout.splitlines()
        assert sorted(line for line in lines if " down: " in line) == [
            "same/b1 down: http 10.0.0.1:8080 status 404, 1 of 1",
            "web/b1 down: http 10.0.0.1:8080 status 404, 1 of 1",
        ]
        assert net.status()["t/b1"] == "up"


def test_exit_statuses_and_what_is_said(tmp_path: Path) -> None:
    with network(tmp_path, farm(2, FALL3, "quorum 2"), apply=False) as net:
        done = net.probe(status=3)
        assert done.stdout == ""
        assert "there is no table inet nftlbc" in done.stderr
        net.apply()
        assert net.probe().stderr == ""
        net.box.stop_servers("10.0.0.1")
        # Nothing is changed by a dry run, and it says what it would do.
        dry = net.probe("--dry-run", status=4)
        assert dry.stdout.splitlines()[0].startswith("web/b1 down: tcp 10.0.0.1:8080 connection")
        assert "1 of 2 backends pass their checks: would change" in dry.stderr
        assert net.who(2)["refused"] == 1
        found = [json.loads(line) for line in net.probe("--json", status=4).stdout.splitlines()]
        assert [each["kind"] for each in found] == ["down", "quorum"]
        assert found[0]["backend"] == "b1"
        # Still below: the status says so, and cron has nothing to send.
        done = net.probe(status=4)
        assert (done.stdout, done.stderr) == ("", "")
        told = net.probe("--explain", status=4)
        assert "b1  10.0.0.1:8080: down (checks: down)" in told.stdout
        assert "tcp 10.0.0.1:8080 connection refused: " in told.stdout
        assert "ms; rise 2" in told.stdout
        assert "tcp 10.0.0.2:8080 connected: " in told.stdout
        assert "nftlbc: below quorum: web" in told.stderr
        net.probe("--explain", "--json", status=2)
        net.probe("--deadline", "never", status=2)
        net.write("farm web {")
        net.probe(status=1)


def test_a_deadline_for_all_of_it(tmp_path: Path) -> None:
    check = "check tcp { interval 60s; timeout 60s; fall 3; rise 2 }"
    with network(tmp_path, farm(3, check)) as net:
        net.box.stop_servers("10.0.0.1", outcome="silent")
        begin = time.monotonic()
        done = net.probe("--deadline", "3s")
        assert time.monotonic() - begin < 30
        assert done.stdout == ""
        assert done.stderr == "nftlbc: not checked in time: 1 backend\n"
        assert set(net.status().values()) == {"up"}


def test_explain_tells_the_arithmetic_and_averages_are_silent(tmp_path: Path) -> None:
    text = farm(2, FALL3, "balance least-connections")
    with network(tmp_path, text) as net:
        requests = [Request("clients", None, VIP, 80, hold=True)] * 20
        held = net.box.ask(requests)
        net.box.release([each for each in held if each.backend == "10.0.0.2"])
        done = net.probe()
        assert (done.stdout, done.stderr) == ("", "")
        told = net.probe("--explain").stdout
        weights = re.findall(
            r"load (\S+) now, (\S+) before -> (\S+); weight (\S+) -> (\S+) \(configured 1\)", told
        )
        assert len(weights) == 2, told
        for now, before, mean, _, _ in weights:
            assert float(mean) == pytest.approx((float(now) + float(before)) / 2, rel=1e-3)
        assert float(weights[0][4]) < 1 < float(weights[1][4])
        for _ in range(4):
            net.probe()
        assert net.who(32)["10.0.0.2"] > 20


def test_hands_and_checks_are_two_things(tmp_path: Path) -> None:
    quick = "check tcp { timeout 500ms; fall 1; rise 1 }"
    with network(tmp_path, farm(3, quick, "persist source-ip")) as net:
        net.nftlbc("drain", "web/b1")
        net.nftlbc("disable", "web/b2")
        net.box.stop_servers("10.0.0.1")
        net.box.stop_servers("10.0.0.2")
        assert "web/b1 down" in net.probe().stdout
        assert net.status() == {"web/b1": "down", "web/b2": "disabled", "web/b3": "up"}
        # Applied meanwhile: the records stay.
        net.apply()
        assert net.status() == {"web/b1": "down", "web/b2": "disabled", "web/b3": "up"}
        net.box.start_servers("10.0.0.1")
        net.box.start_servers("10.0.0.2")
        assert "web/b1 up" in net.probe().stdout
        assert net.status() == {"web/b1": "draining", "web/b2": "disabled", "web/b3": "up"}
        # Enabled while it is down, it waits for its checks.
        net.box.stop_servers("10.0.0.1")
        net.probe()
        net.nftlbc("enable", "web/b1", "web/b2")
        assert net.status() == {"web/b1": "down", "web/b2": "up", "web/b3": "up"}
        # Without checks nobody would bring it back: the record goes with them.
        net.write(farm(3, ""))
        net.apply()
        assert net.status()["web/b1"] == "up"


def test_findings_go_with_the_checks_in_a_run_too(tmp_path: Path) -> None:
    with network(tmp_path, farm(2, FALL3)) as net:
        net.box.stop_servers("10.0.0.1")
        net.probe()
        net.write(farm(2, ""))
        net.probe()
        assert net.status()["web/b1"] == "up"


def test_hold_lasts_three_runs(tmp_path: Path) -> None:
    check = "check tcp { interval 5s; timeout 200ms; fall 2; rise 1 }"
    with network(tmp_path, farm(10, check)) as net:
        for n in range(1, 8):
            net.box.stop_servers(f"10.0.0.{n}", outcome="silent")
        net.box.stop_servers("10.0.0.8")  # a refusal is an answer
        first = net.probe(status=4).stdout
        assert "more than half of the machines fell silent at once" in first
        assert "web/b8 down" in first
        assert "down" not in net.probe(status=4).stdout
        assert net.probe("--dry-run", "--no-hold").stdout.count(" down: ") == 7
        assert net.probe().stdout.count(" down: ") == 7
        assert set(net.who(4)) == {"10.0.0.9", "10.0.0.10"}


def test_apply_probe_never_lets_a_client_meet_the_dead(tmp_path: Path) -> None:
    with network(tmp_path, farm(4, FALL3), apply=False) as net:
        net.box.stop_servers("10.0.0.2")
        net.box.stop_servers("10.0.0.3", outcome="silent")
        with net.clients(0.003, 2.0) as calls:
            done = net.apply("--probe")
            assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
                "web/b2 down",
                "web/b3 down",
            ]
            # The table is gone and comes back: still nobody meets them.
            wait_for(lambda: net.who(1) != {"refused": 1})
            begin = time.monotonic()
            net.nft("flush", "ruleset")
            end = time.monotonic()
            assert "web/b2 down" in net.apply("--probe").stdout
            time.sleep(0.2)
        answered = {each.by for each in calls if each.by}
        assert answered == {"10.0.0.1", "10.0.0.4"}
        # Nobody listens where there is no table. Who is silent was never asked: those apart who
        # were about to be answered when their translation went.
        silent = [each.began for each in calls if each.wrong == "silent"]
        assert all(begin - 0.5 < began < end for began in silent)
        # The line for cron: nothing changed, nothing said.
        done = net.apply("--probe")
        assert (done.stdout, done.stderr) == ("", "")


def test_one_at_a_time(tmp_path: Path) -> None:
    hold = "import sys, time; from nftlbc.nft import lock\nwith lock.held():\n"
    hold += " open(sys.argv[1], 'w'); time.sleep(60)"
    with network(tmp_path, farm(1, FALL3)) as net:
        taken = tmp_path / "taken"
        other = net.box.start_command("balancer", (sys.executable, "-c", hold, str(taken)))
        wait_for(taken.exists)
        for command in ("probe", "apply"):
            options = ["--probe"] if command == "apply" else []
            done = net.nftlbc(command, str(net.file), *options, "--no-wait", status=3)
            assert "another nftlbc is changing the table" in done.stderr
        # A dry run changes nothing, and waits for nobody.
        net.probe("--dry-run")
        other.stop()
        net.probe("--no-wait")


def test_killed_at_any_moment_the_table_is_whole(tmp_path: Path) -> None:
    quick = "check tcp { timeout 500ms; fall 1; rise 1 }"
    chance = random.Random(6)
    with network(tmp_path, farm(3, quick)) as net:
        for number in range(6):
            (net.box.stop_servers if number % 2 == 0 else net.box.start_servers)("10.0.0.1")
            words = ("apply", "--probe") if number % 3 == 2 else ("probe",)
            command = net.box.start_command("balancer", (*NFTLBC, *words, str(net.file)))
            time.sleep(chance.uniform(0.1, 1.5))
            command.stop(signal.SIGKILL)
            found = net.who(6)
            assert set(found) - {"refused"} >= {"10.0.0.2", "10.0.0.3"}
        net.box.start_servers("10.0.0.1")
        net.probe()
        assert net.who(6) == {f"10.0.0.{n}": 2 for n in (1, 2, 3)}
        net.nftlbc("plan", str(net.file), "--exit-code")


def test_commands_are_called_whoever_reads(tmp_path: Path) -> None:
    """What was done was done, also where standard output is full or its reader has gone."""
    log = tmp_path / "called"
    command = tmp_path / "call"
    command.write_text(f'#!/bin/sh\necho "$NFTLBC_BACKEND $NFTLBC_STATE" >>{log}\n')
    command.chmod(0o755)
    check = "check tcp { interval 5s; timeout 500ms; fall 1; rise 1 }"
    with network(tmp_path, farm(2, check, f'on-change exec "{command}"')) as net:
        net.box.stop_servers("10.0.0.1")
        file = str(net.file)
        for words in (("probe", file), ("drain", "web/b2", "--file", file)):
            full = ("sh", "-c", 'exec "$@" >/dev/full', "sh", *NFTLBC, *words)
            done = net.box.run("balancer", full)
            assert done.returncode == 3
            assert "can't write standard output" in done.stderr
        lines = log.read_text().splitlines()
        assert [each for each in lines if each.strip().startswith("b")] == ["b1 down", "b2 drain"]
