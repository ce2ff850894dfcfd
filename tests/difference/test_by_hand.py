"""drain, disable and enable without traffic: names, words, commands killed and commands at once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from farms_walk import Walk
from hypothesis import given, settings
from hypothesis import strategies as st
from namespaces import Elsewhere, applied, content, differences, in_namespace, read

from nftlbc import pipeline
from nftlbc.nft import lock
from nftlbc.plan import by_hand, hand_words, planning
from nftlbc.plan.live import Live
from nftlbc.plan.recall import recall
from nftlbc.probe.watching import Watched
from nftlbc.probe.weights import weigh
from nftlbc.states import ByHand
from nftlbc.table.pool import pool_of, shares, slots_of

FARMS = """
farm web {
    listen 203.0.113.10 tcp port 80
    quorum 2
    on-change exec "/bin/sh" "-c" "echo $NFTLBC_BACKEND $NFTLBC_STATE >> LOG"
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080 weight 2
    backend spare 10.0.0.13 port 8080 backup
}
farm shop {
    listen 203.0.113.11 tcp port 80
    backend app1 10.0.0.11 port 8080
    backend old 10.0.0.19 state drain
}
"""


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NO_COLOR": "1", "SUDO_USER": "ada"}
    return subprocess.Popen(
        [sys.executable, "-m", "nftlbc", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def nftlbc(*arguments: str, status: int = 0) -> tuple[str, str]:
    process = started(*arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, output + errors
    return output, errors


def hands() -> dict[str, ByHand]:
    return {
        f"{farm.name}/{each.name}": each.remembered.hand
        for farm in recall(read()).farms
        for each in farm.backends
        if each.remembered.hand
    }


@in_namespace
def test_the_commands(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "farms.lb"
    file.write_text(FARMS.replace("LOG", str(log)))
    assert nftlbc("drain", "web/app1", status=3)[1].startswith(
        "nftlbc: error: there is no table inet nftlbc"
    )
    nftlbc("apply", str(file))
    before = content(read())

    # Names that are not there change nothing.
    assert "did you mean 'app1'?" in nftlbc("drain", "web/app2", "web/ap1", status=2)[1]
    assert content(read()) == before

    said, errors = nftlbc("drain", "web/app2", "--file", str(file))
    assert said.splitlines() == [
        "farm web: backend app2 (10.0.0.12:8080) drains: it takes no new clients",
        "    shares of new clients: app1 33.33 % -> 50 %, app2 66.67 % -> 0 %, spare 0 % -> 50 %",
        "it ends with: nftlbc enable web/app2",
        "and with a reboot of this machine; to make it last, write in the farms file",
        "    backend app2 10.0.0.12 port 8080 weight 2 state drain",
    ]
    assert errors == "nftlbc: warning: farm web is below its quorum: 1 of 2; its backups step in\n"
    assert log.read_text() == "app2 drain\nquorum-missed\n"
    assert hands()["web/app2"].by == "ada"
    said, _ = nftlbc("drain", "web/app2", "--file", str(file))
    assert said.startswith("farm web: backend app2 (10.0.0.12:8080) is drained by ada since 2")
    assert log.read_text() == "app2 drain\nquorum-missed\n"

    # Another file's apply leaves it as it is, plan tells it.
    file.write_text(file.read_text().replace("weight 2", "weight 5"))
    nftlbc("apply", str(file))
    held = json.loads(nftlbc("plan", "--json", str(file))[0])["held"]
    assert [(each["farm"], each["backend"], each["state"], each["by"]) for each in held] == [
        ("web", "app2", "drain", "ada")
    ]
    assert held[0]["since"][-1] == "Z"
    assert "held by hand: farm web backend app2 drained by ada" in nftlbc("plan", str(file))[0]

    # What the file says is not lifted.
    said, _ = nftlbc("disable", "*/old")
    assert "its farms file says state drain, which enable does not lift" in said
    said, errors = nftlbc("enable", "*/*")
    assert "farm shop: backend old (10.0.0.19) is no longer held by hand" in said
    assert "farm web: backend app2 (10.0.0.12:8080) takes new clients again" in said
    assert "farm web: backend app1 (10.0.0.11:8080) is not held by hand: nothing to do" in said
    assert (hands(), errors) == ({}, "")
    assert nftlbc("plan", "--exit-code", str(file))[0].startswith("nothing to change")
    # A file that was named has to be right.
    file.write_text("farm web {\n")
    nftlbc("disable", "web/app2", "--file", str(file), status=1)
    assert hands() == {}


@in_namespace
def test_two_at_once_wait() -> None:
    walk = Walk(3)
    planning.apply(walk.farms)
    names = [f"{farm.name}/{each.name}" for farm in walk.farms for each in farm.backends][:2]
    with lock.held():
        errors = nftlbc("drain", "--no-wait", names[0], status=3)[1]
        assert f"process {os.getpid()}" in errors
        waiting = [started("drain", name) for name in names]
        time.sleep(0.5)
        assert [each.poll() for each in waiting] == [None, None]
        assert not hands()
    for each in waiting:
        _, errors = each.communicate(timeout=60)
        assert each.returncode == 0, errors
    assert set(hands()) == set(names)


@in_namespace
def test_killed_at_any_moment_the_table_is_whole() -> None:
    """It is as it was, or as it was to be."""
    chance, walk, elsewhere = random.Random(5), Walk(5, 4), Elsewhere()
    applied(walk.farms, elsewhere)
    child = (
        "import sys\nfrom nftlbc.nft import lock\nfrom nftlbc.plan import by_hand\n"
        "print('begin', flush=True)\n"
        "with lock.held():\n    by_hand.hold([sys.argv[1]], sys.argv[2] or None, 'root')\n"
    )
    span = 0.0
    name = f"{walk.farms[0].name}/{walk.farms[0].backends[0].name}"
    for attempt in range(9):
        before = hands()
        state = ("disable", "", "drain")[attempt % 3]
        process = subprocess.Popen(
            [sys.executable, "-c", child, name, state], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
            began = time.monotonic()
            if attempt:
                time.sleep(chance.uniform(0, 1.2 * span))
                process.kill()
            process.wait(30)
            span = span or time.monotonic() - began
        with lock.held():
            there = read()
        now = hands()
        assert attempt or now != before
        assert {each.state for each in now.values()} <= {state, *(b.state for b in before.values())}
        have, want = content(there), elsewhere.fresh(planning.plan(walk.farms).wanted)
        # What waits to be cleared away does nothing any more.
        idle = {each for each in set(have) - set(want) if not have[each][-1]}
        kept = {each: what for each, what in have.items() if each not in idle}
        assert kept == want, differences(kept, want)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_choosing(seed: int) -> None:
    farms = Walk(seed).farms
    every = {farm.name: {each.name for each in farm.backends} for farm in farms}
    assert by_hand.choose(farms, ["*/*"]) == every
    one = farms[0]
    assert by_hand.choose(farms, [f"{one.name}/*"]) == {one.name: every[one.name]}
    backend = one.backends[0].name
    found = by_hand.choose(farms, [f"*/{backend}", f"{one.name}/{backend}"])
    assert found == {name: {backend} for name, some in every.items() if backend in some}


@pytest.mark.parametrize(
    ("wrong", "message", "help"),
    [
        ("web/AP1", "farm web has no backend 'AP1'", "did you mean 'app1'?"),
        ("wbe/app1", "there is no farm 'wbe' in the running table", "did you mean 'web'?"),
        ("web/zzz", "farm web has no backend 'zzz'", "there is app1, app2, spare"),
        ("*/zzz", "those farms have no backend 'zzz'", "there is app1, old, app2, spare"),
        ("app2", "'app2' is not FARM/BACKEND", "such as web/app2"),
        ("web/", "'web/' is not FARM/BACKEND", "such as web/app1"),
        ("web/ap?2", "farm web has no backend 'ap?2'", "did you mean 'app2'?"),
    ],
)
def test_names_that_are_not_there(tmp_path: Path, wrong: str, message: str, help: str) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(FARMS)
    farms, _ = pipeline.read(str(file))
    with pytest.raises(by_hand.NoSuchBackend) as told:
        by_hand.choose(farms, ["web/app1", wrong])
    assert (told.value.message, told.value.remedy) == (message, help)


def test_the_line_for_the_file_is_right(tmp_path: Path) -> None:
    for farm in Walk(9).farms:
        for each in farm.backends:
            listen = "2001:db8::1" if ":" in each.address else "203.0.113.1"
            file = tmp_path / "farms.lb"
            line = hand_words.statement(each, "drain")
            file.write_text(f"farm f {{\nlisten {listen} tcp port 80\n{line}\n}}\n")
            (read_back,), _ = pipeline.read(str(file))
            (found,) = read_back.backends
            assert (found.name, found.address, found.port, found.weight, found.backup) == (
                each.name, each.address, each.port, each.weight, each.backup,
            )  # fmt: skip
            assert found.state == "drain"


@in_namespace
def test_who_is_put_back_where_weights_move_climbs(tmp_path: Path) -> None:
    """Also before the eyes of a loop, whose memory has another weight. One that only drained had
    its clients all the while."""
    file = tmp_path / "farms.lb"
    settings = "    quorum 2\n    slow-start 60s\n    check tcp\n"
    file.write_text(FARMS.replace("    quorum 2\n", settings))
    farms, _ = pipeline.read(str(file))
    planning.apply(farms)
    watched = Watched()
    try:
        for state, weight in (("disable", 0.1), ("let-go", 0.1), ("drain", None)):
            by_hand.hold(["web/app1"], state, "ada")
            assert watched.disturbed()
            watched.refresh()
            done = by_hand.hold(["web/app1"], None, "ada")
            text = (
                "    app1 begins with 10 % of the weight; nftlbc probe gives the rest within 1m 0s"
            )
            assert (text in hand_words.lines(done, Live())) == (weight is not None)
            assert watched.disturbed()
            watched.refresh()
            (web,) = (each for each in recall(read()).farms if each.name == "web")
            assert watched.farms["web"].backends == web.backends
            record = web.backends[0].remembered
            assert (record.measured.weight if record.measured else None) == weight
            pool = pool_of(web, 4)
            share = shares(slots_of(pool, ()))[0]
            assert (share < 0.06) if weight else (share == Fraction(1, 3))
            if record.check is None:
                continue
            # It climbs from now on; the loop's next round moves it.
            later = weigh(web, {}, record.check.since + 30)
            assert pytest.approx(0.55) == later.backends[0].remembered.measured.weight  # type: ignore[union-attr]
            later = weigh(web, {}, record.check.since + 61)
            watched.change([later])
            assert later.backends[0].remembered.measured.weight == 1.0  # type: ignore[union-attr]
            watched.change([farms[-1]])  # as if nothing had been
    finally:
        watched.close()
