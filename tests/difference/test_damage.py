"""Tables that are not as expected: each ends as wanted, and keeps what can be kept."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from namespaces import NFTS, Elsewhere, applied, content, in_namespace, nft, read

from nftlbc import pipeline
from nftlbc.farms import Farm
from nftlbc.nft import kernel, script
from nftlbc.plan import planning, telling
from nftlbc.plan.planning import Plan
from nftlbc.table.build import build

FARMS = """
farm web {
    listen 203.0.113.10, 2001:db8::10 tcp port 80
    listen 203.0.113.10 tcp port 443-8443
    persist source-ip for 5m
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080 weight 3
    backend app3 10.0.0.13 port 8080 state drain
    backend app4 10.0.0.14 port 8080 state down
    backend six1 2001:db8:1::11 port 8080
}
farm own {
    listen 203.0.113.20 udp, tcp port 53
    listen 203.0.113.20 tcp port 99 to 9001
    hairpin
    balance random
    persist source-ip for 5m size 64
    backend d1 10.0.1.1
    backend d2 10.0.1.2 port 5353
}
farm replaced {
    listen 203.0.113.30 tcp port 5432
    forward snat to 203.0.113.31
    balance hash source-ip
    backend r1 10.0.2.1
    backend r2 10.0.2.2 weight 5
}
"""
T = "inet nftlbc"
STICKY, OWN_STICKY = "sticky4_source-ip_300s_262144", "sticky4_source-ip_300s_64_own"


def farms_of(text: str, folder: Path) -> tuple[Farm, ...]:
    path = folder / "farms.lb"
    path.write_text(text)
    farms, diagnostics = pipeline.read(str(path))
    assert not [each for each in diagnostics if each.severity.name == "ERROR"], diagnostics
    return farms


class Machine:
    """A table as it was loaded, with what packets would have put there since."""

    def __init__(self, farms: Sequence[Farm], text: str | None = None) -> None:
        self.farms = farms
        self.elsewhere = Elsewhere()
        table = build(farms)
        kernel.load(text if text is not None else script.write(table))
        number = next(
            rule[0].value
            for chain in table.chains
            for rule in chain.rules
            if chain.name == "farm-web-4"
        )
        self.client = (number, "198.18.0.1")
        words = f"{number >> 16:x}:{number & 0xFFFF:x}"
        self.marks = {
            data.name: mark for mark, data in table.map["backends4_1024"].elements.items()
        }
        mark = self.marks["web/app1"]
        if STICKY in read().maps:
            nft(f"add element {T} {STICKY} {{ {words} . 198.18.0.1 expires 100s : 0x{mark:x} }}")
        if "backends4_1024" in read().maps:
            nft(
                f"delete element {T} backends4_1024 {{ 0x{mark:x} }}\n"
                f"add element {T} backends4_1024 {{ 0x{mark:x} counter packets 7 bytes 420 "
                f'comment "web/app1" : 10.0.0.11 . 8080 }}'
            )

    def mended(self, *, sticky: bool = True, counters: bool = True) -> tuple[Plan, list[str]]:
        """Applies; the plan, and what it said of drift."""
        plan = planning.plan(self.farms)
        drift = [each.text for each in telling.told(plan) if each.kind == "drift"]
        applied(self.farms, self.elsewhere)
        after = read().maps
        assert (self.client in after[STICKY].elements) == sticky
        if sticky:
            lease = after[STICKY].leases[self.client]
            assert lease.timeout == 300_000
            assert lease.left <= 100_000
        counted = after["backends4_1024"].counters[self.marks["web/app1"]]
        assert counted == ((7, 420) if counters else (0, 0))
        return plan, drift


def damaged(script: str, *words: str, sticky: bool = True, counters: bool = True) -> None:
    machine = Machine(farms_of(FARMS, Path.cwd()))
    nft(script)
    _, drift = machine.mended(sticky=sticky, counters=counters)
    told = "\n".join(drift)
    assert drift or not words
    for word in words:
        assert word in told


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@in_namespace
def test_what_compile_printed_and_nft_loaded_needs_nothing() -> None:
    for program in NFTS:
        farms = farms_of(FARMS, Path.cwd())
        kernel.remove()
        kernel.load(script.write(build(farms)), program)
        assert planning.plan(farms).empty


HAND = {
    "a rule too many": (f"insert rule {T} pick counter", "pick has a rule that is not nftlbc's"),
    "a rule too few": (f"flush chain {T} refuse", "refuse lacks 2 of its rules"),
    "rules of a farm": (f"flush chain {T} farm-web-4", "farm-web-4 lacks 3 of its rules"),
    "no way in": (f"flush chain {T} prerouting", "don't look into the same maps"),
    "a hook removed": (
        f"flush chain {T} output\ndelete chain {T} output",
        "chain output is missing",
    ),
    "a chain of somebody's": (
        f"add chain {T} mine {{ type filter hook forward priority 0; policy drop; }}\n"
        f"add rule {T} mine ip saddr 10.0.0.0/8 accept",
        "chain mine is not nftlbc's, and is called",
    ),
    "a chain that is jumped to": (
        f"add chain {T} mine\nadd chain {T} mine2\nadd rule {T} mine jump mine2\n"
        f"add rule {T} serve4 jump mine",
        "chain mine is not nftlbc's",
        "chain serve4 has a rule",
    ),
    "a map and a set of somebody's": (
        f"add set {T} blocked {{ type ipv4_addr; flags interval; }}\n"
        f"add element {T} blocked {{ 10.0.0.0/8 }}\n"
        f"add rule {T} prerouting ip saddr @blocked drop",
        "map blocked is not nftlbc's",
    ),
    "objects of a map": (
        f"add counter {T} c\nadd map {T} counters {{ type ipv4_addr : counter; }}\n"
        f'add element {T} counters {{ 10.0.0.1 : "c" }}',
        "map counters is not nftlbc's",
    ),
    "all slots gone": (f"flush map {T} slots_1024",),
    "a slot gone": (
        f"delete element {T} slots_1024 {{ SLOT }}",
        "farm web lacks some of its slots",
    ),
    "a slot to nowhere": (
        f"delete element {T} slots_1024 {{ SLOT }}\nadd element {T} slots_1024 {{ SLOT : 5 }}",
        "1 slots lead to backends that are not there",
    ),
    "slots too many": (f"add element {T} slots_1024 {{ 1 : 0x80000001, 7 : MARK2 }}",),
    "a listener gone": (f"delete element {T} services4_1024 {{ 203.0.113.10 . tcp . 80 }}",),
    "a listener bent": (
        f"delete element {T} services4_1024 {{ 203.0.113.10 . tcp . 80 }}\n"
        f"add element {T} services4_1024 {{ 203.0.113.10 . tcp . 80 : goto refuse }}",
        "services4_1024 has 1 elements",
    ),
    "a listener that jumps": (
        f"add element {T} services4_1024 {{ 203.0.113.10 . tcp . 81 : jump farm-web-4, "
        "203.0.113.10 . tcp . 82 : drop }",
        "services4_1024 has 2 elements",
    ),
    "a listener of another protocol": (
        f"add element {T} services4_1024 {{ 203.0.113.10 . icmp . 0 : goto refuse }}",
        "services4_1024 has 1 elements",
    ),
    "a range bent": (
        f"delete element {T} ranges4 {{ 203.0.113.10 . tcp . 443-8443 }}\n"
        f"add element {T} ranges4 {{ 203.0.113.10 . tcp . 400-500 : goto farm-own-4, "
        "10.0.0.0/8 . tcp . 0-100 : goto refuse }",
        "ranges4 has 1 elements",
    ),
    "a backend without its name": (
        f"delete element {T} backends4_1024 {{ MARK2 }}\n"
        f"add element {T} backends4_1024 {{ MARK2 : 10.9.9.9 . 99 }}",
        "backends4_1024 has 1 elements",
    ),
    "own ports apart": (f"flush set {T} own4", "own4 and ports4 differ"),
    "a timeout on a sticky entry": (
        f"add element {T} {STICKY} {{ 1:1 . 10.0.0.1 timeout 1d : 0x5 }}",
    ),
    "everything": (f"flush table {T}\nflush map {T} slots_1024\nflush map {T} services4_1024",),
}


@in_namespace
@pytest.mark.parametrize("name", HAND)
def test_changed_by_hand(name: str) -> None:
    machine = Machine(farms_of(FARMS, Path.cwd()))
    text, *words = HAND[name]
    mark = machine.marks["web/app2"]
    slots = read().maps["slots_1024"].elements
    slot = sorted(key for key, data in slots.items() if data == mark)[1]
    nft(text.replace("SLOT", str(slot)).replace("MARK2", f"0x{mark:x}"))
    plan, drift = machine.mended()
    assert not plan.empty or name == "a timeout on a sticky entry"
    told = "\n".join(drift)
    for word in words:
        assert word in told, told


@in_namespace
def test_a_table_that_is_switched_off_wakes() -> None:
    damaged(f"add table {T} {{ flags dormant; }}", "switched off")


@in_namespace
def test_base_chains_of_another_kind() -> None:
    """Another priority, another hook, another type, a policy: the rest stays."""
    remove = f"flush chain {T} prerouting\ndelete chain {T} prerouting\n"
    for kind in (
        "type nat hook prerouting priority -90;",
        "type filter hook prerouting priority -100;",
        "type nat hook output priority -100;",
    ):
        kernel.remove()
        damaged(f"{remove}add chain {T} prerouting {{ {kind} }}", "prerouting: of another kind")
    kernel.remove()
    damaged(f"add chain {T} prerouting {{ policy drop; }}", "prerouting drops")
    kernel.remove()
    damaged(f"{remove}add chain {T} prerouting", "prerouting: of another kind")
    kernel.remove()
    damaged(
        f"flush table {T}\nflush map {T} services4_1024\nflush map {T} ranges4\n"
        f"delete chain {T} farm-web-4\n"
        f"add chain {T} farm-web-4 {{ type filter hook input priority 0; }}",
        "farm-web-4: of another kind",
    )


@in_namespace
def test_maps_of_another_kind_under_our_names() -> None:
    empty = f"flush table {T}\n"
    kinds = {
        "slots_1024": "map slots_1024 { type mark : mark; size 512; }",
        "services4_1024": "map services4_1024 { type ipv4_addr . inet_service : verdict; }",
        "ranges4": "set ranges4 { type ipv4_addr; }",
        "own4": "map own4 { type ipv4_addr : mark; flags dynamic, timeout; }",
        "hairpins4_1024": "set hairpins4_1024 { type ifname; }",
    }
    for name, declared in kinds.items():
        kernel.remove()
        what = "set" if name in ("own4", "hairpins4_1024") else "map"
        kind, rest = declared.split(" ", 1)
        name_, body = rest.split(" ", 1)
        damaged(
            f"{empty}delete {what} {T} {name}\nadd {kind} {T} {name_} {body}",
            f"{name}: of another kind",
        )
    # Of another size: what was counted goes along.
    kernel.remove()
    machine = Machine(farms_of(FARMS, Path.cwd()))
    mark = machine.marks["web/app1"]
    nft(
        f"{empty}delete map {T} backends4_1024\n"
        f"add map {T} backends4_1024 {{ type mark : ipv4_addr . inet_service; size 16; counter; }}\n"
        f"add element {T} backends4_1024 {{ 0x{mark:x} counter packets 7 bytes 420 "
        'comment "web/app1" : 10.0.0.11 . 8080 }'
    )
    machine.mended()


@in_namespace
def test_a_sticky_map_of_another_size_keeps_its_entries() -> None:
    machine = Machine(farms_of(FARMS, Path.cwd()))
    entries = read().maps[STICKY]
    (number, _), mark = next(iter(entries.elements.items()))
    nft(
        f"flush table {T}\ndelete map {T} {STICKY}\n"
        f"add map {T} {STICKY} {{ typeof meta priority . ip saddr : ct mark; "
        "flags dynamic,timeout; timeout 300s; size 128; }\n"
        f"add element {T} {STICKY} {{ {number >> 16:x}:{number & 0xFFFF:x} . 198.18.0.1 "
        f"expires 100s : 0x{mark:x} }}"
    )
    _, drift = machine.mended()
    assert f"{STICKY}: of another kind" in drift[0]


def older(text: str) -> str:
    """The script as a version without digests might have written it."""
    return re.sub(r' comment "[0-9a-f]{8}"$', "", text, flags=re.MULTILINE)


@in_namespace
def test_a_table_of_an_older_version() -> None:
    farms = farms_of(FARMS, Path.cwd())
    machine = Machine(farms, older(script.write(build(farms))))
    _, drift = machine.mended()
    assert drift == ["no rule has a digest: another version of nftlbc made them; all are replaced"]
    assert planning.plan(farms).empty


@in_namespace
def test_an_older_version_with_other_maps_and_chains() -> None:
    """Other sizes, maps that it had not, a chain that is no more."""
    farms = farms_of(FARMS, Path.cwd())
    text = older(script.write(build(farms)))
    for name in ("slots", "services4", "backends4"):
        text = text.replace(f"{name}_1024", f"{name}_4096")
    text = text.replace("size 1024", "size 4096")
    kernel.remove()
    kernel.load(text)
    nft(f"add chain {T} guard {{ type filter hook forward priority 0; }}")
    elsewhere = Elsewhere()
    mark = next(key for key in read().maps["backends4_4096"].elements if key > 1 << 31)
    nft(
        f"delete element {T} backends4_4096 {{ 0x{mark:x} }}\n"
        f"add element {T} backends4_4096 {{ 0x{mark:x} counter packets 9 bytes 540 "
        'comment "web/x" : 10.0.0.11 . 8080 }'
    )
    before = read().maps["backends4_4096"]
    applied(farms, elsewhere)
    after = read()
    assert "backends4_4096" not in after.maps
    assert "guard" not in after.chains
    assert before.counters[mark] == after.maps["backends4_1024"].counters[mark] == (9, 540)


@in_namespace
def test_half_as_old_as_another() -> None:
    """Some chains with digests, some without, some gone."""
    farms = farms_of(FARMS, Path.cwd())
    machine = Machine(farms)
    whole = older(script.write(build(farms)))
    chain = re.search(r"    chain learn4.*?\n    }\n", whole, re.DOTALL)
    assert chain is not None
    nft(f"flush chain {T} {chain[0].split()[1]}\ntable {T} {{\n{chain[0]}}}\n")
    _, drift = machine.mended()
    assert "not nftlbc's" in drift[0]


@in_namespace
def test_another_table_is_not_looked_at() -> None:
    farms = farms_of(FARMS, Path.cwd())
    other = "table ip nftlbc {\n map slots_1024 { type mark : mark; }\n chain prerouting {\n }\n}\n"
    nft(other)
    applied(farms, Elsewhere())
    assert set(content(read())) > {"chain prerouting"}
    nft("flush chain ip nftlbc prerouting")
    assert planning.plan(farms).empty


@in_namespace
def test_no_farms_and_farms_again() -> None:
    farms = farms_of(FARMS, Path.cwd())
    elsewhere = Elsewhere()
    for some in (farms, (), farms[:1], (), farms):
        applied(some, elsewhere)
    down = [
        replace(farm, backends=tuple(replace(each, state="down") for each in farm.backends))
        for farm in farms
    ]
    for some in (down, farms, down, ()):
        applied(some, elsewhere)


@in_namespace
def test_a_name_that_could_steer_a_terminal(tmp_path: Path) -> None:
    """It reaches none, and no command fails because of it; apply brings the right one back."""
    farms = farms_of(FARMS, tmp_path)
    file, odd = str(tmp_path / "farms.lb"), "ap\x1b]0;x\x07\x9b1"
    kernel.load(script.write(build(farms)))
    there = read().maps["backends4_1024"]
    mark = next(key for key, data in there.elements.items() if data.name == "web/app1")
    nft(
        f"delete element {T} backends4_1024 {{ {mark} }}\n"
        f'add element {T} backends4_1024 {{ {mark} comment "web/{odd}" : 10.0.0.11 . 8080 }}'
    )
    for words, said in (
        (("plan", file), "is renamed app1; nothing moves"),
        (("explain", "--live", "198.51.100.1", "203.0.113.10:80/tcp"), "10.0.0.11:8080"),
        (("status", "--metrics"), "ap--0-x--1"),
        (("drain", "web/ap*"), "10.0.0.11:8080) drains"),
        (("apply", file), "done"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "nftlbc", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout + done.stderr
        assert not {"\x1b", "\x07", "\x9b"} & {*done.stdout, *done.stderr}
    assert read().maps["backends4_1024"].elements[mark] == there.elements[mark]
