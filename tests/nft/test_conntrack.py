"""Open connections counted by backend: from the kernel's list, and from datagrams made by hand."""

from __future__ import annotations

import functools
import socket
import struct
from collections import Counter

import pytest
from netlink_namespace import in_namespace

from nftlbc.nft import conntrack
from nftlbc.nft.netlink.connection import open_socket
from nftlbc.nft.netlink.messages import attribute
from nftlbc.nft.program import NftError

OURS = 0x8000_0000
_NESTED = 0x8000
_NEW = 1 << 8
SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, TIME_WAIT, CLOSE = 1, 2, 3, 4, 7, 8


def nest(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))


def flow(number: int, protocol: int, *, six: bool = False, reply: bool = False) -> bytes:
    ports = [40000 + number % 20000, 80]
    client = (0x0A00_0000 + number).to_bytes(16 if six else 4, "big")
    server = (0xCB00_7101).to_bytes(16 if six else 4, "big")
    ends = [(client, ports[0]), (server, ports[1])]
    (source, sport), (target, dport) = ends[::-1] if reply else ends
    addresses = nest(1, attribute(3 if six else 1, source), attribute(4 if six else 2, target))
    proto = nest(
        2,
        attribute(1, bytes([protocol])),
        attribute(2, struct.pack("!H", sport)),
        attribute(3, struct.pack("!H", dport)),
    )
    return nest(2 if reply else 1, addresses, proto)


def entry(
    number: int,
    mark: int,
    protocol: int = 6,
    state: int = ESTABLISHED,
    *,
    six: bool = False,
    extra: bytes = b"",
) -> bytes:
    """What makes one, and what a dump has."""
    parts = [flow(number, protocol, six=six), flow(number, protocol, six=six, reply=True)]
    parts += [extra, attribute(3, struct.pack("!I", 0xE)), attribute(7, struct.pack("!I", 300))]
    if protocol == 6:
        parts.append(nest(4, nest(1, attribute(1, bytes([state])))))
    parts.append(attribute(8, struct.pack("!I", mark)))
    return b"".join(parts)


def message(body: bytes, kind: int = _NEW, flags: int = 0, family: int = 2) -> bytes:
    payload = struct.pack("!BBH", family, 0, 0) + body
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, 1, 0) + payload


def done(code: int = 0) -> bytes:
    return struct.pack("=IHHIIi", 20, 3, 2, 1, 0, code)


def taken(datagram: bytes) -> tuple[Counter[tuple[int, int, int]], bool]:
    tally = conntrack._Tally(Counter)
    ended = conntrack._read(datagram, functools.partial(conntrack._count, tally))
    return conntrack._rows(tally), ended


def test_entries_of_all_kinds_in_one_datagram() -> None:
    entries = [
        message(entry(n, OURS + n % 3, protocol, state, six=six, extra=extra))
        for n, (protocol, state, six, extra) in enumerate(
            [
                (6, ESTABLISHED, False, b""),
                (6, TIME_WAIT, False, b""),
                (17, 0, False, b""),
                (6, SYN_SENT, True, b""),
                (132, 0, True, b""),
                # Of the length of another kind, and laid out otherwise.
                (6, ESTABLISHED, False, attribute(20, b"1234")),
                (17, 0, False, attribute(20, bytes(12))),
            ]
            * 3
        )
    ]
    rows, ended = taken(b"".join(entries))
    assert not ended
    assert rows.total() == 21
    by_kind: Counter[tuple[int, int]] = Counter()
    for (_, protocol, state), number in rows.items():
        by_kind[protocol, state] += number
    assert by_kind == {
        (6, ESTABLISHED): 6,
        (6, TIME_WAIT): 3,
        (17, 0): 6,
        (6, SYN_SENT): 3,
        (132, 0): 3,
    }


def test_entries_of_one_length_that_differ() -> None:
    """Attributes change places; what is read must be the mark and not what stands there."""
    before = entry(1, OURS + 1, extra=attribute(20, struct.pack("!I", OURS + 9)))
    after = entry(2, OURS + 2) + attribute(20, struct.pack("!I", OURS + 9))
    assert len(before) == len(after)
    rows, _ = taken(message(before) * 2 + message(after) * 3)
    assert rows == {(OURS + 1, 6, 3): 2, (OURS + 2, 6, 3): 3}


def test_the_end() -> None:
    assert taken(done()) == (Counter(), True)
    rows, ended = taken(message(entry(1, OURS)) + done())
    assert (rows.total(), ended) == (1, True)
    with pytest.raises(NftError):
        taken(done(-22))


@in_namespace
def test_the_kernels_list(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {
        (6, SYN_SENT): 5,
        (6, SYN_RECV): 7,
        (6, ESTABLISHED): 11,
        (6, FIN_WAIT): 13,
        (6, TIME_WAIT): 17,
        (6, CLOSE): 3,
        (17, 0): 19,
    }
    number = 0
    with open_socket() as kernel:
        for six in (False, True):
            for (protocol, state), count in kinds.items():
                for mark in (OURS + 5, OURS + 0x4000_0006, 7):
                    for _ in range(count):
                        number += 1
                        body = entry(number, mark, protocol, state, six=six)
                        family = socket.AF_INET6 if six else socket.AF_INET
                        # Make it, only if it is new, and say whether that went well.
                        kernel.send(message(body, flags=0x1 | 0x4 | 0x200 | 0x400, family=family))
                        (code,) = struct.unpack_from("=i", kernel.recv(4096), 16)
                        assert code == 0
    found = conntrack.count()
    assert found.tcp == {OURS + 5: 46, OURS + 6: 46}
    assert found.flows == {OURS + 5: 38, OURS + 6: 38}
    assert found.of([OURS + 5, OURS + 6, OURS + 1]) == (92, 76)
    # Of a few backends among very many connections each is asked for by itself.
    assert conntrack.count([OURS + 6, OURS + 9]).tcp[OURS + 6] == 46
    monkeypatch.setattr(conntrack, "_WALK", 0)
    assert conntrack._listed() == number
    found = conntrack.count([OURS + 6, OURS + 9])
    assert (found.tcp, found.flows) == ({OURS + 6: 46}, {OURS + 6: 38})


@in_namespace
def test_nothing_to_count() -> None:
    found = conntrack.count()
    assert (found.tcp, found.flows) == ({}, {})
