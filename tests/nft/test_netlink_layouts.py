"""Reading elements however a kernel lays them out, and declarations that old ones shorten."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from nftlbc.nft.netlink import datatypes, messages, parts
from nftlbc.nft.netlink.elements import Shape, read_elements
from nftlbc.nft.netlink.messages import attribute
from nftlbc.table.model import Destination


@given(st.binary(min_size=16, max_size=16))
def test_addresses_are_as_the_farms_have_them(address: bytes) -> None:
    for raw in (
        address,
        bytes(10) + address[10:],
        bytes(12) + address[12:],
        address[:2] + bytes(14),
    ):
        [[text]] = datatypes.columns(datatypes.known(8, 16) or (), raw, (0, 16), 16)
        assert text == str(IPv6Address(raw))


class Given:
    """An element as the kernel may lay it out, and what it says."""

    def __init__(self, draw: st.DrawFn, key: int) -> None:
        self.key = key
        self.port = draw(st.integers(0, 65535))
        self.comment = draw(
            st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
        )
        self.counter = draw(st.none() | st.tuples(*[st.integers(0, 2**64 - 1)] * 2))
        self.timeout = draw(st.none() | st.tuples(*[st.integers(0, 2**64 - 1)] * 2))
        own_timeout = draw(st.booleans())
        pad = attribute(8, b"") if draw(st.booleans()) else b""
        several = draw(st.booleans())
        value = socket.inet_aton("10.0.0.1") + struct.pack("!Hxx", self.port)
        rows = [
            attribute(1, attribute(1, struct.pack("=I", key))),
            attribute(2, attribute(1, value)),
        ]
        if self.counter:
            packets, size = self.counter
            inner = attribute(3, b"") * draw(st.integers(0, 1))
            inner += attribute(1, struct.pack("!Q", size)) + attribute(
                2, struct.pack("!Q", packets)
            )
            expression = attribute(1, b"counter\0") + attribute(2, inner)
            other = attribute(1, b"limit\0") + attribute(2, attribute(1, b"12345678"))
            if several:
                rows.append(attribute(11, attribute(1, expression) + attribute(1, other)))
            else:
                rows.append(attribute(7, expression))
        if self.timeout:
            if own_timeout:
                rows += [pad, attribute(4, struct.pack("!Q", self.timeout[0]))]
            else:
                self.timeout = (77, self.timeout[1])
            rows.append(attribute(5, struct.pack("!Q", self.timeout[1])))
        user = b"\1\4\0\0\0\0" if draw(st.booleans()) else b""
        if self.comment is not None:
            text = self.comment.encode() + b"\0"
            after = draw(st.booleans())
            record = bytes([0, len(text)]) + text
            user = user + record if after else record + user
        if user:
            rows.append(attribute(6, user))
        if draw(st.booleans()):
            rows.append(attribute(99, b"newer than this"))
        self.raw = attribute(1, b"".join(rows))


@st.composite
def dumps(draw: st.DrawFn) -> tuple[list[Given], list[bytes]]:
    keys = draw(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=12))
    elements = [Given(draw, key) for key in keys]
    lists, left = [], [each.raw for each in elements]
    while left:
        count = draw(st.integers(1, len(left)))
        lists.append(b"".join(left[:count]))
        left = left[count:]
    return elements, lists


@given(dumps())
def test_elements_of_every_layout(dump: tuple[list[Given], list[bytes]]) -> None:
    elements, lists = dump
    mark, target = datatypes.known(19, 4), datatypes.known(7 << 6 | 13, 8)
    assert mark and target
    found, count = read_elements(Shape(mark, target, False, 77), lists)
    assert count == len(elements)
    assert found.elements == {
        each.key: Destination("10.0.0.1", each.port, each.comment or "") for each in elements
    }
    assert found.comments == {e.key: e.comment for e in elements if e.comment is not None}
    assert found.counters == {e.key: e.counter for e in elements if e.counter}
    assert found.leases == {e.key: e.timeout for e in elements if e.timeout}


@given(dumps(), st.data())
def test_a_broken_answer_is_no_table(
    dump: tuple[list[Given], list[bytes]], data: st.DataObject
) -> None:
    """Whatever the bytes are, it ends: with elements or with Malformed."""
    _, lists = dump
    mark, target = datatypes.known(19, 4), datatypes.known(7 << 6 | 13, 8)
    assert mark and target
    if lists:
        broken = bytearray(lists[0])
        for _ in range(data.draw(st.integers(1, 3))):
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
        lists[0] = bytes(broken)
    with suppress(messages.Malformed):
        read_elements(Shape(mark, target, False, 77), lists)


def test_what_an_old_kernel_leaves_out() -> None:
    name = messages.name_attribute(2, "m")
    types = b"".join(attribute(kind, struct.pack("!I", n)) for kind, n in ((3, 0), (4, 19), (5, 4)))
    found = parts.set_of(name + types).map
    assert (found.name, found.key, found.data, found.size) == ("m", "mark", None, None)
    assert (found.flags, found.counter, found.timeout, found.comment) == (
        frozenset(),
        False,
        0,
        None,
    )
    table, chain = parts.chain_of(messages.name_attribute(1, "t") + messages.name_attribute(3, "c"))
    assert (table, chain.name, chain.hook, chain.comment) == ("t", "c", None, None)
    chain_name, rule = parts.rule_of(name, {})
    assert (chain_name, rule.comment) == ("m", None)


def test_words_of_the_model_and_of_the_kernel() -> None:
    assert datatypes.declared("typeof meta priority . ip6 saddr") == "classid . ipv6_addr"
    assert datatypes.declared("type ipv4_addr . inet_proto . inet_service") == (
        "ipv4_addr . inet_proto . inet_service"
    )
    assert datatypes.declared("verdict") == "verdict"
    assert datatypes.name((7 << 6 | 12) << 6 | 13, 12) == "ipv4_addr . inet_proto . inet_service"
    assert datatypes.name(26, 4) == "type 26 of 4 bytes"
    # Twice the length: data that are intervals.
    assert datatypes.known(7, 8) is None
