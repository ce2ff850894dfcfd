"""Several commands at once, and commands that are killed."""

from __future__ import annotations

import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from farms_walk import Walk
from namespaces import Elsewhere, applied, content, differences, in_namespace, nft, read

from nftlbc import pipeline
from nftlbc.nft import kernel, lock
from nftlbc.nft.program import NftError
from nftlbc.plan import planning

FARM = """
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080 weight WEIGHT
}
"""


def written(folder: Path, weight: int) -> str:
    file = folder / f"{weight}.lb"
    file.write_text(FARM.replace("WEIGHT", str(weight)))
    return str(file)


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nftlbc", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@in_namespace
def test_one_waits_for_the_other(tmp_path: Path) -> None:
    with lock.held():
        waiting = started("apply", written(tmp_path, 2))
        refused = ended(started("apply", "--no-wait", written(tmp_path, 3)))
        assert refused[0] == 3
        assert f"another nftlbc is changing the table (process {os.getpid()})" in refused[1]
        removing = ended(started("remove", "--no-wait"))
        assert (removing[0], f"process {os.getpid()}" in removing[1]) == (3, True)
        # Plan changes nothing and waits for nobody.
        assert ended(started("plan", written(tmp_path, 3)))[0] == 0
        assert waiting.poll() is None
        kernel.remove()
    assert ended(waiting)[0] == 0
    assert "farm-web-4" in read().chains
    assert ended(started("apply", "--no-wait", written(tmp_path, 3)))[0] == 0


@in_namespace
def test_an_nft_whose_parent_was_killed_keeps_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction is still to come: nobody may work out another one before."""
    slow = tmp_path / "nft"
    gate = tmp_path / "gate"
    slow.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec /usr/sbin/nft --version\n'
        f"touch {tmp_path}/there\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n"
        'exec /usr/sbin/nft "$@"\n'
    )
    slow.chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{tmp_path}:{path}")
    first = started("apply", written(tmp_path, 2))
    deadline = time.monotonic() + 30
    while not (tmp_path / "there").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    monkeypatch.setenv("PATH", path)
    assert ended(started("apply", "--no-wait", written(tmp_path, 3)))[0] == 3
    second = started("apply", written(tmp_path, 3))
    gate.touch()
    assert ended(second)[0] == 0
    slots = read().maps["slots_1024"].elements
    assert len(slots) == 4
    first.communicate()


@in_namespace
@pytest.mark.timeout(300)
def test_killed_at_any_moment_the_table_is_whole(tmp_path: Path) -> None:
    """It is as it was, or as it was to be; and the next apply ends as if nothing had been."""
    chance, walk, elsewhere = random.Random(7), Walk(7, 12), Elsewhere()
    applied(walk.farms, elsewhere)
    seen = {"before": 0, "after": 0}
    # In one process, so that nearly all of its time is the work itself.
    child = (
        "import pickle, sys\n"
        "from nftlbc.nft import lock\nfrom nftlbc.plan import planning\n"
        "farms = pickle.load(open(sys.argv[1], 'rb'))\nprint('begin', flush=True)\n"
        "with lock.held():\n    planning.apply(farms)\n"
    )
    span = 0.3
    for attempt in range(40):
        before = content(read())
        for _ in range(3):
            walk.step()
        bare = tuple(walk.farms)
        wanted = elsewhere.fresh(planning.plan(bare).wanted)
        file = tmp_path / f"{attempt}.pickle"
        file.write_bytes(pickle.dumps(bare))
        process = subprocess.Popen(
            [sys.executable, "-c", child, str(file)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
            began = time.monotonic()
            time.sleep(chance.uniform(0, span))
            process.kill()
            # As long as one takes on this machine, as busy as it is now.
            ended_itself = process.wait(30) == 0
            span = min(span, time.monotonic() - began) if ended_itself else span * 1.1
        with lock.held():  # an nft of it may still be at work
            now = content(read())
        if now == before:
            seen["before"] += 1
        else:
            # What waits to be cleared away does nothing any more.
            idle = {name for name in set(now) - set(wanted) if not now[name][-1]}
            kept = {name: each for name, each in now.items() if name not in idle}
            assert kept == wanted, differences(kept, wanted)
            seen["after"] += 1
        applied(bare, elsewhere)
    assert min(seen.values()) > 0, seen


@in_namespace
def test_a_change_between_reading_and_sending_is_met_again() -> None:
    walk, elsewhere = Walk(3), Elsewhere()
    applied(walk.farms, elsewhere)
    send, tries = kernel.send, []

    def disturbed(transaction: object, nft_: str | None = None) -> None:
        tries.append(transaction)
        if len(tries) == 1:
            # What the difference wants to delete is gone already.
            nft("flush map inet nftlbc slots_1024\nflush table inet nftlbc")
            raise NftError("nft refused: no such element")
        send(transaction, nft_)  # type: ignore[arg-type]

    kernel.send = disturbed  # type: ignore[assignment]
    try:
        walk.step()
        done = planning.apply(walk.farms)
    finally:
        kernel.send = send
    assert len(tries) == 2
    assert content(read()) == elsewhere.fresh(done.wanted)


@in_namespace
def test_what_stays_refused_is_told() -> None:
    walk = Walk(3)
    refused = NftError("nft refused it")

    def refuse(transaction: object, nft_: str | None = None) -> None:
        raise refused

    send, kernel.send = kernel.send, refuse
    try:
        with pytest.raises(NftError, match="refused it"):
            planning.apply(walk.farms)
    finally:
        kernel.send = send


@in_namespace
def test_other_tables_stay_byte_for_byte(tmp_path: Path) -> None:
    others = (
        "table inet mine {\n set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }\n"
        " chain c {\n type filter hook forward priority 0; policy accept;\n"
        " ip saddr @s counter packets 5 bytes 6 accept\n }\n}\n"
        "table ip nat {\n chain prerouting {\n type nat hook prerouting priority -100;\n"
        " tcp dport 2222 dnat to 10.0.0.1:22\n }\n}\n"
        "table ip6 nftlbc {\n map slots_1024 { type mark : mark; elements = { 1 : 2 }; }\n}\n"
    )
    nft(others)

    def listed() -> str:
        tables = ("inet mine", "ip nat", "ip6 nftlbc")
        return "".join(
            subprocess.run(
                ["nft", "-a", "list", "table", *table.split()],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for table in tables
        )

    before = listed()
    for weight in (1, 3, 3, 2):
        assert ended(started("apply", written(tmp_path, weight)))[0] == 0
        assert listed() == before
    assert ended(started("remove"))[0] == 0
    assert listed() == before


def test_a_lock_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /run is full the holder's number can't be written; the lock is the kernel's."""
    monkeypatch.setattr(lock, "_FOLDER", tmp_path / "run")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most[1]))
    try:
        with lock.held():
            with pytest.raises(NftError) as told, lock.held(wait=False):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert "process ?" in told.value.message


@in_namespace
def test_no_room_is_needed_on_any_disk(tmp_path: Path) -> None:
    """A backend that dies has to go also where /tmp is full: here no folder can be written."""
    files = [written(tmp_path, weight) for weight in (1, 2)]
    code = (
        "import sys, tempfile\n"
        "tempfile._candidate_tempdir_list = lambda: ['/proc']\n"
        "from nftlbc import cli\n"
        "sys.argv[0] = 'nftlbc'\n"
        "cli.main()\n"
    )
    for file in files:
        done = subprocess.run(
            [sys.executable, "-c", code, "apply", file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert planning.plan(pipeline.read(files[1])[0]).empty
