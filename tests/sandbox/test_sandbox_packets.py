"""What goes over the wire: identity lines, SCTP packets, source ports."""

import struct

import pytest

from nftlbc.sandbox.flight import SourcePorts
from nftlbc.sandbox.identity import identity_line, read_identity
from nftlbc.sandbox.packet_info import answer_from, arrived_at
from nftlbc.sandbox.request import Request
from nftlbc.sandbox.sctp import (
    answer_init,
    checksum_is_right,
    crc32c,
    init,
    is_init_of,
    read_reply,
)


def test_crc32c():
    # The check value of the catalogue of CRCs, and RFC 3720, B.4.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_an_init_is_laid_out_as_in_rfc_9260():
    packet = init(1024, 80, 0xDEADBEEF)
    assert struct.unpack("!HHI", packet[:8]) == (1024, 80, 0)
    # INIT, no flags, 20 bytes; tag; window; one stream each way; initial TSN.
    assert struct.unpack("!BBHIIHHI", packet[12:]) == (
        1,
        0,
        20,
        0xDEADBEEF,
        65535,
        1,
        1,
        0xDEADBEEF,
    )
    assert checksum_is_right(packet)
    assert is_init_of(packet[:24], 0xDEADBEEF)
    assert not is_init_of(packet[:24], 0xDEADBEE0)
    assert not is_init_of(packet[:8], 0xDEADBEEF)


def test_an_init_is_answered_by_an_ack_that_tells_who():
    packet = init(1024, 80, 7)
    answer = answer_init(packet, "10.2.0.1", "198.18.0.1", frozenset({80}))
    reply = read_reply(answer, 1024, 80, 7)
    assert read_identity(reply.line) == ("10.2.0.1", 80, "198.18.0.1", 1024, b"")
    # Not for another port or tag, nor with a byte changed.
    assert read_reply(answer, 1025, 80, 7) is None
    assert read_reply(answer, 1024, 80, 8) is None
    assert read_reply(answer[:-1] + b"!", 1024, 80, 7) is None
    assert read_reply(answer[:9], 1024, 80, 7) is None


def test_an_unserved_port_aborts_and_a_wrong_checksum_is_not_answered():
    packet = init(1024, 80, 7)
    abort = answer_init(packet, "10.2.0.1", "198.18.0.1", frozenset({81}))
    assert read_reply(abort, 1024, 80, 7).line is None
    # As if translated without the checksum being put right.
    translated = packet[:2] + struct.pack("!H", 8080) + packet[4:]
    assert answer_init(translated, "10.2.0.1", "198.18.0.1", frozenset({8080})) is None
    assert answer_init(abort, "10.2.0.1", "198.18.0.1", frozenset({1024})) is None
    assert answer_init(b"", "10.2.0.1", "198.18.0.1", frozenset({80})) is None


def test_identity_lines():
    line = identity_line(("2001:db8::1", 80, 0, 0), ("2001:db8::2", 1024, 0, 0), b"hello you")
    assert line == b"2001:db8::1 80 2001:db8::2 1024 hello you\n"
    assert read_identity(line) == ("2001:db8::1", 80, "2001:db8::2", 1024, b"hello you")
    for other in (b"", b"HTTP/1.1 200 OK\n", b"10.0.0.1 eighty 10.0.0.2 1\n"):
        with pytest.raises(ValueError, match=r"."):
            read_identity(other)


@pytest.mark.parametrize("address", ["10.2.0.1", "2001:db8::1"])
def test_packet_information_goes_both_ways(address):
    [(level, kind, data)] = answer_from(address)
    if "." in address:
        # What the kernel tells has the address in both places.
        data = data[:8] + data[4:8]
    assert arrived_at([(level, kind, data)]) == address
    with pytest.raises(OSError, match="without packet information"):
        arrived_at([])


def test_no_source_port_twice_before_all_are_used():
    ports = SourcePorts()
    request = Request("clients", "198.18.0.1", "10.3.0.1", 80)
    first = [ports.next(request) for _ in range(64_512)]
    assert sorted(first) == list(range(1024, 65536))
    assert ports.next(request) == first[0]
    # Each protocol and each address has its own.
    assert ports.next(Request("clients", "198.18.0.1", "10.3.0.1", 80, "udp")) == first[0]
    assert ports.next(Request("clients", "198.18.0.2", "10.3.0.1", 80)) == first[0]
    assert SourcePorts(100).next(request) == first[100]
