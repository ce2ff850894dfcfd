"""sessions: what is shown, what is meant, and what is deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from namespaces import in_namespace, nft, read
from running import command, written

from nftlbc.nft import kernel, lock, words
from nftlbc.nft.program import NftError
from nftlbc.plan.in_use import destinations, farm_numbers
from nftlbc.sessions import Choice, Sessions, deleting, telling
from nftlbc.sessions import read as read_sessions
from nftlbc.sessions.choice import client
from nftlbc.table.model import OURS

FARMS = """
farm web {
    listen 203.0.113.10 tcp port 80
    listen 2001:db8::10 tcp port 80
    persist source-ip/24/56 for 10m
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080 state down
    backend app6 2001:db8:1::1 port 8080
}
farm api {
    listen 203.0.113.11 tcp port 80
    persist source-ip for 5m
    backend app1 10.0.0.21 port 8080
    backend app2 10.0.0.22 port 8080
}
farm other {
    listen 203.0.113.13 tcp port 80
    persist source-ip for 5m
    backend app1 10.0.0.41 port 8080
}
farm pairs {
    listen 203.0.113.12 tcp port 80
    persist source-ip, source-port, destination-port for 36h size 100
    backend app1 10.0.0.31 port 8080
}
farm long {
    listen 2001:db8::12 tcp port 80
    persist source-ip, destination-ip for 1h
    backend app6 2001:db8:1::3 port 8080
}
"""


def sticky(start: str) -> str:
    (found,) = [name for name in read().maps if name.startswith(start)]
    return found


class Table:
    """The running one: the numbers that its entries are made of."""

    def __init__(self, folder: Path, text: str = FARMS) -> None:
        done = command("apply", written(folder, text))
        assert done.returncode == 0, done.stderr
        table = read()
        self.farms = {name: words.priority(each) for name, each in farm_numbers(table).items()}
        self.marks = {
            data.name: words.mark(mark | OURS) for _, mark, data in destinations(table, "backends")
        }

    def add(self, map: str, key: str, backend: str, left: str) -> None:
        mark = self.marks.get(backend, backend)
        nft(f"add element inet nftlbc {sticky(map)} {{ {key} expires {left} : {mark} }}\n")

    def fill(self) -> None:
        api, web, pairs = self.farms["api"], self.farms["web"], self.farms["pairs"]
        self.add("sticky4_source-ip_300s", f"{api} . 198.51.100.9", "api/app1", "252500ms")
        self.add("sticky4_source-ip_300s", f"{api} . 198.51.100.10", "api/app2", "59500ms")
        self.add("sticky4_source-ip_300s", f"{api} . 9.0.0.1", "web/app1", "300s")
        self.add("sticky4_source-ip_300s", "0:77 . 10.1.1.1", "0x80000001", "300s")
        self.add("sticky4_source-ip_600s", f"{web} . 198.51.100.0", "web/app1", "600s")
        self.add("sticky4_source-ip_600s", f"{web} . 198.51.101.0", "web/app2", "600s")
        self.add("sticky4_source-ip_600s", f"{web} . 198.51.102.0", "0x80000123", "600s")
        self.add("sticky6_source-ip_600s", "2001:db8:5::", "web/app6", "600s")
        key = f"{pairs} . 80 . 40000 . 198.51.100.9"
        self.add("sticky4_source-ip.source-port", key, "pairs/app1", "90000500ms")
        self.add("sticky6_source-ip.destination-ip", "0:2a", "long/app6", "3600s")


def table_of(found: Sessions) -> list[list[str]]:
    lines = list(telling.lines(found))
    assert all(len(line) <= 80 for line in lines)
    assert len({len(line) for line in lines}) < 2, "the columns are aligned"
    return [[part.strip() for part in line.split("  ") if part] for line in lines[1:]]


def rows() -> list[list[str]]:
    return table_of(read_sessions(Choice()))


def of_json(farm: str | None = None, **more: Any) -> list[dict[str, Any]]:
    if "client" in more:
        more["client"] = client(more["client"])
    document = telling.as_json(read_sessions(Choice(farm, **more)))
    return json.loads(json.dumps(document))["sessions"]  # type: ignore[no-any-return]


@in_namespace
def test_all_kinds_of_entries_are_shown(tmp_path: Path) -> None:
    none = command("sessions")
    assert (none.returncode, none.stdout) == (3, "")
    assert "there is no table inet nftlbc" in none.stderr
    table = Table(tmp_path)
    empty = command("sessions")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "no sticky entry\n")
    table.fill()
    # By farm and client; times are those of some seconds ago.
    found = rows()
    assert [row[:3] for row in found] == [
        ["api", "9.0.0.1", "(of web: app1)"],
        ["api", "198.51.100.9", "app1"],
        ["api", "198.51.100.10", "app2"],
        ["long", "hashed 0x0000002a", "app6"],
        ["pairs", "198.51.100.9:40000 -> :80", "app1"],
        ["web", "198.51.100.0/24", "app1"],
        ["web", "198.51.101.0/24", "app2 (down)"],
        ["web", "198.51.102.0/24", "(0x80000123)"],
        ["web", "2001:db8:5::/56", "app6"],
        ["(0x00000077)", "10.1.1.1", "(0x80000001)"],
    ]
    left = {row[1]: row[3] for row in found}
    assert left["198.51.100.9:40000 -> :80"] in ("1d 1h", "1d 0h")
    assert left["198.51.100.9"].startswith(("4m ", "3m "))
    states = [(each["farm"], each["backend"], each["state"]) for each in of_json()]
    assert states == [
        ("api", None, "backend-unknown"),
        ("api", "app1", "known"),
        ("api", "app2", "known"),
        ("long", "app6", "known"),
        ("pairs", "app1", "known"),
        ("web", "app1", "known"),
        ("web", "app2", "backend-down"),
        ("web", None, "backend-unknown"),
        ("web", "app6", "known"),
        (None, None, "farm-gone"),
    ]
    assert of_json("long")[0]["client"] == {"hash": 42}
    # The farm knows its clients otherwise from now on, and others still have that map.
    changed = FARMS.replace("persist source-ip for 5m", "persist destination-port for 5m", 1)
    assert command("apply", written(tmp_path, changed)).returncode == 0
    nft("add map inet nftlbc sticky4_source-ip_7s { type ipv4_addr : mark; }\n")
    nft("add element inet nftlbc sticky4_source-ip_7s { 10.1.2.3 : 0x80000001 }\n")
    nft("add map inet nftlbc sticky4_odd { type ipv4_addr : ipv4_addr; }\n")
    assert ["(?)", "damaged: 10.1.2.3", "(0x80000001)", "stays"] in rows()
    assert ("198.51.100.9", "app1 (left over)") in [(row[1], row[2]) for row in rows()]
    assert "left-over" in [each["state"] for each in of_json("api")]
    shown = command("sessions")
    assert "map sticky4_odd is not as nftlbc makes it" in shown.stderr
    assert [line.split()[:2] for line in shown.stdout.splitlines()[:2]] == [
        ["farm", "client"],
        ["api", "9.0.0.1"],
    ]


@in_namespace
def test_entries_are_chosen(tmp_path: Path) -> None:
    Table(tmp_path).fill()

    def clients(*farm: str, **more: str) -> list[tuple[str | None, str]]:
        return [
            (each["farm"], next(iter(each["client"].values()))) for each in of_json(*farm, **more)
        ]

    assert clients("api") == [
        ("api", "9.0.0.1"),
        ("api", "198.51.100.9"),
        ("api", "198.51.100.10"),
    ]
    # A client is found in its network too.
    mine = [("api", "198.51.100.9"), ("pairs", "198.51.100.9"), ("web", "198.51.100.0/24")]
    assert clients(client="198.51.100.9") == mine
    assert clients(client="198.51.100.8/30") == [mine[0], ("api", "198.51.100.10"), *mine[1:]]
    assert [each for each, _ in clients(client="198.51.100.0/22")] == [
        *["api"] * 2,
        "pairs",
        *["web"] * 3,
    ]
    assert clients(client="2001:db8:5:ff::1") == [("web", "2001:db8:5::/56")]
    assert clients(client="2001:db8:5:100::1") == []
    assert clients(backend="app2") == [("api", "198.51.100.10"), ("web", "198.51.101.0/24")]
    assert clients(backend="web/app2") == [("web", "198.51.101.0/24")]
    assert clients("web", backend="app6") == [("web", "2001:db8:5::/56")]
    both = command("sessions", "--json", "--client", "198.51.100.9", "--backend", "api/app1")
    (one,) = json.loads(both.stdout)["sessions"]
    assert (one["farm"], one["client"]) == ("api", {"source-ip": "198.51.100.9"})
    assert "1 sticky entry may be the client's too" in command("sessions", "--client", "::1").stderr
    assert command("sessions", "--count").stdout == "10\n"
    assert command("sessions", "api", "--count", "--json").stdout == '{\n  "count": 3\n}\n'
    for arguments, said in (
        (("wob",), "did you mean 'web'?"),
        (("--backend", "web/app3"), "did you mean 'web/app"),
        (("api", "--backend", "app6"), "no backend app6 of farm api"),
        (("--client", "198.51.100"), "is neither an address nor a prefix"),
    ):
        refused = command("sessions", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr


@in_namespace
def test_deleting_takes_what_was_chosen_and_nothing_else(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.fill()
    pairs, mark = table.farms["pairs"], table.marks["pairs/app1"]
    before = of_json()
    for arguments in (("--delete",), ("api", "--delete", "--all")):
        refused = command("sessions", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
    assert "--all" in command("sessions", "--delete").stderr
    assert len(of_json()) == len(before)

    def gone(*arguments: str) -> list[tuple[object, ...]]:
        known = [(each["farm"], each["mark"], *each["client"].values()) for each in of_json()]
        done = command("sessions", "--delete", *arguments)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        still = [(each["farm"], each["mark"], *each["client"].values()) for each in of_json()]
        assert [each for each in known if each in still] == still
        lost = [each for each in known if each not in still]
        assert f"{len(lost)} sticky entr" in done.stderr
        return lost

    assert [each[0] for each in gone("--client", "198.51.100.9")] == ["api", "pairs", "web"]
    assert [each[0] for each in gone("long")] == ["long"]
    assert [each[2] for each in gone("--backend", "app6")] == ["2001:db8:5::/56"]
    assert gone("web", "--client", "192.0.2.1") == []
    with lock.held():
        busy = command("sessions", "--delete", "--all", "--no-wait")
    assert busy.returncode == 3
    assert "another nftlbc is changing the table" in busy.stderr
    assert len(gone("--all")) == 5
    # A map that is full takes no other entry, and gives up its own.
    every = ", ".join(f"{pairs} . 80 . 40000 . 10.1.0.{n} : {mark}" for n in range(100))
    nft(f"add element inet nftlbc {sticky('sticky4_source-ip.source-port')} {{ {every} }}\n")
    assert len(gone("pairs")) == 100
    # What rules are there is not touched.
    assert command("plan", written(tmp_path, FARMS), "--exit-code").returncode == 0


@in_namespace
def test_an_entry_that_ends_or_moves_meanwhile_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(tmp_path)
    table.fill()
    load = kernel.load
    meanwhile: list[str] = []

    def late(script: str, nft_: str | None = None) -> None:
        if meanwhile:
            nft(meanwhile.pop(0))
        load(script, nft_)

    monkeypatch.setattr(kernel, "load", late)
    shared, api = sticky("sticky4_source-ip_300s"), table.farms["api"]
    where = f"element inet nftlbc {shared}"
    # One ends, another comes.
    come = f"{api} . 198.51.100.77"
    meanwhile.append(
        f"delete {where} {{ {api} . 198.51.100.9 }}\n"
        f"add {where} {{ {come} : {table.marks['api/app1']} }}\n"
    )
    deleted = deleting.delete(Choice(farm="api", backend="app1"))
    assert [key[1] for group in deleted.groups for key in group.keys] == ["198.51.100.9"]  # type: ignore[index]
    assert [each["client"]["source-ip"] for each in of_json("api")] == [
        "9.0.0.1",
        "198.51.100.10",
        "198.51.100.77",
    ]
    # One is given another backend: it is not among those of the old one any more.
    meanwhile.append(
        f"delete {where} {{ {come} }}\nadd {where} {{ {come} : {table.marks['api/app2']} }}\n"
    )
    assert len(deleting.delete(Choice(farm="api", backend="app1"))) == 0
    assert len(of_json("api", backend="app2")) == 2
    # Whatever refuses it each time is told.
    monkeypatch.setattr(kernel, "load", lambda _: (_ for _ in ()).throw(NftError("no")))
    with pytest.raises(NftError):
        deleting.delete(Choice(farm="api"))


@in_namespace
def test_many_that_end_while_they_are_deleted(tmp_path: Path) -> None:
    """Some hundreds a second: the transaction holds, and no entry is left behind."""
    table = Table(tmp_path)
    shared, api = sticky("sticky4_source-ip_300s"), table.farms["api"]
    mark, many = table.marks["api/app1"], 30_000
    elements = ",\n".join(
        f"{api} . 10.{n >> 16}.{n >> 8 & 255}.{n & 255} "
        f"expires {2000 + n % 20_000 if n % 3 else 280_000}ms : {mark}"
        for n in range(many)
    )
    nft(f"add element inet nftlbc {shared} {{\n{elements}\n}}\n")
    found = read_sessions(Choice(farm="api"))
    (group,) = found.groups
    assert len(found) > many // 3
    assert group.keys == sorted(group.keys, key=lambda key: [int(n) for n in key[1].split(".")])  # type: ignore[index,union-attr]
    one = deleting.delete(Choice(client=client("10.0.0.0/25")))
    assert len(one) >= 42
    assert len(read_sessions(Choice(client=client("10.0.0.0/25")))) == 0
    deleting.delete(Choice())
    left = read_sessions(Choice())
    assert len(left) == 0


@in_namespace
def test_long_names_fit_80_columns(tmp_path: Path) -> None:
    farm, backend = "f" * 32, "b" * 32
    text = f"""
    farm {farm} {{
        listen 203.0.113.10 tcp port 80
        listen 203.0.113.10 tcp port 443
        persist source-ip, source-port, destination-ip, destination-port
        backend {backend} 10.0.0.11
    }}
    """
    Table(tmp_path, text)
    (name,) = [each for each in read().maps if each.startswith("sticky4")]
    nft(
        f"add element inet nftlbc {name} "
        "{ 443 . 40000 . 203.0.113.210 . 198.51.100.200 : 0x80000001 }\n"
    )
    (row,) = rows()
    assert row[0].endswith("~")
    assert row[1].strip() == "198.51.100.200:40000 -> 203.0.113.210:443"
    assert of_json()[0]["farm"] == farm
