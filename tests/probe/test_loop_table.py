"""The loop beside others who change its table, its farms file, and nft itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from network import farm, network, wait_for

pytestmark = pytest.mark.kernel


def test_a_flushed_ruleset_is_back_within_a_tick(tmp_path: Path) -> None:
    """With what was known: who is down, who was drained."""
    with network(tmp_path, farm(3)) as net, net.loop(every="10s") as loop:
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down")
        net.nftlbc("drain", "web/b2")
        wait_for(lambda: net.who(2) == {"10.0.0.3": 2})
        time.sleep(0.3)
        with net.clients(0.005, 1.5) as calls:
            begin = time.monotonic()
            net.nft("flush", "ruleset")
            loop.says("the table was gone, and is put back")
            time.sleep(0.3)
        assert "no checks" not in net.nftlbc("status").stdout
        lost = [each.began - begin for each in calls if each.wrong]
        print(
            f"\nflushed: {len(lost)} connections lost within {max(lost, default=0) * 1000:.0f} ms"
        )
        assert net.who(4) == {"10.0.0.3": 4}
        assert net.status() == {"web/b1": "down", "web/b2": "draining", "web/b3": "up"}
        # And again, by another program's whole configuration; the loop goes on from there.
        net.nft("-f", "-", input="flush ruleset\ntable inet other {\n}\n")
        loop.says("the table was gone", after=2)
        net.box.start_servers("10.0.0.1")
        loop.says("web/b1 up")
        assert net.who(4) == {"10.0.0.1": 2, "10.0.0.3": 2}
        # One that another makes anew is told that its checks are made.
        net.nft("delete", "table", "inet", "nftlbc")
        net.apply()
        wait_for(lambda: '"probed=1' in net.nft("list", "table", "inet", "nftlbc"))


def test_what_others_do_is_honoured(tmp_path: Path) -> None:
    """Hands and applies at any moment, also just when the loop changes the same farm."""
    other = farm(2, name="other", port=81)
    with network(tmp_path, farm(4), other) as net, net.loop() as loop:
        net.nftlbc("drain", "web/b1")
        net.nftlbc("disable", "web/b2")
        net.box.stop_servers("10.0.0.3")
        loop.says("web/b3 down")
        assert net.who(4) == {"10.0.0.4": 4}
        # A drained one that dies is down, and drains again.
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down")
        assert net.status()["web/b1"] == "down"
        net.box.start_servers("10.0.0.1")
        loop.says("web/b1 up")
        assert net.status()["web/b1"] == "draining"
        # Enabled while it is down it stays down; then it is back.
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down", after=3)
        net.nftlbc("enable", "web/b1")
        assert net.status()["web/b1"] == "down"
        net.box.start_servers("10.0.0.1")
        loop.says("web/b1 up", after=4)
        assert set(net.who(4)) == {"10.0.0.1", "10.0.0.4"}
        # A farm that somebody applies is checked without being told.
        net.write(farm(4) + other)
        net.apply()
        net.box.stop_servers("10.0.0.2")
        loop.says("other/b2 down")
        assert net.status()["web/b2"] == "disabled"
        # One that is removed is checked no more.
        net.write(farm(4))
        net.apply()
        seen = len(loop.lines)
        net.box.start_servers("10.0.0.2")
        loop.says("web/b2 up", seen)
        time.sleep(1)
        assert not any("other" in line for line in loop.lines[seen:])


def test_hands_and_the_loop_at_once(tmp_path: Path) -> None:
    """A backend flickers while others are drained and enabled: nothing of either is lost."""
    quick = "check tcp { interval 100ms; timeout 100ms; fall 1; rise 1 }"
    with network(tmp_path, farm(4, quick)) as net, net.loop() as loop:
        for round_ in range(4):
            (net.box.stop_servers if round_ % 2 == 0 else net.box.start_servers)("10.0.0.1")
            net.nftlbc("drain" if round_ % 2 == 0 else "enable", "web/b2", "web/b3")
            expected = "draining" if round_ % 2 == 0 else "up"
            found = net.status()
            assert (found["web/b2"], found["web/b3"]) == (expected, expected)
        loop.says("web/b1 up", within=30)
        assert set(net.who(8)) == {f"10.0.0.{n}" for n in (1, 2, 3, 4)}


def test_between_reading_and_sending(tmp_path: Path) -> None:
    """Programs that ask for no lock: nft itself takes a farm's element away while the loop is
    about to change it."""
    with network(tmp_path, farm(4)) as net, net.loop() as loop:
        stress = net.box.start_command(
            "balancer",
            (
                "sh",
                "-c",
                "for n in $(seq 1 60); do nft add table inet other$n; nft delete table inet other$n;"
                " nft add chain inet nftlbc strange; nft delete chain inet nftlbc strange; done",
            ),
        )
        for n in (1, 2, 3):
            net.box.stop_servers(f"10.0.0.{n}")
            loop.says(f"web/b{n} down")
        assert net.who(4) == {"10.0.0.4": 4}
        stress.wait(60)
        for n in (1, 2, 3):
            net.box.start_servers(f"10.0.0.{n}")
            loop.says(f"web/b{n} up")
        assert net.who(8) == {f"10.0.0.{n}": 2 for n in (1, 2, 3, 4)}


def test_the_farms_file_is_edited(tmp_path: Path) -> None:
    first = farm(2, "check tcp { interval 30s; timeout 300ms; fall 2; rise 2 }")
    with network(tmp_path, first) as net, net.loop() as loop:
        # A mistake: told once, and the old checks go on.
        net.write(first.replace("interval 30s", "interval thirty"))
        loop.says("farms.lb:5:26: 'thirty' is not a time: nftlbc check")
        time.sleep(1.2)
        assert len(loop.lines) == 1, loop.text
        # Other checks hold at once, however long the old interval was. What else is new waits.
        second = farm(3, "check tcp { interval 300ms; timeout 300ms; fall 2; rise 2 }")
        net.write(second)
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down")
        assert set(net.status()) == {"web/b1", "web/b2"}
        # Another port, where nobody listens; SIGHUP is not needed, and does no harm.
        net.write(second.replace("tcp {", "tcp { port 9;"))
        loop.strike("HUP")
        loop.says("web/b2 down: tcp 10.0.0.2:9 connection refused, 2 of 2")
        # Without any check all are as the file says.
        net.write(second.replace("check tcp {", "# {").replace("rise 2 }", "rise 2"))
        wait_for(lambda: set(net.status().values()) == {"up"})
        net.write(second)
        loop.says("web/b1 down", after=3)


def test_what_was_asked_before_is_no_answer(tmp_path: Path) -> None:
    """Answers to the old checks that come while the file is read say nothing of the new ones."""
    refused = farm(8, "check tcp { port 9; interval 100ms; timeout 100ms; fall 1; rise 1 }")
    with network(tmp_path, refused) as net, net.loop() as loop:
        for new in (farm(8, ""), farm(8), farm(8, ""), farm(8)):
            seen = len(loop.lines)
            net.write(refused)
            for n in range(1, 9):
                loop.says(f"web/b{n} down", seen)
            seen = len(loop.lines)
            net.write(new)
            wait_for(lambda: set(net.status().values()) == {"up"}, told=lambda: loop.text)
            time.sleep(0.5)
            assert not any(" down" in line for line in loop.lines[seen:]), loop.text


def test_apply_without_checks_lifts_what_they_said(tmp_path: Path) -> None:
    checked, plain = farm(2), farm(2, "")
    with network(tmp_path, checked) as net, net.loop() as loop:
        net.box.stop_servers("10.0.0.1")
        loop.says("web/b1 down")
        net.apply()
        assert net.status()["web/b1"] == "down"  # apply asks nobody
        net.write(plain)
        net.apply()
        wait_for(lambda: net.status() == {"web/b1": "up", "web/b2": "up"})
        time.sleep(1)
        assert net.status() == {"web/b1": "up", "web/b2": "up"}
        assert "hand" not in net.nft("list", "table", "inet", "nftlbc")


def test_nft_is_missing_for_a_while(tmp_path: Path) -> None:
    """What can't be done now is told once, and done when it can."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "nft"
    with network(tmp_path, farm(2)) as net:
        with net.loop(environment={"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"}) as loop:
            fake.write_text("#!/bin/sh\necho no memory left >&2\nexit 1\n")
            fake.chmod(0o755)
            net.box.stop_servers("10.0.0.1")
            wait_for(lambda: bool(loop.lines))
            assert "down" not in loop.text
            time.sleep(1.5)
            assert len(loop.lines) == 1, loop.text
            # The same while the table is gone.
            net.nft("flush", "ruleset")
            time.sleep(1)
            assert net.who(1) != {"10.0.0.2": 1}
            fake.unlink()
            loop.says("the table was gone, and is put back")
            loop.says("web/b1 down")
            assert net.who(3) == {"10.0.0.2": 3}
