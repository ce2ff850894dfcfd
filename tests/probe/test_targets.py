"""Who is asked what, and what is needed for it: from a farms file to targets."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from asking import free_port, run
from namespaces import in_namespace, read

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.farms import Farm
from nftlbc.language.check import KINDS
from nftlbc.plan.recall import recall
from nftlbc.probe import packages
from nftlbc.probe.target import Target, targets

PAGE = Path(__file__).parents[2] / "docs" / "probing.md"


def farms(tmp_path: Path, text: str) -> tuple[Farm, ...]:
    file = tmp_path / "farms.lb"
    file.write_text(text)
    found, diagnostics = pipeline.read(str(file))
    assert not has_errors(diagnostics), draw(diagnostics)
    return found


SHARED = """
define app = 10.0.0.11
farm web {
    listen 203.0.113.1 tcp port 80
    backend app1 $app port 8080
    check tcp { interval 2s; timeout 1s; fall 1 }
    check exec { command "/bin/true" }
}
farm web2 {
    listen 203.0.113.2 tcp port 80
    backend other $app port 8080
    check tcp { interval 9s; timeout 1s; rise 7 }
    check tcp { timeout 500ms }
    check exec { command "/bin/true" }
}
"""


def test_one_thing_is_asked_once_for_all(tmp_path: Path) -> None:
    found = targets(farms(tmp_path, SHARED))
    users = {
        (str(target), target.check.timeout): [(use.farm.name, use.backend.name) for use in uses]
        for target, uses in found.items()
        if target.check.kind == "tcp"
    }
    assert users == {
        ("tcp 10.0.0.11:8080", 1000): [("web", "app1"), ("web2", "other")],
        ("tcp 10.0.0.11:8080", 500): [("web2", "other")],
    }
    commands = [each for each in found if each.check.kind == "exec"]
    assert [(each.farm, each.backend) for each in commands] == [("web", "app1"), ("web2", "other")]
    intervals = [use.check.interval for uses in found.values() for use in uses]
    assert {2_000, 9_000} <= {*intervals}, "each still knows how often it wants to know"


@pytest.mark.parametrize(
    ("listen", "backend", "check", "port"),
    [
        ("tcp port 80", "port 8080", "tcp", 8080),
        ("tcp port 80", "port 8080", "tcp { port 9000 }", 9000),
        ("tcp port 80", "", "tcp", 80),
        ("tcp port 8000-8099", "", "tcp", 8000),
        ("tcp port 443 to 8443", "", "tls", 8443),
        ("tcp port 443 to 8443", "port 8080", "tls", 8443),
        ("tcp, udp port 53", "", 'dns { name "x" }', 53),
        ("tcp port 80", "port 8080", "icmp", 0),
        ("tcp port 80", "port 8080", 'snmp { community file "/x" }', 161),
        ("tcp port 80", "port 8080", 'snmp { community file "/x"; port 1161 }', 1161),
        ("udp port 514 to 5514; listen 203.0.113.1 tcp port 601", "", "tcp", 601),
        ("tcp port 601; listen 203.0.113.1 udp port 514 to 5514", "", 'udp { send "x" }', 5514),
    ],
)
def test_the_port(tmp_path: Path, listen: str, backend: str, check: str, port: int) -> None:
    text = f"farm a {{ listen 203.0.113.1 {listen}; backend b 10.0.0.1 {backend}; check {check} }}"
    (target,) = targets(farms(tmp_path, text))
    assert target.port == port


def test_a_target_shows_no_secret_and_reads_well() -> None:
    from nftlbc.farms import Check

    assert str(Target(Check("tcp"), "2001:db8::1", 80)) == "tcp [2001:db8::1]:80"
    assert str(Target(Check("icmp"), "2001:db8::1", 0)) == "icmp 2001:db8::1"


def examples() -> list[tuple[str, str]]:
    blocks = re.findall(r"^```farms-part\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    found = [(match[1], block) for block in blocks if (match := re.search(r"check (\w+)", block))]
    assert {kind for kind, _ in found} == {*KINDS}
    return found


@pytest.mark.parametrize(("kind", "text"), examples())
def test_every_example_of_the_page_can_be_run(kind: str, text: str, tmp_path: Path) -> None:
    """Against nobody: it fails, for a reason that is none of ours."""
    text = f"farm a {{\nlisten 203.0.113.1 tcp, udp port 80\nbackend b 127.0.0.1\n{text}}}\n"
    asking = [
        dataclasses.replace(
            each,
            port=free_port() if each.port else 0,
            check=dataclasses.replace(each.check, source=None, timeout=500),
        )
        for each in targets(farms(tmp_path, text))
    ]
    for result in run(asking).values():
        assert result.word != "error", result


def test_a_missing_package_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
farm a {
    listen 203.0.113.1 tcp port 80
    backend b 10.0.0.1
    check tcp
    check http { body matches "x" }
    check snmp { community file "/x" }
    check icmp
}
"""
    found = farms(tmp_path, text)
    assert packages.missing(found) == []
    monkeypatch.setattr(packages, "_there", lambda module: module == "icmplib.multiping")
    told = draw(packages.missing(found))
    assert told.count("error: ") == 3
    assert "farms.lb:6:5: error: check http needs the Python package h11" in told
    assert "help: apt install python3-h11, or: pip install 'nftlbc[probe]'" in told
    assert "check snmp needs the Python package pysnmp" in told


@in_namespace
def test_no_backend_goes_down_for_a_missing_package(tmp_path: Path) -> None:
    """Debian 12's icmplib, for one, is there and too old. The table is loaded all the same."""
    (tmp_path / "icmplib").mkdir()
    (tmp_path / "icmplib" / "__init__.py").write_text("")
    file = tmp_path / "farms.lb"
    file.write_text(
        "farm a {\n listen 203.0.113.10 tcp port 80\n backend b 10.0.0.1\n check icmp\n}\n"
    )
    for command in (["apply", "--probe"], ["probe"]):
        done = subprocess.run(
            [sys.executable, "-m", "nftlbc", *command, str(file)],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
            timeout=60,
        )
        assert done.returncode == 3
        assert "check icmp needs the Python package icmplib 3" in done.stderr
        assert done.stdout == ""
    assert [each.standing for farm in recall(read()).farms for each in farm.backends] == ["up"]
