"""``on-change exec``: which events there are, and how the command is called."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from nftlbc import on_change
from nftlbc.farms import Backend, Farm, Listener
from nftlbc.states import ByCheck, ByHand, Remembered

WEB = Farm(
    "web",
    (Listener("203.0.113.10", "tcp", 80, 80),),
    tuple(Backend(f"app{n}", f"10.0.0.{n}", 8080) for n in (1, 2, 3)),
    quorum=2,
)


def with_(farm: Farm, *records: Remembered) -> Farm:
    pairs = zip(farm.backends, records, strict=True)
    return replace(farm, backends=tuple(replace(b, remembered=r) for b, r in pairs))


UP = Remembered()
DRAINED = Remembered(ByHand("drain", "root", 1))
CUT = Remembered(ByHand("disable", "root", 1))
REFUSED = Remembered(check=ByCheck("down", 1, why="refused"))


def told(before: Farm, after: Farm) -> list[tuple[str, str, str, str, str, int]]:
    return [
        (e.backend.name if e.backend else "", e.was, e.state, e.reason, e.quorum, e.takers)
        for e in on_change.events(before, after)
    ]


def test_events() -> None:
    up = with_(WEB, UP, UP, UP)
    assert told(up, up) == []
    one = with_(WEB, UP, DRAINED, UP)
    assert told(up, one) == [("app2", "up", "drain", "hand", "met", 2)]
    two = with_(WEB, REFUSED, DRAINED, UP)
    assert told(one, two) == [
        ("app1", "up", "down", "refused", "missed", 1),
        ("", "quorum-met", "quorum-missed", "refused", "missed", 1),
    ]
    # What is down anyway does not change by being drained.
    assert told(two, with_(WEB, replace(REFUSED, hand=DRAINED.hand), DRAINED, UP)) == []
    assert told(two, with_(WEB, REFUSED, CUT, UP)) == [
        ("app2", "drain", "disabled", "hand", "missed", 1)
    ]
    assert told(two, up)[-1] == ("", "quorum-missed", "quorum-met", "hand", "met", 3)
    filed = replace(up, backends=(replace(up.backends[0], state="down"), *up.backends[1:]))
    assert told(up, filed) == [("app1", "up", "down", "file", "met", 2)]


def called(command: tuple[str, ...]) -> list[str]:
    events = on_change.events(with_(WEB, UP, UP, UP), with_(WEB, UP, DRAINED, CUT))
    return list(on_change.call(command, events))


def test_the_command_gets_what_changed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "token")
    log = tmp_path / "log"
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\npwd >> "$2"\necho "$1" >> "$2"\nenv | sort >> "$2"\n')
    script.chmod(0o755)
    assert called((str(script), "$(id); *", str(log))) == []
    lines = log.read_text().splitlines()
    assert lines[:2] == ["/", "$(id); *"]
    assert "SECRET=token" not in lines
    assert "NFTLBC_ADDRESS=10.0.0.2" in lines
    assert [line for line in lines if "STATE" in line] == [
        "NFTLBC_STATE=drain",
        "NFTLBC_STATE=disabled",
        "NFTLBC_STATE=quorum-missed",
    ]
    for line in ("NFTLBC_FARM=web", "NFTLBC_PORT=8080", "NFTLBC_WAS=up", "NFTLBC_REASON=hand"):
        assert line in lines
    for line in ("NFTLBC_QUORUM=missed", "NFTLBC_TAKERS=1", "NFTLBC_NEEDED=2"):
        assert lines.count(line) == 3


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    assert (
        called((str(tmp_path / "none"),))
        == [f"on-change of farm web: {tmp_path}/none can't be started: No such file or directory"]
        * 3
    )
    assert called(("/bin/sh", "-c", "exit 3"))[0].endswith("/bin/sh ended with status 3")
    assert called(("/bin/sh", "-c", "kill -TERM $$"))[0].endswith("died by signal 15")


def test_one_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_change, "DEADLINE", 0.5)
    number = tmp_path / "number"
    wrong = called(("/bin/sh", "-c", f"sleep 100 & echo $! > {number}; wait"))
    # It is not called again for the other events.
    assert len(wrong) == 1
    assert on_change.OVERDUE in wrong[0]
    child = int(number.read_text())
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(child)


def _lives(process: int) -> bool:
    """Not there, or ended and waiting for whoever adopted it to notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_its_output_is_no_result(capfd: pytest.CaptureFixture[str]) -> None:
    assert called(("/bin/sh", "-c", "echo said")) == []
    out, err = capfd.readouterr()
    assert (out, err) == ("", "said\n" * 3)
