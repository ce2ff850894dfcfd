"""The script of a table: its layout, its words, and that nothing else can get into it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftlbc.nft.elements import element_lines, key_texts
from nftlbc.nft.rules import rule_text
from nftlbc.nft.script import write
from nftlbc.nft.words import Unwritable
from nftlbc.table.model import (
    AddToMark,
    Chain,
    Counter,
    Destination,
    Dnat,
    Elements,
    Field,
    Forget,
    Goto,
    Hash,
    Hook,
    Jump,
    Lookup,
    Map,
    Masquerade,
    MatchMark,
    MatchProtocol,
    MatchSet,
    MatchTranslated,
    Reject,
    Remember,
    SetMark,
    SetPriority,
    Snat,
    Statement,
    Table,
    VerdictMap,
)

MARK = Field("ct mark")
CLIENT = (Field("meta priority"), Field("ip saddr"))
NETWORK = (Field("meta priority"), Field("ip saddr", 24))
LISTENER = (Field("ip daddr"), Field("meta l4proto"), Field("th dport"))
TRIPLE = "type ipv4_addr . inet_proto . inet_service"

SLOTS = Map(
    "slots_16",
    "typeof ct mark",
    "ct mark",
    16,
    sections={"web": {1: 0x80000007, 2: 0x80000008}, "dns": {3: 0x80000009}, "mail": {}},
)
BACKENDS = Map(
    "backends4_16",
    "type mark",
    "ipv4_addr . inet_service",
    16,
    counter=True,
    sections={"web": {0x80000007: Destination("10.0.0.11", 8080, "web/app1")}},
)
SERVICES = Map(
    "services4_16",
    TRIPLE,
    "verdict",
    16,
    sections={"web": {("203.0.113.10", "tcp", 80): "farm-web-4"}},
)
STICKY = Map("sticky4", "typeof meta priority . ip saddr", "ct mark", 64, ("dynamic", "timeout"))
TABLE = Table(
    (SLOTS, BACKENDS, SERVICES, STICKY),
    (
        Chain("prerouting", ((VerdictMap("services4_16", LISTENER),),), Hook("prerouting", -100)),
        Chain("farm-web-4", ((Goto("refuse"),),), about=("farm web, IPv4", "    app1 100.0%")),
        Chain("refuse", ((MatchProtocol(("tcp",)), Reject(tcp_reset=True)), (Reject(),))),
    ),
)

AFTER_HEADER = """
table inet nftlbc {
    map slots_16 { typeof ct mark : ct mark; size 16; }
    map backends4_16 { type mark : ipv4_addr . inet_service; size 16; counter; }
    map services4_16 { type ipv4_addr . inet_proto . inet_service : verdict; size 16; }
    map sticky4 { typeof meta priority . ip saddr : ct mark; flags dynamic,timeout; size 64; }
}

flush table inet nftlbc
flush map inet nftlbc slots_16
flush map inet nftlbc backends4_16
flush map inet nftlbc services4_16

table inet nftlbc {
    chain refuse {
        meta l4proto tcp reject with tcp reset comment "f22aaa33"
        reject comment "eadad24e"
    }

    # farm web, IPv4
    #     app1 100.0%
    chain farm-web-4 {
        goto refuse comment "277c600b"
    }

    chain prerouting {
        type nat hook prerouting priority -100;
        ip daddr . meta l4proto . th dport vmap @services4_16 comment "ab5c7364"
    }
}

add element inet nftlbc slots_16 {
    1 : 0x80000007, # web
    2 : 0x80000008,
    3 : 0x80000009 # dns
}

add element inet nftlbc backends4_16 {
    0x80000007 comment "web/app1" : 10.0.0.11 . 8080 # web
}

add element inet nftlbc services4_16 {
    203.0.113.10 . tcp . 80 : goto farm-web-4 # web
}
"""


def without_header(script: str) -> str:
    lines = script.splitlines(keepends=True)
    return "".join(lines[next(n for n, line in enumerate(lines) if not line.startswith("#")) :])


def test_layout() -> None:
    script = write(TABLE)
    assert without_header(script) == AFTER_HEADER
    assert "made by nftlbc" in script


def test_the_header_says_how_to_load_and_what_is_lost() -> None:
    header = write(TABLE).removesuffix(AFTER_HEADER)
    assert all(line.startswith("#") for line in header.splitlines())
    for word in ("nft -f", "one transaction", "sticky entries", "nftlbc apply", "counters"):
        assert word in header


def test_same_bytes_for_an_equal_table() -> None:
    again = Table(tuple(replace(each) for each in TABLE.maps), tuple(map(replace, TABLE.chains)))
    assert write(again) == write(TABLE)


def test_an_empty_map_gets_no_elements() -> None:
    empty = Table((replace(SLOTS, sections={"web": {}}), STICKY), ())
    assert "add element" not in write(empty)
    assert "flush map inet nftlbc slots_16\n" in write(empty)
    assert "flush map inet nftlbc sticky4" not in write(empty)


def elements(key: str, data: str | None, rows: Elements, *flags: str) -> list[str]:
    """The lines of a map's elements."""
    script = write(Table((Map("m", key, data, flags=flags, sections={"web": rows}),), ()))
    lines = script.partition("add element")[2].splitlines()[1:-1]
    return [line.strip().removesuffix(" # web") for line in lines]


@pytest.mark.parametrize(
    ("key", "data", "rows", "expected"),
    [
        ("typeof ct mark", "ct mark", {123: 0x80000007}, "123 : 0x80000007"),
        (
            "type mark",
            "ipv6_addr . inet_service",
            {7: Destination("2001:db8::1", 80, "a/b")},
            '0x00000007 comment "a/b" : 2001:db8::1 . 80',
        ),
        (
            "type mark",
            "ipv4_addr",
            {0x80000007: Destination("10.0.0.1", None, "a/b")},
            '0x80000007 comment "a/b" : 10.0.0.1',
        ),
        ("type mark", "ipv4_addr", {0x80000007: "10.0.0.1"}, "0x80000007 : 10.0.0.1"),
        (TRIPLE, "verdict", {("10.0.0.1", "sctp", 5): "x"}, "10.0.0.1 . sctp . 5 : goto x"),
        (
            TRIPLE,
            "inet_service",
            {("10.0.0.1", "udp", (8000, 8099)): 443},
            "10.0.0.1 . udp . 8000-8099 : 443",
        ),
        (TRIPLE, None, {("10.0.0.1", "udp", (1, 2)): None}, "10.0.0.1 . udp . 1-2"),
        (TRIPLE, None, {("10.0.0.1", "udp", (7, 7)): None}, "10.0.0.1 . udp . 7"),
        (
            "typeof meta priority . ip saddr",
            None,
            {(0x7FFF0007, "10.0.0.1"): None},
            "7fff:7 . 10.0.0.1",
        ),
    ],
)
def test_elements(key: str, data: str | None, rows: Elements, expected: str) -> None:
    assert elements(key, data, rows) == [expected]


def test_elements_that_end_by_themselves_are_written_with_their_time() -> None:
    leases = {0x80000007: 432_000_000}
    cut = Map(
        "m",
        "type mark",
        None,
        16,
        ("timeout",),
        sections={"web": {1: None, **dict.fromkeys(leases)}},
        leased=leases,
    )
    assert element_lines(cut, cut.elements) == ["0x00000001", "0x80000007 timeout 432000s"]


def test_keys_of_too_few_parts_are_refused() -> None:
    with pytest.raises(Unwritable, match="keys of 2 parts"):
        key_texts(SERVICES, [("10.0.0.1", "tcp")])


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (SetPriority(0x7FFF0007), "meta priority set 7fff:7"),
        (SetPriority(7), "meta priority set 0:7"),
        (SetPriority(0), "meta priority set none"),
        (
            SetPriority(Hash((Field("th sport"),), 100, 7, 1)),
            "meta priority set jhash th sport mod 100 seed 0x7 offset 1",
        ),
        (SetMark(Lookup("m", (MARK,))), "ct mark set ct mark map @m"),
        (SetMark(Lookup("m", CLIENT)), "ct mark set meta priority . ip saddr map @m"),
        (SetMark(Counter("inc", 3, 16)), "ct mark set numgen inc mod 3 offset 16"),
        (SetMark(Counter("random", 3, 16)), "ct mark set numgen random mod 3 offset 16"),
        (
            SetMark(Hash((Field("ip6 saddr", 64), Field("th dport")), 3, 0x12, 16)),
            "ct mark set jhash (ip6 saddr & ffff:ffff:ffff:ffff::) . th dport mod 3 seed 0x12 offset 16",
        ),
        (AddToMark(0x40000000), "ct mark set ct mark or 0x40000000"),
        (MatchMark(0xC0000000, 0xC0000000), "ct mark and 0xc0000000 == 0xc0000000"),
        (MatchTranslated(), "ct status dnat"),
        (MatchProtocol(("tcp",)), "meta l4proto tcp"),
        (MatchProtocol(("tcp", "udp", "sctp")), "meta l4proto { tcp, udp, sctp }"),
        (MatchSet("s", CLIENT), "meta priority . ip saddr @s"),
        (Jump("x"), "jump x"),
        (Goto("x"), "goto x"),
        (VerdictMap("v", LISTENER), "ip daddr . meta l4proto . th dport vmap @v"),
        (
            Remember("m", NETWORK, 300_000),
            "update @m { meta priority . (ip saddr & 255.255.255.0) timeout 300s : ct mark }",
        ),
        (
            Remember("m", CLIENT, 1_500),
            "update @m { meta priority . ip saddr timeout 1500ms : ct mark }",
        ),
        (Forget("m", CLIENT), "delete @m { meta priority . ip saddr : ct mark }"),
        (Dnat(4, "b", True), "dnat ip addr . port to ct mark map @b"),
        (Dnat(6, "b", True), "dnat ip6 addr . port to ct mark map @b"),
        (Dnat(4, "a", False, 0xBFFFFFFF), "dnat ip to ct mark and 0xbfffffff map @a"),
        (
            Dnat(4, "a", False, None, Lookup("p", LISTENER)),
            "dnat ip to ct mark map @a : ip daddr . meta l4proto . th dport map @p",
        ),
        (Snat(6, "s", 0xBFFFFFFF), "snat ip6 to ct mark and 0xbfffffff map @s"),
        (Masquerade(), "masquerade"),
        (Reject(), "reject"),
        (Reject(tcp_reset=True), "reject with tcp reset"),
    ],
)
def test_statements(statement: Statement, expected: str) -> None:
    assert rule_text((statement,)) == expected


def test_a_rule_is_one_line() -> None:
    rule = (SetPriority(7), SetMark(Counter("inc", 3, 16)), Jump("pick"))
    expected = "meta priority set 0:7 ct mark set numgen inc mod 3 offset 16 jump pick"
    assert rule_text(rule) == expected


def test_two_farms_can_not_have_one_key() -> None:
    both = replace(SLOTS, sections={"web": {1: 0x80000007}, "dns": {1: 0x80000008}})
    with pytest.raises(Unwritable, match="slots_16"):
        write(Table((both,), ()))


ODD = st.text(max_size=8).filter(
    lambda text: not text.replace("x", "").isalnum() or not text.isascii()
)
NAMES = st.one_of(
    ODD, st.sampled_from(['"', "a b", "a\n", "a;", "a}", "a#b", "a\\", "", "$a", "@a"])
)


@given(NAMES)
def test_odd_names_never_get_in(name: str) -> None:
    """Whatever is written is one word of the script; all else is refused."""
    for table in (
        Table((replace(STICKY, name=name),), ()),
        Table((), (Chain(name, ()),)),
        Table((), (Chain("a", ((Jump(name),),)),)),
        Table((replace(SLOTS, sections={"x": {1: 1}, name: {2: 2}}),), ()),
        Table((replace(SERVICES, sections={"x": {("10.0.0.1", "tcp", 1): name}}),), ()),
        Table(
            (replace(BACKENDS, sections={"x": {1: Destination("10.0.0.1", 1, f"a/{name}")}}),), ()
        ),
    ):
        try:
            script = write(table)
        except Unwritable:
            continue
        assert name.isascii()
        assert all(c.isalnum() or c in "_-./" for c in name)
        assert script.isascii()


@given(ODD)
def test_odd_addresses_never_get_in(address: str) -> None:
    plain = bool(address) and all(c in "0123456789abcdef:." for c in address)
    table = Table(
        (replace(BACKENDS, sections={"x": {1: Destination(address, 1, "a/b")}}),),
        (),
    )
    if plain:
        write(table)
    else:
        with pytest.raises(Unwritable):
            write(table)


@pytest.mark.parametrize(
    "line", ["a\nflush ruleset", "a\r", "a\x1b[2J", "a \\", "caf\u00e9", "\u2028"]
)
def test_odd_lines_about_a_farm_never_get_in(line: str) -> None:
    with pytest.raises(Unwritable):
        write(Table((), (Chain("a", (), about=(line,)),)))


@pytest.mark.parametrize("number", ["1 }; flush ruleset", "1\n"])
def test_numbers_are_numbers(number: str) -> None:
    with pytest.raises(ValueError, match="format code"):
        write(Table((replace(SLOTS, sections={"x": {1: number}}),), ()))
    with pytest.raises(ValueError, match="format code"):
        write(Table((), (Chain("a", ((SetMark(Counter("inc", number, 1)),),)),)))  # type: ignore[arg-type]


def test_types_are_types() -> None:
    with pytest.raises(Unwritable):
        write(Table((replace(STICKY, key="typeof ct mark; } flush ruleset"),), ()))
