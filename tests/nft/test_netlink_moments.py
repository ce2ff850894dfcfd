"""What is read is all of one moment, and changes are told: while somebody changes the tables."""

from __future__ import annotations

import select
import socket
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from netlink_namespace import PIECE, fill, in_namespace, in_turn, kernel_table, load, ones

from nftlbc.nft import netlink
from nftlbc.nft.netlink import CATCH_ALL, Contents, connection, messages, parts, reading
from nftlbc.nft.netlink.connection import Connection, Disturbed
from nftlbc.nft.netlink.messages import attribute, attribute_list
from nftlbc.nft.program import NftError

FLIP = (
    "delete element inet nftlbc {a} {{ 0 : {old} }}; add element inet nftlbc {a} {{ 0 : {new} }}; "
    "delete element inet nftlbc {b} {{ 0 : {old} }}; add element inet nftlbc {b} {{ 0 : {new} }}; "
    "add chain inet nftlbc c; flush chain inet nftlbc c; add rule inet nftlbc c meta mark {new}"
)


THERE = FLIP.format(a="a", b="b", old=1, new=2)
BACK = FLIP.format(a="a", b="b", old=2, new=1)


def flipped(first: bytes, *sizes: int) -> int:
    """Which of the two states is read; fails where it is none.

    first: the digest of the rule that belongs to the first.
    """
    found = kernel_table()
    assert (len(found.maps["a"].elements), len(found.maps["b"].elements)) == sizes
    assert found.maps["a"].elements[0] == found.maps["b"].elements[0]
    [rule] = found.chains["c"].rules
    state = found.maps["a"].elements[0]
    assert (rule.digest == first) == (state == 1)
    return cast(int, state)


@in_namespace
def test_a_change_in_the_middle_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    load("table inet nftlbc { chain c { meta mark 1; }; }")
    fill("nftlbc a", 10)
    fill("nftlbc b", 10)
    first = kernel_table().chains["c"].rules[0].digest
    changes = [THERE, BACK, THERE]
    dumps = waits = 0

    def wait(kernel: Connection) -> None:
        nonlocal waits
        # Once in each attempt, before anything is read.
        assert dumps % 3 == 0
        waits += 1

    def one_after_the_other(requests: Sequence[reading.Request]) -> list[list[bytes]]:
        nonlocal dumps
        found = []
        for request in requests:
            found.append(reading._dump(request))
            dumps += 1
            if changes:
                load(changes.pop())
        return found

    monkeypatch.setattr(reading, "at_once", one_after_the_other)
    monkeypatch.setattr(Connection, "wait_for_transactions", wait)
    assert flipped(first, 10, 10) == 2
    assert not changes
    assert dumps == 6
    assert waits == 2


@in_namespace
def test_it_is_all_of_one_moment() -> None:
    load("table inet nftlbc { chain c { meta mark 1; }; }")
    fill("nftlbc a", 5_000)
    fill("nftlbc b", 30_000)
    first = kernel_table().chains["c"].rules[0].digest
    states = Counter[int]()
    with in_turn(THERE, BACK, 0.25):
        # The pause is long enough to read between two changes; on a machine that is too busy for
        # that, pytest's time limit ends it.
        while len(states) < 2 or states.total() < 15:
            with suppress(NftError):
                states[flipped(first, 5_000, 30_000)] += 1


@in_namespace
def test_the_end_of_a_transaction_is_waited_for(tmp_path: Path) -> None:
    """A map with intervals is empty while the kernel works on a large transaction that changes
    it, and the generation is the new one already."""
    ranges = (
        "map r {{ type ipv4_addr . inet_service : mark; flags interval; elements = {{ {} }}; }}"
    )
    element = "10.0.0.1 . 1-5 : {}"
    load("table inet other { }")
    fill("other a", PIECE)
    load("table inet nftlbc {\n" + ranges.format(element.format(1)) + "\n}\n")
    elements = ones(0, PIECE)
    changes = []
    for old, new in ((1, 2), (2, 1)):
        path = tmp_path / f"change{new}.nft"
        path.write_text(
            f"flush map inet other a\nadd element inet other a {{ {elements} }}\n"
            f"delete element inet nftlbc r {{ {element.format(old)} }}\n"
            f"add element inet nftlbc r {{ {element.format(new)} }}\n"
        )
        changes.append(f'include "{path}"')
    seen = Counter[int]()
    generations = set()
    with in_turn(*changes, 0), Connection() as kernel:
        while len(generations) < 40:
            before = kernel.generation()
            generations.add(before)
            kernel.wait_for_transactions()
            lists = kernel.dump(*reading.elements_of("r"))
            if kernel.generation() == before:
                seen[len(attribute_list(reading.list_of(lists[0])))] += 1
    assert set(seen) == {1}, seen


@in_namespace
def test_a_transaction_that_is_only_checked(tmp_path: Path) -> None:
    load("table inet nftlbc { }")
    fill("nftlbc a", 60_000)
    with Connection() as kernel:
        [payload] = kernel.dump(*reading.SETS)
    if parts.set_of(payload).elements is None:
        pytest.skip("this kernel does not tell how many elements a map has")
    elements = ones(60_000, 60_000 + PIECE)
    path = tmp_path / "check.nft"
    path.write_text(f"add element inet nftlbc a {{ {elements} }}\n")
    with subprocess.Popen(["sh", "-c", "while :; do nft -c -f $0; done", str(path)]) as checker:
        try:
            for _ in range(6):
                with suppress(NftError):
                    assert len(kernel_table().maps["a"].elements) == 60_000
        finally:
            checker.kill()


@in_namespace
def test_an_element_that_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    load("table inet nftlbc { }")
    fill("nftlbc a", 3)
    asked = 0

    def disturbed(request: reading.Request) -> list[bytes]:
        nonlocal asked
        asked += 1
        found = dump(request)
        if asked > 2:
            return found
        rows = attribute_list(reading.list_of(found[0]))
        # At first one of them once more, then one in another's place.
        rows = [*rows, rows[0]] if asked == 1 else [*rows[1:], rows[1]]
        return [attribute(3, b"".join(attribute(1, row) for _, row in rows))]

    dump = reading._dump
    monkeypatch.setattr(reading, "_dump", disturbed)
    table = netlink.read(program=False)
    assert table is not None
    assert len(table.maps["a"].elements) == 3
    assert asked == 3


def test_signs_of_an_element_that_was_passed_over() -> None:
    two = Contents({1: None, 2: None})
    rest = Contents({1: None, CATCH_ALL: None})
    for contents, found, count in ((two, 2, None), (two, 2, 2), (rest, 2, None), (rest, 2, 1)):
        reading._check(contents, found, count)
    for contents, found, count in ((two, 3, None), (two, 3, 3), (two, 2, 3), (two, 2, 1)):
        with pytest.raises(Disturbed):
            reading._check(contents, found, count)


@in_namespace
def test_it_gives_up_where_it_never_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    load("table inet nftlbc { chain c { }; }")

    def changing(requests: Sequence[reading.Request]) -> list[list[bytes]]:
        load("add rule inet nftlbc c accept")
        return at_once(requests)

    at_once = reading.at_once
    monkeypatch.setattr(reading, "at_once", changing)
    with pytest.raises(NftError, match="each of the 10 times") as refusal:
        netlink.read()
    assert refusal.value.remedy


@in_namespace
def test_changes_to_other_tables_do_not_matter() -> None:
    load("table inet nftlbc { chain c { accept; }; }")
    fill("nftlbc a", 30_000)
    load("table inet other { }")
    before = netlink.generation()
    with in_turn("add chain inet other c", "delete chain inet other c", 0):
        while netlink.generation() < before + 50:
            found = kernel_table()
            assert len(found.maps["a"].elements) == 30_000
            assert list(found.chains) == ["c"]


@in_namespace
def test_a_foreign_chain_goes_while_ours_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel goes on where it was by counting chains, and passes over one of ours."""
    load("table inet first { chain c { }; }")
    load("table inet nftlbc {\n" + "".join(f"chain c{n} {{ }}\n" for n in range(2_000)) + "}\n")
    there = True

    def receive(receiver: socket.socket) -> bytes:
        nonlocal there
        datagram = received(receiver)
        if there and next(messages.messages(datagram)).kind == messages.NEW_CHAIN:
            there = False
            load("delete chain inet first c")
        return datagram

    received = connection.receive
    monkeypatch.setattr(connection, "receive", receive)
    assert list(kernel_table().chains) == [f"c{n}" for n in range(2_000)]
    assert not there


@in_namespace
def test_events_of_our_table_alone() -> None:
    load("table inet nftlbc { map a { type mark : mark; }; chain c { }; }; table inet other { }")
    with netlink.Events() as events:
        assert not events.drain()
        load("add chain inet other c; add table ip nftlbc; add table inet nftlbc2")
        assert select.select([events], [], [], 5)[0]
        assert not events.drain()
        assert not select.select([events], [], [], 0)[0]
        for ours in (
            "add element inet nftlbc a { 1 : 2 }",
            "delete element inet nftlbc a { 1 : 2 }",
            "add rule inet nftlbc c accept",
            "flush chain inet nftlbc c",
            "add chain inet nftlbc d",
            "add counter inet nftlbc e",
            "flush table inet nftlbc",
            "flush ruleset",
            "add table inet nftlbc",
        ):
            if ours == "flush table inet nftlbc":
                load("add rule inet nftlbc c accept")
                assert events.drain()
            load(ours)
            assert select.select([events], [], [], 5)[0], ours
            assert events.drain(), ours
            assert not events.drain()


@in_namespace
def test_events_that_nobody_wants() -> None:
    load("table inet nftlbc { chain c { }; }")
    with netlink.Events() as events:
        with events.deaf():
            load("add rule inet nftlbc c accept")
        assert not select.select([events], [], [], 0.1)[0]
        assert not events.drain()
        load("add rule inet nftlbc c accept")
        assert select.select([events], [], [], 5)[0]
        assert events.drain()


@in_namespace
def test_events_that_were_lost() -> None:
    load("table inet other { map a { type mark : mark; }; }")
    with netlink.Events() as events:
        for _ in range(40):
            load(f"add element inet other a {{ {ones(0, PIECE)} }}\nflush map inet other a\n")
        assert events.drain()
        assert not events.drain()
        load("add table inet nftlbc")
        assert events.drain()


@in_namespace
def test_events_up_to_a_generation() -> None:
    load("table inet nftlbc { }")
    with netlink.Events() as events:
        load("add table inet other")
        assert not events.drain_until(netlink.generation())
        load("add chain inet nftlbc c")
        assert events.drain_until(netlink.generation())
        assert events.drain_until(netlink.generation() + 1, patience=0.01)
