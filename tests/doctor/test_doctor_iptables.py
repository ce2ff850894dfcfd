"""iptables' rules, from lines that its save programs have written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ground import examined, mended
from tables import WEB4

from nftlbc.doctor.foreign import iptables
from nftlbc.doctor.foreign.listing import read
from nftlbc.doctor.foreign.matching import Truth
from nftlbc.doctor.foreign.model import Rule, Table
from nftlbc.doctor.foreign.options import statements
from nftlbc.doctor.foreign.packet import Packet, answering, arriving, translated
from nftlbc.doctor.foreign.packet import Path as Way
from nftlbc.doctor.foreign.walking import Effect, Walk
from nftlbc.doctor.machine import Machine

WAY = Way(4, "tcp", "203.0.113.10", 80, "10.0.0.11", 8080, "eth0", "eth1", True, "10.0.0.0/24")
ARRIVING, TRANSLATED, ANSWERING = arriving(WAY, tracked=True), translated(WAY), answering(WAY)


def reaches(line: str, packet: Packet) -> Truth:
    """Whether the target of a rule is reached."""
    walk = Walk(Table("ip", "t", {}, {}), packet)
    rule = Rule(tuple(statements(line.split())), line)
    from nftlbc.doctor.foreign.model import Chain, Hook

    walk.run(Chain("c", (rule,), Hook("filter", "forward", 0, "drop")))
    accepting = [end for end in walk.ends if end.effect is Effect.ACCEPT]
    if not accepting:
        return Truth.NO
    return Truth.YES if accepting[0].certain else Truth.MAYBE


@pytest.mark.parametrize(
    ("line", "packet", "truth"),
    [
        ("-j ACCEPT", TRANSLATED, Truth.YES),
        ("-p tcp -m tcp --dport 8080 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-p tcp -m tcp --dport 80 -j ACCEPT", TRANSLATED, Truth.NO),
        ("-p tcp -m tcp --dport 80 -j ACCEPT", ARRIVING, Truth.YES),
        ("-p tcp -m tcp ! --dport 80 -j ACCEPT", ARRIVING, Truth.NO),
        ("-p tcp -m tcp --dport 8000:9000 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-p tcp -m tcp --sport 8080 -j ACCEPT", ANSWERING, Truth.YES),
        ("-p tcp -m multiport --dports 80,8000:8099 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-p tcp -m multiport ! --dports 80,8000:8099 -j ACCEPT", TRANSLATED, Truth.NO),
        ("-p udp -m udp --dport 8080 -j ACCEPT", TRANSLATED, Truth.NO),
        ("! -p udp -j ACCEPT", TRANSLATED, Truth.YES),
        ("-d 10.0.0.0/8 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-d 10.0.0.11/32 -i eth0 -o eth1 -j ACCEPT", TRANSLATED, Truth.YES),
        ("! -d 10.0.0.0/8 -j ACCEPT", TRANSLATED, Truth.NO),
        ("-s 10.0.0.0/24 -j ACCEPT", TRANSLATED, Truth.NO),
        ("-s 192.0.2.0/24 -j ACCEPT", TRANSLATED, Truth.MAYBE),
        ("-d 10.0.0.11/255.0.255.255 -j ACCEPT", TRANSLATED, Truth.MAYBE),
        ("-i eth+ -j ACCEPT", TRANSLATED, Truth.YES),
        ("! -i docker0 -o eth1 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-i docker0 ! -o docker0 -j ACCEPT", TRANSLATED, Truth.NO),
        ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", TRANSLATED, Truth.NO),
        ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", ANSWERING, Truth.YES),
        ("-m state --state NEW -j ACCEPT", TRANSLATED, Truth.YES),
        ("-m conntrack --ctstate DNAT -j ACCEPT", TRANSLATED, Truth.YES),
        ("-m conntrack --ctstate DNAT -j ACCEPT", ARRIVING, Truth.NO),
        ("-m conntrack --ctstate ESTABLISHED,DNAT -j ACCEPT", TRANSLATED, Truth.YES),
        ("-m conntrack ! --ctstate DNAT -j ACCEPT", TRANSLATED, Truth.NO),
        ("-m conntrack --ctdir REPLY -j ACCEPT", ANSWERING, Truth.YES),
        ("-m conntrack --ctorigdst 203.0.113.10 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-m conntrack --ctorigdstport 81 -j ACCEPT", TRANSLATED, Truth.NO),
        ("-m addrtype --dst-type LOCAL -j ACCEPT", ARRIVING, Truth.YES),
        ("-m addrtype --dst-type LOCAL -j ACCEPT", TRANSLATED, Truth.NO),
        ("-m connmark --mark 0x0/0x80000000 -j ACCEPT", TRANSLATED, Truth.NO),
        ("-m connmark --mark 0x80000000/0x80000000 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-m connmark ! --mark 0x0 -j ACCEPT", TRANSLATED, Truth.YES),
        ("-m connmark --mark 0x1 -j ACCEPT", ARRIVING, Truth.NO),
        ("-m mark --mark 0x1 -j ACCEPT", TRANSLATED, Truth.MAYBE),
        ("-m limit --limit 5/min -j ACCEPT", TRANSLATED, Truth.MAYBE),
        ("-p tcp -m tcp --tcp-flags SYN,RST SYN -j ACCEPT", TRANSLATED, Truth.MAYBE),
        ("-m set --match-set friends src -j ACCEPT", TRANSLATED, Truth.MAYBE),
        ("-m something --new 7 -j ACCEPT", TRANSLATED, Truth.MAYBE),
        ("-j LOG --log-prefix ACCEPT", TRANSLATED, Truth.NO),
    ],
)
def test_what_a_rule_matches(line: str, packet: Packet, truth: Truth) -> None:
    assert reaches(line, packet) is truth


SAVED = {
    "filter": """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "let them \\"go on\\"" -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
COMMIT
""",
    "nat": """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80
COMMIT
""",
    "mangle": """\
*mangle
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -m connmark ! --mark 0x0 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
""",
}


def programs(folder: Path, kind: str, saved: dict[str, str]) -> None:
    """Stand-ins for the save programs: of both kinds, for IPv4."""
    for table, text in saved.items():
        (folder / f"{table}.saved").write_text(text)
    program = folder / f"iptables-{kind}-save"
    program.write_text(f'#!/bin/sh\ncat "{folder}/$2.saved"\n')
    program.chmod(0o755)


@pytest.fixture
def legacy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    names = tmp_path / "proc" / "net" / "ip_tables_names"
    names.parent.mkdir(parents=True)
    names.write_text("nat\nfilter\nmangle\n")
    programs(tmp_path, "legacy", SAVED)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Machine(tmp_path)


def test_legacy_tables_have_their_hooks_and_policies(legacy: Machine) -> None:
    tables = {each.name: each for each in iptables.legacy(legacy) if isinstance(each, Table)}
    assert set(tables) == {"nat", "filter", "mangle"}
    (forward,) = tables["filter"].hooked("forward")
    assert forward.hook is not None
    assert (forward.hook.priority, forward.hook.policy) == (0, "drop")
    assert Walk(tables["filter"], TRANSLATED).run(forward).blocked()
    assert not Walk(tables["filter"], ANSWERING).run(forward).blocked()
    (nat,) = tables["nat"].hooked("prerouting")
    (end,) = Walk(tables["nat"], ARRIVING).run(nat).ends
    assert (end.effect, end.certain, end.chain) == (Effect.TRANSLATE, True, "DOCKER")
    (mangle,) = tables["mangle"].hooked("prerouting")
    (event,) = Walk(tables["mangle"], ANSWERING).run(mangle).events
    assert (event.effect, event.certain) == (Effect.RESTORE_MARK, True)


def test_legacy_tables_that_are_not_there_are_not_asked_for(tmp_path: Path) -> None:
    """iptables-legacy makes the table that it is asked for: it must not be asked."""
    names = tmp_path / "proc" / "net" / "ip_tables_names"
    names.parent.mkdir(parents=True)
    names.write_text("")
    assert list(iptables.legacy(Machine(tmp_path))) == []


def test_legacy_tables_without_their_program(tmp_path: Path) -> None:
    names = tmp_path / "proc" / "net" / "ip6_tables_names"
    names.parent.mkdir(parents=True)
    names.write_text("filter\nsomething-else\n")
    if shutil.which("ip6tables-legacy-save"):
        pytest.skip("the program is here")
    ((title, reason),) = [
        each for each in iptables.legacy(Machine(tmp_path)) if isinstance(each, tuple)
    ]
    assert title == "ip6tables-legacy's table filter"
    assert "apt install iptables" in reason


def listing(family: str, name: str, hook: str, *rules: list[Any]) -> str:
    """What nft tells of a table that iptables-nft made: the native parts, and names."""
    rows: list[Any] = [{"metainfo": {"json_schema_version": 1}}]
    rows.append({"table": {"family": family, "name": name, "handle": 1}})
    where = {"family": family, "table": name}
    base = {"type": "filter", "hook": hook, "prio": 0, "policy": "drop"}
    rows.append({"chain": {**where, "name": "FORWARD", "handle": 1, **base}})
    for number, rule in enumerate(rules, 2):
        rows.append({"rule": {**where, "chain": "FORWARD", "handle": number, "expr": rule}})
    return json.dumps({"nftables": rows})


CONNTRACK = [{"xt": {"type": "match", "name": "conntrack"}}, {"counter": {}}, {"accept": None}]


def nft(folder: Path, listed: str) -> None:
    (folder / "listed").write_text(listed)
    names = {"nftables": [{"table": {"family": "ip", "name": "filter"}}]}
    (folder / "names").write_text(json.dumps(names))
    program = folder / "nft"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in "-j list tables") cat {folder}/names;;'
        f' "-j list table ip filter") cat {folder}/listed;; *) exit 1;; esac\n'
    )
    program.chmod(0o755)


def test_the_save_program_tells_what_nft_can_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft(tmp_path, listing("ip", "filter", "forward", CONNTRACK))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    programs(tmp_path, "nft", SAVED)
    (table,) = read(Machine(tmp_path)).tables
    assert (table.made_by, table.hidden, str(table)) == (
        "iptables-nft",
        False,
        "iptables' table filter",
    )
    (chain,) = table.hooked("forward")
    assert Walk(table, TRANSLATED).run(chain).blocked()


def test_without_the_save_program_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("iptables-save") or shutil.which("iptables-nft-save"):
        pytest.skip("the program is here")
    nft(tmp_path, listing("ip", "filter", "forward", CONNTRACK))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (table,) = read(Machine(tmp_path)).tables
    assert table.hidden
    (chain,) = table.hooked("forward")
    assert not Walk(table, TRANSLATED).run(chain).blocked()


@pytest.mark.parametrize(
    "listed",
    [
        "",
        "not JSON",
        "[]",
        '{"nftables": 7}',
        '{"nftables": [{"chain": {"name": "x", "hook": "y"}}]}',
    ],
)
def test_a_listing_that_makes_no_sense_costs_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    nft(tmp_path, listed)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ruleset = read(Machine(tmp_path))
    assert not any(table.chains for table in ruleset.tables)
    assert list(ruleset.unread) == ["table ip filter"] or listed == ""


def test_a_table_with_a_name_that_is_a_command_is_not_given_to_nft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nft joins its arguments into one command: this one would flush everything."""
    nft(tmp_path, "")
    names = {"nftables": [{"table": {"family": "ip", "name": "a; flush ruleset"}}]}
    (tmp_path / "names").write_text(json.dumps(names))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    called = tmp_path / "called"
    (tmp_path / "nft").write_text(
        f'#!/bin/sh\ncase "$*" in "-j list tables") cat {tmp_path}/names;; *) touch {called};; esac\n'
    )
    ruleset = read(Machine(tmp_path))
    assert list(ruleset.unread) == ["table ip a; flush ruleset"]
    assert not called.exists()


REAL = shutil.which("iptables-nft") or ""


@pytest.mark.kernel
@pytest.mark.skipif(not REAL, reason="iptables is not on this machine")
def test_docker_s_rules_for_real() -> None:
    docker = """\
iptables-nft -P FORWARD DROP
iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables-nft -t nat -N DOCKER
iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80
"""
    before, after = mended(WEB4, "foreign-nat", docker)
    assert before.wrong == {"foreign-filter": "problem", "foreign-nat": "problem"}
    assert after.wrong == {"foreign-filter": "problem"}
    assert mended(WEB4, "foreign-filter", docker)[1].wrong == {"foreign-nat": "problem"}
    accepted = "iptables-nft -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
    assert examined(WEB4, docker.split("iptables-nft -t nat")[0], accepted).wrong == {}
