"""Flows listed and taken off the kernel's list, and the packet that wakes a client."""

from __future__ import annotations

import socket
import struct

import pytest
from netlink_namespace import in_namespace
from test_conntrack import ESTABLISHED, OURS, SYN_SENT, entry, message

from nftlbc.nft import conntrack, flows, waking
from nftlbc.nft.flows import TCP, UDP, Flow
from nftlbc.nft.netlink.connection import open_socket
from nftlbc.plan import settling

CREATE = 0x1 | 0x4 | 0x200 | 0x400


def made(
    number: int, mark: int, protocol: int, *, six: bool = False, state: int = ESTABLISHED
) -> None:
    with open_socket() as kernel:
        body = entry(number, mark, protocol, state, six=six)
        family = socket.AF_INET6 if six else socket.AF_INET
        kernel.send(message(body, flags=CREATE, family=family))
        assert struct.unpack_from("=i", kernel.recv(4096), 16) == (0,)


@in_namespace
def test_listed_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    # More than one datagram of requests; marks with and without the bit of a replaced source.
    for number in range(150):
        made(number, OURS + 5 + 0x4000_0000 * (number % 2), UDP, six=number % 3 == 0)
    made(1000, OURS + 5, TCP)
    made(1001, OURS + 6, UDP)
    made(1002, 5, UDP)
    found = flows.of({OURS + 5})
    assert len(found) == 151
    assert {each.mark for each in found} == {OURS + 5}
    assert len(flows.of({OURS + 5, OURS + 6})) == 152
    # Of a few backends among very many connections each is asked for by itself.
    with monkeypatch.context() as many:
        many.setattr(conntrack, "_WALK", 0)
        assert set(flows.of({OURS + 5, OURS + 6})) == set(flows.of({OURS + 5})) | set(
            flows.of({OURS + 6})
        )
    assert flows.of(()) == []
    (tcp,) = (each for each in found if each.protocol == TCP)
    assert (tcp.state, tcp.client_port, tcp.listener_port) == (3, 41000, 80)
    assert socket.inet_ntop(socket.AF_INET, tcp.client) == "10.0.3.232"
    assert socket.inet_ntop(socket.AF_INET, tcp.listener) == "203.0.113.1"
    udp = [each for each in found if each.protocol == UDP]
    assert {each.family for each in udp} == {4, 6}
    # One has ended since, and a younger one is between the same ends: that one stays.
    assert flows.forget(udp[:1]) == 1
    number = struct.unpack("!I", udp[0].client[-4:])[0] & 0xFFFF
    made(number, OURS + 5, UDP, six=udp[0].family == 6)
    assert flows.forget(udp) == 149
    left = conntrack.count()
    assert (left.tcp, left.flows) == ({OURS + 5: 1}, {OURS + 5: 1, OURS + 6: 1})
    assert conntrack.count([OURS + 6]).flows[OURS + 6] == 1


@in_namespace
def test_who_was_not_answered_is_balanced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    failed, left, cut, well = OURS + 5, OURS + 6, OURS + 7, OURS + 8
    for n, mark in enumerate((failed, left, cut, well)):
        made(10 * n, mark, TCP, state=SYN_SENT)
        made(10 * n + 1, mark, TCP, state=SYN_SENT, six=True)
        made(10 * n + 2, mark, TCP)
    pauses = []

    def pause(seconds: float) -> None:
        """While one waits, a client that was not there before comes."""
        pauses.append(seconds)
        made(99, left, TCP, state=SYN_SENT)

    monkeypatch.setattr(settling.time, "sleep", pause)
    monkeypatch.setattr(settling, "_woken", lambda ending, _: len(ending))
    settled = settling.settled({failed, left, cut}, {cut}, {failed})
    assert (settled.retried, settled.moved, settled.cut, settled.waiting) == (6, 0, 1, 1)
    told = "6 clients without an answer: balanced anew at the next try"
    assert next(settled.lines()) == told
    assert len(pauses) == 1
    assert conntrack.count().tcp == {failed: 1, left: 2, cut: 1, well: 3}
    # Of those that fail their checks nothing is waited for.
    made(10, failed, TCP, state=SYN_SENT)
    assert settling.settled({failed}, (), {failed}).retried == 1
    assert len(pauses) == 1


@pytest.mark.parametrize("family", [4, 6])
def test_the_packet_is_one(family: int) -> None:
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    client = socket.inet_pton(kind, "198.18.0.7" if family == 4 else "2001:db8::7")
    listener = socket.inet_pton(kind, "203.0.113.10" if family == 4 else "2001:db8::10")
    flow = Flow(OURS + 5, TCP, 3, family, client, 40000, listener, 80, b"")  # type: ignore[arg-type]
    packets = {waking.packet(flow) for _ in range(5)}
    assert len(packets) == 5  # its numbers are nobody's
    for packet in packets:
        head = 20 if family == 4 else 40
        ends = packet[12:20] if family == 4 else packet[8:40]
        assert ends == listener + client
        segment = packet[head:]
        assert struct.unpack_from("!HH", segment) == (80, 40000)
        assert segment[13] == 0x12
        total = sum(struct.unpack("!10H", segment)) + 6 + len(segment)
        total += sum(struct.unpack(f"!{len(ends) // 2}H", ends))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert total == 0xFFFF
