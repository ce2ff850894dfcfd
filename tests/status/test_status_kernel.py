"""What status reads: one farm as of all, states, counters that outlive them, damaged tables."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from pathlib import Path

import jsonschema
from namespaces import in_namespace, nft, read

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.farms import Backend, Farm
from nftlbc.nft import conntrack
from nftlbc.nft.program import NftError
from nftlbc.plan import planning
from nftlbc.plan.recall import Recalled
from nftlbc.states import ByCheck, ByHand, Measured, Remembered
from nftlbc.status import document, metrics
from nftlbc.status.columns import View
from nftlbc.status.look import look, names
from nftlbc.status.model import BackendStatus, Snapshot
from nftlbc.status.survey import digest
from nftlbc.status.text import lines
from nftlbc.table.model import OURS

FARMS = """
farm web {
    listen 203.0.113.10, 2001:db8::10 tcp port 80
    listen 203.0.113.10 tcp port 8000-8010 to 9000
    persist source-ip for 5m
    quorum 2
    count traffic
    backend app1 10.0.0.11 port 8080 weight 3
    backend app2 10.0.0.12 port 8080
    backend old 10.0.0.13 port 8080 state drain
    backend spare 10.0.0.14 port 8080 backup
    backend zero 10.0.0.15 port 8080 weight 0
    backend six 2001:db8:1::11 port 8080
    backend dead 2001:db8:1::12 port 8080 state down
}
farm b {
    listen 203.0.113.11 udp port 53
    balance consistent source-ip slots 13
    backend one 10.0.0.21
    backend two 10.0.0.22
}
farm xb {
    listen 203.0.113.12 tcp port 25
    persist source-ip, source-port, destination-ip, destination-port size 64
    backend one 10.0.0.31 port 25 state down
    backend two 10.0.0.32 port 25
}
farm shut {
    listen 203.0.113.13 tcp port 25
    persist source-ip
    backend mx 10.0.0.41 state down
}
"""


def farms(text: str) -> tuple[Farm, ...]:
    file = Path(tempfile.gettempdir(), f"status-{os.getpid()}.lb")
    file.write_text(text)
    try:
        found, diagnostics = pipeline.read(str(file))
    finally:
        file.unlink()
    assert not has_errors(diagnostics), draw(diagnostics)
    return found


def looked(farm: str | None = None) -> Snapshot:
    """What is shown, which every rendering can do."""
    found = look(farm)
    assert found is not None
    assert list(lines(found, View()))
    jsonschema.validate(document.as_json(found), document.schema())
    assert metrics.text(found)
    return found


def same_of_each_farm() -> Snapshot:
    """Each farm by itself is as among all."""
    every = looked()
    for name in {pool.farm for pool in every.pools}:
        one = looked(name)
        assert one.pools == tuple(pool for pool in every.pools if pool.farm == name)
    return every


def backend(farm: str, name: str) -> BackendStatus:
    [found] = [each for pool, each in looked(farm).backends() if each.name == name]
    return found


def mark_of(name: str) -> int:
    return next(
        key | OURS
        for each in read().maps.values()
        if each.name.startswith(("backends", "addresses"))
        for key, text in each.comments.items()
        if text == name and isinstance(key, int)
    )


@in_namespace
def test_one_farm_is_as_among_all() -> None:
    assert look() is None and look("web") is None
    planning.apply(farms(FARMS))
    web = mark_of("web/app1")
    nft(
        "add element inet nftlbc sticky4_source-ip_300s_262144 { "
        f"246f:6e54 . 198.51.100.7 timeout 60s : 0x{web:08x}, 1:2 . 198.51.100.8 : 0x1 }}\n"
    )
    found = same_of_each_farm()
    four, six = (pool for pool in found.pools if pool.farm == "web")
    assert (four.family, four.taking, four.degraded, four.closed) == (4, 2, False, False)
    assert (six.family, six.taking, six.degraded) == (6, 1, True)
    assert [str(each) for each in four.listeners] == [
        "203.0.113.10:80/tcp",
        "203.0.113.10:8000-8010/tcp",
    ]
    assert four.sticky and (four.sticky.clients, four.sticky.entries) == (1, 2)
    assert [each.sticky for each in four.backends] == [1, 0, 0, 0, 0]
    assert [each.share for each in four.backends] == [0.75, 0.25, 0, 0, 0]
    assert [each.live_weight for each in four.backends] == [3, 1, 0, 0, 0]
    assert [each.backup for each in four.backends] == [False, False, False, True, False]
    assert [each.state for each in six.backends] == ["up", "down"]
    shut = next(pool for pool in found.pools if pool.farm == "shut")
    assert shut.closed and shut.degraded and shut.sticky is None
    assert (
        looked("nobody").pools == () and looked("we").pools == () and looked("\x80\n").pools == ()
    )
    assert names() == ["b", "shut", "web", "xb"]
    assert found.digest == digest(farms(FARMS)) != digest(farms(FARMS.replace("weight 3", "")))


def remember(farm: str, name: str, record: Remembered) -> None:
    def changed(each: Backend, of: Farm) -> Backend:
        return replace(each, remembered=record) if (of.name, each.name) == (farm, name) else each

    def edit(known: Recalled) -> Sequence[Farm]:
        return [
            replace(each, backends=tuple(changed(backend, each) for backend in each.backends))
            for each in known.farms
        ]

    planning.change(edit)


@in_namespace
def test_states_are_by_whom_and_since_when() -> None:
    planning.apply(farms(FARMS))
    refused = ByCheck("down", 1_700_000_001, why="refused")
    for record, state, cause, since, by, reason in (
        (Remembered(ByHand("drain", "ann", 17)), "draining", "hand", 17, "ann", ""),
        (Remembered(ByHand("let-go", "ann", 17)), "draining", "hand", 17, "ann", ""),
        (Remembered(ByHand("disable", "bob", 18), refused), "disabled", "hand", 18, "bob", ""),
        (
            Remembered(ByHand("drain", "ann", 17), refused),
            "down",
            "check",
            refused.since,
            "",
            "refused",
        ),
        (Remembered(check=ByCheck("drain", 20, why="agent")), "draining", "check", 20, "", "agent"),
        (Remembered(check=ByCheck("up", 19)), "up", "check", 19, "", ""),
        (Remembered(), "up", "file", None, "", ""),
    ):
        remember("web", "app2", record)
        found = backend("web", "app2")
        assert (found.state, found.cause, found.since, found.by, found.reason) == (
            *(state, cause, since, by, reason),
        )
        assert found.hand == (record.hand.state if record.hand else None)
        assert (found.share > 0) == (state == "up")
        every = same_of_each_farm()
        assert every.digest == digest(farms(FARMS))
        # On the backups: the quorum is two.
        [four, _] = [pool for pool in every.pools if pool.farm == "web"]
        assert four.degraded == (state != "up")
        spare = next(each for each in four.backends if each.name == "spare")
        assert (spare.share > 0) == four.degraded
    remember("b", "two", Remembered(measured=Measured(0.5, 1.0)))
    assert backend("b", "two").live_weight == 0.5
    planning.apply(farms(FARMS.replace("two 10.0.0.22", "two 10.0.0.22 state drain")))
    found = backend("b", "two")
    assert (found.state, found.cause) == ("draining", "file")
    assert found.since is not None and abs(found.since - time.time()) < 600


@in_namespace
def test_counters_outlive_states_and_maps() -> None:
    planning.apply(farms(FARMS))
    mark = mark_of("web/app2")
    # It stands in both maps of backends: one listener names the port, the other does not.
    ends = {"backends4_1024": " : 10.0.0.12 . 8080", "addresses4_1024": " : 10.0.0.12"}
    counted = {
        "backends4_1024": 5,
        "addresses4_1024": 3,
        "traffic-in_1024": 7,
        "traffic-out_1024": 9,
    }
    for name, packets in counted.items():
        value = ends.get(name, "")
        words = ' comment "web/app2"' if value else ""
        key = f"0x{mark:08x}"
        nft(
            f"delete element inet nftlbc {name} {{ {key} }}\nadd element inet nftlbc {name} "
            f"{{ {key} counter packets {packets} bytes {packets * 100}{words}{value} }}\n"
        )

    def figures() -> tuple[object, ...]:
        found = backend("web", "app2")
        assert found.traffic is not None
        return found.new, *astuple(found.traffic)

    expected = (8, 7, 700, 9, 900)
    assert figures() == expected
    for state in ("state drain", "state down", "state drain", ""):
        planning.apply(
            farms(FARMS.replace("app2 10.0.0.12 port 8080", f"app2 10.0.0.12 port 8080 {state}"))
        )
        assert figures() == expected, state
    for record in (
        Remembered(ByHand("disable", "ann", 1)),
        Remembered(check=ByCheck("down", 1)),
        Remembered(),
    ):
        remember("web", "app2", record)
        assert figures() == expected, record
    more = "".join(
        f"    backend m{n} 10.1.{n >> 8}.{n & 255} port 80 weight 0\n" for n in range(900)
    )
    large = FARMS.replace("    count traffic\n", f"    count traffic\n{more}")
    planning.apply(farms(large))
    assert figures() == expected
    assert "traffic-in_2048" in read().maps
    planning.apply(farms(FARMS))
    assert figures() == expected
    planning.apply(farms(FARMS.replace("    count traffic\n", "")))
    assert backend("web", "app2").traffic is None
    assert not [name for name in read().chains if name.startswith("filter")]


@in_namespace
def test_a_damaged_table_is_shown_as_far_as_it_goes() -> None:
    planning.apply(farms(FARMS))
    odd = "inet nftlbc"
    app1 = mark_of("web/app1")
    slot = next(
        key
        for name, each in read().maps.items()
        if name.startswith("slots")
        for key, mark in each.elements.items()
        if mark == mark_of("web/app2")
    )
    for damage in (
        f"add element {odd} services4_1024 {{ * : goto farm-web-4 }}",
        f"add element {odd} services4_1024 {{ 203.0.113.99 . 47 . 1 : goto farm-web-4 }}",
        f"add element {odd} services4_1024 {{ 203.0.113.98 . tcp . 1 : drop }}",
        f"add element {odd} ranges4 {{ 198.51.0.0/16 . tcp . 1-2 : goto farm-web-4 }}",
        f'add element {odd} farms_1024 {{ 246f:6e54 . 0x7 comment "quorum 9" }}',
        f'add element {odd} states_1024 {{ 0x{app1:08x} comment "hand=disable/%/x check=" }}',
        f"add element {odd} states_1024 {{ 0x1 }}",
        f"add element {odd} backends4_1024 {{ 0x80000001 : 10.9.9.9 . 1 }}",
        f'add element {odd} backends4_1024 {{ 0x80000002 comment "\\x1b[31m/../" : 10.9.9.9 . 1 }}',
        f'add element {odd} backends4_1024 {{ 0x80000003 comment "gone/one" : 10.9.9.9 . 1 }}',
        f"add map {odd} backends4_7 {{ type ipv4_addr : ipv4_addr; elements = {{ 10.0.0.1 : 10.0.0.2 }} }}",
        f"add map {odd} slots_x {{ type ipv4_addr : verdict; elements = {{ 10.0.0.1 : drop }} }}",
        f'add set {odd} states_x {{ type ifname; elements = {{ "eth0" }} }}',
        f"add set {odd} farms_x {{ type mark; elements = {{ 0x1 }} }}",
        f"add map {odd} backends4_8 {{ type mark : ipv4_addr . inet_service; "
        f"elements = {{ 0x{app1:08x} : 10.0.0.11 . 8080 }} }}",
        f"delete element {odd} slots_1024 {{ 0x{slot:08x} }}",
        f"flush set {odd} traffic-in_1024",
        f"flush set {odd} farms_1024",
        f"flush map {odd} backends6_1024",
        f"flush chain {odd} farm-web-4",
        f"flush map {odd} slots_1024",
        f"add table {odd} {{ flags dormant; }}",
    ):
        nft(damage + "\n")
        found = looked()
        for name in ("web", "b", "xb", "shut"):
            one = look(name)
            assert one is not None and one.asleep == found.asleep, damage
            if name == "b":
                assert {each.address for _, each in one.backends()} == {"10.0.0.21", "10.0.0.22"}
    assert found.asleep and found.astray >= 1
    assert all(pool.closed for pool in found.pools)
    planning.apply(farms(FARMS))
    assert not same_of_each_farm().asleep


@in_namespace
def test_a_hand_that_took_slots_away_hides_no_backend() -> None:
    planning.apply(farms(FARMS))
    before = same_of_each_farm()
    slots = [each for each in read().maps if each.startswith("slots")]
    nft(f"flush map inet nftlbc {slots[0]}\nflush set inet nftlbc farms_1024\n")
    found = same_of_each_farm()
    assert {each.name for _, each in found.backends()} == {
        each.name for _, each in before.backends()
    }


@in_namespace
def test_without_the_list_of_connections() -> None:
    planning.apply(farms(FARMS))

    def refused(_: object = None) -> conntrack.Open:
        raise NftError("the kernel does not list its connections")

    count, conntrack.count = conntrack.count, refused
    try:
        found = looked()
    finally:
        conntrack.count = count
    assert found.unknown and {each.open for _, each in found.backends()} == {None}
    assert {each.open for _, each in looked().backends()} == {0}


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    return subprocess.run(
        [sys.executable, "-m", "nftlbc", "status", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


@in_namespace
def test_the_command(tmp_path: Path) -> None:
    for arguments in (("web", "--check"), ("--metrics", "-o", str(tmp_path / "x"))):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (3, "")
        assert "help: load one: nftlbc apply FILE" in done.stderr
    assert not (tmp_path / "x").exists()
    planning.apply(farms(FARMS))
    done = command()
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout
    assert done.stdout.startswith("4 farms, 12 backends: 8 up, 1 draining, 3 down\n")
    assert max(map(len, done.stdout.splitlines())) <= 80
    done = command("wbe")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'web'?" in done.stderr
    done = command("\x1b[31m" * 40)
    assert done.returncode == 2 and "\x1b" not in done.stderr
    nft("delete element inet nftlbc services4_1024 { 203.0.113.11 . udp . 53 }\n")
    done = command("b")
    assert done.returncode == 2 and "farm b listens nowhere" in done.stderr
    planning.apply(farms(FARMS))
    done = command("--check")
    assert done.returncode == 4 and done.stdout.count("\n") == 1 and "web (1 of 2)" in done.stdout
    assert command("b", "--check").returncode == 0
    found = json.loads(command("web", "--json").stdout)
    jsonschema.validate(found, json.loads(command("--schema").stdout))
    file = tmp_path / "nftlbc.prom"
    file.write_text("old")
    done = command("--metrics", "-o", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert 'nftlbc_pool_taking{farm="web",family="ipv6"} 1\n' in file.read_text()
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
    for wrong in (("--json", "--metrics"), ("--watch", "--check")):
        assert command(*wrong).returncode == 2
    gone = subprocess.run(
        f"{sys.executable} -m nftlbc status --metrics | head -c 10; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in gone.stderr and gone.stdout in ("# HELP nft0\n", "# HELP nft141\n")


def on_terminal(
    arguments: Sequence[str], drawn: Callable[[str, int], None], **variables: str
) -> tuple[str, int, bool]:
    """What it draws on a terminal of 70 by 20; its exit status, and whether the terminal is as it
    was. drawn: told all so far, and the terminal's descriptor, after each change."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 70, 0, 0))
    before = termios.tcgetattr(theirs)
    unset = ("NO_COLOR", "COLUMNS", "LINES")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    process = subprocess.Popen(
        [sys.executable, "-m", "nftlbc", "status", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm", **variables},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    text, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            text += os.read(ours, 65536).decode()
            drawn(text, ours)
        elif process.poll() is not None:
            break
    same = termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
    return text, process.wait(10), same


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[?\d]*[A-Za-z]", "", text)


WATCH = ("web", "--watch", "--interval", "100ms")


@in_namespace
def test_watch_draws_over_itself_and_leaves_the_terminal_as_it_was() -> None:
    planning.apply(farms(FARMS))
    interrupted = []

    def interrupt(text: str, terminal: int) -> None:
        if text.count("\x1b[H") >= 3 and not interrupted:
            interrupted.append(os.write(terminal, b"\x03"))

    text, status, same = on_terminal(WATCH, interrupt)
    assert status == 0 and same, text
    assert text.startswith("\x1b[?1049h\x1b[?25l\x1b[H") and text.count("\x1b[?1049h") == 1
    assert text.rstrip("^C\r\n").endswith("\x1b[?25h\x1b[?1049l")
    drawn = text.split("\x1b[H")[2]
    assert "NEW/S" in drawn and "\x1b[32m" in drawn and drawn.endswith("\x1b[J")
    shown = plain(drawn).split("\r\n")
    assert len(shown) == 20 and max(map(len, shown)) <= 70
    assert shown[-1].startswith("... ")


@in_namespace
def test_watch_tells_after_the_terminal_is_back_why_it_ended() -> None:
    planning.apply(farms(FARMS))
    removed = []

    def remove(text: str, _: int) -> None:
        if "\x1b[H" in text and not removed:
            removed.append(nft("delete table inet nftlbc\n"))

    text, status, same = on_terminal(WATCH, remove)
    assert status == 3 and same
    assert "there is no table" in plain(text.split("\x1b[?25h\x1b[?1049l")[1])


@in_namespace
def test_colours_on_a_terminal_unless_its_owner_says_no() -> None:
    planning.apply(farms(FARMS))
    text, status, _ = on_terminal(("web",), lambda *_: None)
    assert status == 0 and "\x1b[32mup" in text
    assert max(map(len, plain(text).split("\r\n"))) <= 70
    assert on_terminal(("web",), lambda *_: None, NO_COLOR="1")[0] == plain(text)
    assert on_terminal(("web",), lambda *_: None, TERM="dumb")[0] == plain(text)


@in_namespace
def test_watch_without_a_terminal() -> None:
    planning.apply(farms(FARMS))
    with subprocess.Popen(
        [sys.executable, "-m", "nftlbc", "status", "b", "--watch", "--json", "--interval", "100ms"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()
    assert process.returncode == 143
    for each in found:
        jsonschema.validate(each, document.schema())
    assert "rates" in found[2]["farms"][0]["pools"][0]["backends"][0]
    assert "rates" not in found[0]["farms"][0]["pools"][0]["backends"][0]
