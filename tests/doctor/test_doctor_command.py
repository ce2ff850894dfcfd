"""The command: what a person sees, its exit statuses, and that it changes nothing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import typer
from ground import HEALTHY, inside
from tables import WEB4, forward, load
from typer.testing import CliRunner

from nftlbc.cli import doctor as command
from nftlbc.doctor import Finding, Verdict, report

ROOT = Path(__file__).parents[2]


@pytest.mark.kernel
def test_a_person_s_screen_and_exit_statuses(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(WEB4)
    run = f"{sys.executable} -m nftlbc doctor $each {file} || echo status $?"
    show = f"cd {ROOT}; for each in '' -q -v --json; do {run}; echo ----; done"
    steps = [{"run": HEALTHY}, {"run": show}]
    steps += [{"run": forward()}, {"run": "echo 0 > /proc/sys/net/ipv4/ip_forward"}, {"run": show}]
    results = inside(steps)
    plain, quiet, verbose, document, _ = results[1].split("----\n")
    assert plain == "0 problems, 24 well\n"
    assert quiet == ""
    assert "ok          ip-forward" in verbose
    assert json.loads(document)["verdict"] == "ok"
    plain, quiet, _, document, _ = results[4].split("----\n")
    assert plain.startswith("problem: IPv4 forwarding is off")
    assert "\n         nft insert rule inet fw at-forward ct status dnat accept\n" in plain
    assert "\n2 problems, 22 well\nstatus 4\n" in plain
    assert quiet.startswith("problem: ") and quiet.endswith("dnat accept\nstatus 4\n")
    assert max(map(len, plain.splitlines())) <= 80
    assert json.loads(document.removesuffix("status 4\n"))["counts"]["problem"] == 2


@pytest.mark.kernel
def test_it_changes_nothing() -> None:
    broken = forward() + load("table ip nat {\nchain c {\n}\n}")
    settled = "while ip -6 address | grep -q tentative; do sleep 0.1; done"
    steps = [{"run": HEALTHY}, {"run": broken}, {"apply": WEB4}, {"run": settled}, {"state": ""}]
    results = inside([*steps, {"doctor": WEB4}, {"state": ""}])
    assert results[4] == results[6]


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    command.add_to(app)
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


def test_without_a_file_it_takes_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def examine(farms: tuple[object, ...]) -> list[Finding]:
        asked.append(len(farms))
        return [Finding("x", Verdict.WARNING, "it is so")]

    monkeypatch.setattr("nftlbc.doctor.examine", examine)
    monkeypatch.setattr(command, "DEFAULT_FILE", str(tmp_path / "farms.lb"))
    status, alone = run()
    assert (status, asked) == (0, [0])
    assert "only the machine" in alone
    (tmp_path / "farms.lb").write_text(WEB4)
    status, both = run()
    assert (status, asked) == (0, [0, 1])
    assert "only the machine" not in both
    (tmp_path / "farms.lb").write_text("farm web {")
    assert run()[0] == 1
    assert asked == [0, 1]


def test_what_nobody_could_look_at_is_no_clean_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("x", Verdict.NOT_CHECKED, "no right")]
    monkeypatch.setattr("nftlbc.doctor.examine", lambda _: found)
    monkeypatch.setattr(command, "DEFAULT_FILE", "/nonexistent")
    assert run()[0] == 3


def test_the_worst_comes_first_and_nothing_steers_a_terminal() -> None:
    found = [
        Finding("a", Verdict.WARNING, "second"),
        Finding(
            "b", Verdict.PROBLEM, "first \x1b[2J", commands=tuple(f"do {n}" for n in range(12))
        ),
    ]
    drawn = report.draw(found)
    assert drawn.index("first") < drawn.index("second")
    assert "\x1b" not in drawn
    assert "do 7\n         # and 4 more: --json has them all\n" in drawn


def test_every_check_is_in_the_documentation() -> None:
    from nftlbc.doctor.checks import CHECKS

    told = set(re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs/doctor.md").read_text(), re.M))
    assert told == {check.name for check in CHECKS}
