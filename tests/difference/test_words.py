"""What plan says, word for word, for each kind of change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from namespaces import Elsewhere, content, in_namespace, nft, read

from nftlbc import pipeline
from nftlbc.nft import conntrack, kernel
from nftlbc.plan import planning, telling
from nftlbc.plan.planning import Plan

WEB = """
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080
    backend app3 10.0.0.13 port 8080 weight 2
}
"""
OLD = """
farm old {
    listen 203.0.113.20, 2001:db8::20 tcp port 80
    persist source-ip
    backend o1 10.0.1.1 port 80
    backend o6 2001:db8:1::1 port 80
}
"""
T = "inet nftlbc"


def planned(text: str, folder: Path) -> Plan:
    file = folder / "farms.lb"
    file.write_text(text)
    farms, diagnostics = pipeline.read(str(file))
    assert not [each for each in diagnostics if each.severity.name == "ERROR"], diagnostics
    return planning.plan(farms)


def said(text: str, folder: Path) -> list[str]:
    plan = planned(text, folder)
    return list(telling.lines(plan, telling.told(plan)))


def apply(text: str, folder: Path) -> None:
    kernel.send(planned(text, folder).transaction)


CASES = {
    "nothing": (WEB, ["nothing to change: the kernel's table is what the farms file says"]),
    "a weight": (
        WEB.replace("8080 weight 2", "8080 weight 1").replace(
            "12 port 8080", "12 port 8080 weight 2"
        ),
        [
            "farm web:",
            "    backend app2: weight 1 -> 2; its share 25 % -> 50 %",
            "    backend app3: weight 2 -> 1; its share 50 % -> 25 %",
            "    3 of 4 slots move",
        ],
    ),
    "one weight": (
        WEB.replace("12 port 8080", "12 port 8080 weight 3"),
        [
            "farm web:",
            "    backend app1: share 25 % -> 16.67 %",
            "    backend app2: weight 1 -> 3; its share 25 % -> 50 %",
            "    backend app3: share 50 % -> 33.33 %",
            "    4 -> 6 slots",
        ],
    ),
    "drain": (
        WEB.replace("12 port 8080", "12 port 8080 state drain"),
        [
            "farm web:",
            "    backend app1: share 25 % -> 33.33 %",
            "    backend app2: share 25 % -> 0 %; it takes no new clients",
            "    backend app3: share 50 % -> 66.67 %",
            "    4 -> 3 slots",
        ],
    ),
    "down": (
        WEB.replace("weight 2", "weight 2 state down"),
        [
            "farm web:",
            "    backend app1: share 25 % -> 50 %",
            "    backend app2: share 25 % -> 50 %",
            "    backend app3 up -> down; its 50 % goes to others",
            "    4 -> 2 slots",
        ],
    ),
    "removed": (
        WEB.replace("    backend app3 10.0.0.13 port 8080 weight 2\n", ""),
        [
            "farm web:",
            "    backend app3 (10.0.0.13:8080) removed; its 50 % goes to others",
            "    backend app1: share 25 % -> 50 %",
            "    backend app2: share 25 % -> 50 %",
            "    4 -> 2 slots",
        ],
    ),
    "added": (
        WEB.replace("weight 2", "weight 2\n    backend app4 10.0.0.14 weight 4"),
        [
            "farm web:",
            "    backend app1: share 25 % -> 12.5 %",
            "    backend app2: share 25 % -> 12.5 %",
            "    backend app3: share 50 % -> 25 %",
            "    backend app4 (10.0.0.14) added; it gets 50 %",
            "    4 -> 8 slots",
            "table: rules that farms share are written anew; no client notices (deliver4-mixed, serve4-mixed)",
            "table: new maps: addresses4_1024",
            "table: no longer needed, taken away: deliver4, serve4",
        ],
    ),
    "added, down": (
        WEB.replace("weight 2", "weight 2\n    backend app4 10.0.0.14 port 1 state down"),
        ["farm web: backend app4 (10.0.0.14:1) added, down"],
    ),
    "renamed": (
        WEB.replace("app2", "second"),
        ["farm web: backend app2 is renamed second; nothing moves"],
    ),
    "another order": (
        """
farm web {
    listen 203.0.113.10 tcp port 80
    backend app2 10.0.0.12 port 8080
    backend app1 10.0.0.11 port 8080
    backend app3 10.0.0.13 port 8080 weight 2
}
""",
        ["farm web: 2 of 4 slots move"],
    ),
    "listeners": (
        WEB.replace("port 80\n", "port 81\n    listen 203.0.113.11 tcp port 443 to 8443\n", 1),
        [
            "farm web:",
            "    no longer listens on 203.0.113.10:80/tcp",
            "    listens on 203.0.113.10:81/tcp",
            "    listens on 203.0.113.11:443/tcp, to port 8443",
            "table: rules that farms share are written anew; no client notices (deliver4-own, serve4-own)",
            "table: new maps: addresses4_1024, own4, ports4",
            "table: no longer needed, taken away: deliver4, serve4",
        ],
    ),
    "a source": (
        WEB.replace("port 80\n", "port 80\n    forward snat to 10.0.0.1\n", 1),
        [
            "farm web: connections come from 10.0.0.1",
            "table: rules that farms share are written anew; no client notices (deliver4-replace, serve4-replace, source, postrouting)",
            "table: new maps: snat4_1024",
            "table: no longer needed, taken away: deliver4, serve4",
        ],
    ),
    "another scheduler": (
        WEB.replace("port 80\n", "port 80\n    balance random\n", 1),
        ["farm web: balance: round-robin -> random"],
    ),
    "persistence": (
        WEB.replace("port 80\n", "port 80\n    persist source-ip for 90s\n", 1),
        [
            "farm web: IPv4 clients are known again by source-ip for 90s",
            "table: rules that farms share are written anew; no client notices (stick4_source-ip_90s, learn4_source-ip_90s)",
            "table: new maps: sticky4_source-ip_90s_262144",
        ],
    ),
    "a farm": (WEB + OLD, None),
}


@in_namespace
@pytest.mark.parametrize("name", CASES)
def test_each_change_in_its_words(name: str, tmp_path: Path) -> None:
    apply(WEB, tmp_path)
    text, expected = CASES[name]
    found = said(text, tmp_path)
    if expected is not None:
        assert found == expected
    else:
        assert found[0] == "farm old: added: 2 listeners, 2 backends"
    apply(text, tmp_path)
    assert said(text, tmp_path) == CASES["nothing"][1]


@in_namespace
def test_a_table_that_is_not_there_yet(tmp_path: Path) -> None:
    assert said(WEB, tmp_path) == [
        "there is no table inet nftlbc yet: all of it is new",
        "farm web: added: 1 listener, 3 backends",
    ]


@in_namespace
def test_up_again(tmp_path: Path) -> None:
    apply(WEB.replace("weight 2", "weight 2 state down"), tmp_path)
    assert said(WEB, tmp_path)[3] == "    backend app3 down -> up; it gets 50 %"
    gone = WEB.replace("    backend app3 10.0.0.13 port 8080 weight 2\n", "")
    assert said(gone, tmp_path) == ["farm web: backend app3 (10.0.0.13:8080) removed; it was down"]


# What clients have at stake


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Open connections by backend; the test fills it in."""
    found: dict[str, int] = {}

    def count() -> conntrack.Open:
        marks = {
            text: mark
            for each in read().maps.values()
            for mark, text in each.comments.items()
            if isinstance(mark, int)
        }
        opened = conntrack.Open()
        for name, number in found.items():
            opened.tcp[marks[name]] = number
            opened.flows[marks[name]] = number // 4
        return opened

    monkeypatch.setattr(conntrack, "count", count)
    return found


def stick(name: str, clients: int, map: str = "sticky4_source-ip_300s_262144") -> None:
    """As if so many had come to a backend."""
    table = read()
    mark = next(
        key for each in table.maps.values() for key, text in each.comments.items() if text == name
    )
    for number in range(1, clients + 1):
        nft(f"add element {T} {map} {{ 1:2 . 198.18.0.{number} : 0x{mark:x} }}")


@in_namespace
def test_what_goes_is_told_with_its_clients(tmp_path: Path, tracked: dict[str, int]) -> None:
    web = WEB.replace("port 80\n", "port 80\n    persist source-ip\n", 1)
    apply(web + OLD, tmp_path)
    stick("old/o1", 3)
    tracked.update({"old/o1": 12, "web/app2": 1})
    found = said(web, tmp_path)
    assert found[0] == (
        "farm old: removed: 2 listeners, 2 backends; "
        "3 sticky clients, 12 open connections, 3 UDP flows"
    )
    down = web.replace("12 port 8080", "12 port 8080 state down")
    found = said(down + OLD, tmp_path)
    assert "    backend app2 up -> down; its 25 % goes to others; 1 open connection" in found
    gone = web.replace("    backend app2 10.0.0.12 port 8080\n", "")
    text = "backend app2 (10.0.0.12:8080) removed; its 25 % goes to others; 1 open connection"
    assert f"    {text}" in said(gone + OLD, tmp_path)


@in_namespace
def test_clients_that_go_over(tmp_path: Path, tracked: dict[str, int]) -> None:
    apply(OLD, tmp_path)
    stick("old/o1", 0)
    number = next(
        rule[0].value
        for chain in planned(OLD, tmp_path).wanted.chains
        for rule in chain.rules[:1]
        if chain.name == "farm-old-4"
    )
    mark = next(key for key in read().maps["backends4_1024"].elements)
    nft(
        f"add element {T} sticky4_source-ip_300s_262144 "
        f"{{ {number >> 16:x}:{number & 0xFFFF:x} . 10.9.9.9 : 0x{mark:x} }}"
    )
    longer = OLD.replace("persist source-ip", "persist source-ip for 600s size 4096")
    found = said(longer, tmp_path)
    assert found[:3] == [
        "farm old:",
        "    IPv4 clients are known again by source-ip for 300s -> source-ip for 600s size 4096; "
        "1 sticky client stays known",
        "    IPv6 clients are known again by source-ip for 300s -> source-ip for 600s size 4096",
    ]
    assert "table: 1 sticky client goes over into sticky4_source-ip_600s_4096_old" in found
    never = OLD.replace("    persist source-ip\n", "")
    assert said(never, tmp_path)[1] == (
        "    IPv4 clients are no longer known again; 1 sticky client is forgotten"
    )
    for keys, families in (
        ("source-ip/24/128", (4,)),
        ("source-ip/32/64", (6,)),
        ("source-ip, destination-port", (4, 6)),
    ):
        found = said(OLD.replace("persist source-ip", f"persist {keys}"), tmp_path)
        clients = [line[line.index("IPv") :] for line in found if "clients are known" in line]
        text = f"clients are known again by source-ip for 300s -> {keys} for 300s"
        assert clients == [
            f"IPv{family} {text}{'; 1 sticky client is forgotten' if family == 4 else ''}"
            for family in families
        ]


@in_namespace
def test_drift_is_told_as_such(tmp_path: Path) -> None:
    apply(WEB, tmp_path)
    nft(f"insert rule {T} farm-web-4 counter\nadd chain {T} mine")
    assert said(WEB, tmp_path) == [
        "farm web: its rules for IPv4 are written anew; a round robin starts anew",
        "table: no longer needed, taken away: mine",
        "the table was changed behind nftlbc's back, and is mended:",
        "    chain mine is not nftlbc's: it is taken away",
        "    chain farm-web-4 has a rule that is not nftlbc's",
    ]


# The command

EMPTY = {"table": True, "changes": [], "held": []}


def nftlbc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nftlbc", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=60,
        check=False,
    )


@in_namespace
def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_text(WEB)
    first = nftlbc("plan", str(file), "--exit-code")
    assert (first.returncode, first.stderr) == (4, "")
    assert "all of it is new" in first.stdout
    assert nftlbc("plan", str(file)).returncode == 0
    assert nftlbc("apply", str(file)).stderr == ("table inet nftlbc: 1 farm, 3 backends: done\n")
    assert nftlbc("apply", str(file)).stderr == (
        "table inet nftlbc: 1 farm, 3 backends: nothing to change\n"
    )
    same = nftlbc("plan", str(file), "--exit-code")
    assert (same.returncode, same.stdout) == (0, CASES["nothing"][1][0] + "\n")
    assert json.loads(nftlbc("plan", str(file), "--json").stdout) == EMPTY
    assert nftlbc("plan", str(file), "--nft").stdout == ""
    file.write_text(WEB.replace("app2", "second"))
    changed = nftlbc("plan", str(file), "--json", "--exit-code")
    assert changed.returncode == 4
    assert json.loads(changed.stdout) == {
        "table": True,
        "changes": [
            {
                "kind": "backend-renamed",
                "farm": "web",
                "subject": "second",
                "text": "backend app2 is renamed second; nothing moves",
            }
        ],
        "held": [],
    }


@in_namespace
def test_the_transaction_that_is_printed_does_the_same(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    elsewhere = Elsewhere()
    for text in (WEB, WEB.replace("app2", "x"), OLD, WEB + OLD, WEB):
        file.write_text(text)
        printed = nftlbc("plan", str(file), "--nft").stdout
        wanted = planned(text, tmp_path).wanted
        nft(printed)
        assert content(read()) == elsewhere.fresh(wanted)
        assert nftlbc("plan", str(file), "--nft").stdout == ""
