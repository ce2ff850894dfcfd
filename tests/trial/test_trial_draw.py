"""The picture: exact, within 80 columns, calm, and what is wrong stands out."""

import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagined import World, down, trial_of, tried

from nftlbc.farms import Backend, Balance, Farm, Forward, Key, Listener, Persistence
from nftlbc.trial.draw import draw
from nftlbc.trial.look import Look, visible
from nftlbc.trial.result import Phase, Trial

VIP = "203.0.113.10"
WEB = Farm(
    "web",
    (Listener(VIP, "tcp", 80, 80),),
    (
        Backend("app1", "10.0.0.11", 8080, 2),
        Backend("app2", "10.0.0.12", 8080),
        Backend("app3", "10.0.0.13", 8080),
        Backend("app4", "10.0.0.14", 8080),
    ),
)
LONG6 = "2001:db8:1111:2222:3333:4444:5555:6666"
PLAIN = Look(file="farms.lb")


def drawn(*pools, look=PLAIN):
    return draw(trial_of(*pools), look)


def to_app1(connection, answer):
    return replace(answer, backend="10.0.0.11") if answer.backend == "10.0.0.14" else answer


def test_a_farm_that_is_right():
    assert drawn(tried(WEB)) == (
        "farm web · round-robin · dnat                                     60 connections\n"
        "  203.0.113.10:80/tcp\n"
        "    app1  10.0.0.11:8080  ██████████████████████████    24   40.0 %  as promised\n"
        "    app2  10.0.0.12:8080  █████████████                 12   20.0 %  as promised\n"
        "    app3  10.0.0.13:8080  █████████████                 12   20.0 %  as promised\n"
        "    app4  10.0.0.14:8080  █████████████                 12   20.0 %  as promised\n"
        "    the backends saw the client's own address                                 ok\n"
        "    the balancer's own process was served, too                                ok\n"
        "\n"
        "1 farm, 4 backends, 61 connections: all as the file promises\n"
    )


def test_a_farm_that_is_wrong():
    text = drawn(tried(WEB, to_app1))
    assert text == (
        "farm web · round-robin · dnat                                     60 connections\n"
        "  203.0.113.10:80/tcp\n"
        "    app1  10.0.0.11:8080  ██████████████████████████    36   60.0 %  24 expected\n"
        "    app2  10.0.0.12:8080  ████████▋                     12   20.0 %  as promised\n"
        "    app3  10.0.0.13:8080  ████████▋                     12   20.0 %  as promised\n"
        "    app4  10.0.0.14:8080  ░░░░░░░░░                      0    0.0 %  12 expected\n"
        "    2 backends got other shares than the file promises                     wrong\n"
        "      look at the weights in farms.lb; the farm's slots in `nftlbc compile\n"
        "        farms.lb`\n"
        "    the backends saw the client's own address                                 ok\n"
        "    the balancer's own process was served, too                                ok\n"
        "\n"
        "farm web: not as the file promises (61 connections)\n"
        "Nothing but the compiled table stands between clients and backends here: what\n"
        "  differs is a defect of nftlbc, nft or the kernel. `nftlbc compile farms.lb`,\n"
        "  `nft --version` and `uname -r` belong into a report of it.\n"
    )


def test_ascii_is_ascii():
    look = replace(PLAIN, blocks=False)
    assert drawn(tried(WEB), look=look).isascii()
    text = drawn(tried(WEB, to_app1), look=look)
    assert text.isascii()
    assert "##########################    36" in text
    assert ".........                      0" in text


def test_colours_change_no_column():
    for pool in (tried(WEB), tried(WEB, to_app1)):
        coloured = drawn(pool, look=replace(PLAIN, colour=True))
        assert "\x1b[" in coloured
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == drawn(pool)


def test_only_what_is_wrong_is_red():
    assert "\x1b[1;31m" not in drawn(tried(WEB), look=replace(PLAIN, colour=True))
    red = drawn(tried(WEB, to_app1), look=replace(PLAIN, colour=True)).split("\n")
    lines = [line for line in red if "\x1b[1;31m" in line]
    assert [
        word for line in lines for word in ("app1", "app4", "wrong", "not as") if word in line
    ] == [
        "app1",
        "app4",
        "wrong",
        "not as",
    ]


names = st.from_regex(r"\A[a-z][a-z0-9-]{0,31}\Z")
addresses6 = st.sampled_from([LONG6, "2001:db8::1", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"])


@given(
    farm_name=names,
    backend_names=st.lists(names, min_size=1, max_size=4, unique=True),
    listener=addresses6,
    ports=st.lists(st.integers(1, 65535), min_size=1, max_size=12, unique=True),
    keys=st.integers(0, 3),
    falsified=st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(
    farm_name, backend_names, listener, ports, keys, falsified
):
    fields = ("source-ip", "destination-ip", "destination-port")[:keys]
    farm = Farm(
        farm_name,
        tuple(Listener(listener, "tcp", port, port, 65535) for port in sorted(ports)),
        tuple(
            Backend(name, f"2001:db8:bbbb:bbbb:cccc:dddd:eeee:{n + 0x1000:x}", 65535, n + 1)
            for n, name in enumerate(backend_names)
        ),
        persistence=Persistence(tuple(Key(field) for field in fields)) if keys else None,
    )
    target = farm.backends[0].address
    falsify = (lambda _, answer: replace(answer, backend=target, seen=LONG6)) if falsified else None
    for line in drawn(tried(farm, falsify, family=6)).split("\n"):
        assert len(line) <= 80, line


def test_long_names_and_addresses_are_shown_whole_and_the_columns_stand():
    name, address = "n" * 32, "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
    backends = (Backend(name, address, 65535), Backend("short", "2001:db8::2", 80))
    text = drawn(tried(Farm("f", (Listener(LONG6, "tcp", 80, 80),), backends), family=6))
    lines = text.split("\n")
    rows = [line for line in lines if "as promised" in line]
    assert [line[4:36].rstrip() for line in rows] == [name, "short"]
    assert {line.index("as promised") for line in rows} == {69}
    assert f"      [{address}]:65535" in lines
    assert "      [2001:db8::2]:80" in lines


def test_an_address_is_said_once_and_own_ports_are_told():
    listeners = (
        Listener(VIP, "tcp", 80, 80),
        Listener(VIP, "tcp", 443, 443, 8443),
        Listener("203.0.113.11", "udp", 1000, 2000),
    )
    text = drawn(tried(replace(WEB, listeners=listeners)))
    assert "  203.0.113.10:80/tcp  :443/tcp to 8443  203.0.113.11:1000-2000/udp\n" in text


def test_many_listeners_are_counted():
    listeners = tuple(Listener(VIP, "tcp", 10_000 + n, 10_000 + n) for n in range(100))
    lines = drawn(tried(replace(WEB, listeners=listeners))).split("\n")
    shown = sum(line.count("/tcp") for line in lines)
    assert f"  and {100 - shown} more" in lines
    assert len(lines) < 20


def test_many_backends_are_counted_but_none_that_is_wrong_is_left_out():
    backends = tuple(Backend(f"b{n}", f"10.0.1.{n + 1}", 80) for n in range(60))
    farm = replace(WEB, backends=backends)
    text = drawn(tried(farm))
    assert text.count("as promised") == 32
    assert "    and 28 more, as they should be\n" in text
    assert drawn(tried(farm), look=replace(PLAIN, whole=True)).count("as promised") == 60
    missing = drawn(
        tried(
            farm,
            lambda _, a: replace(a, backend="10.0.1.1") if a.backend == "10.0.1.60" else a,
        )
    )
    assert re.search(r"^    b59 .* 1 expected$", missing, re.MULTILINE)


def test_what_balances_and_persists_is_in_the_title():
    farm = replace(
        WEB,
        balance=Balance("random"),
        persistence=Persistence((Key("source-ip", 24),)),
        forward=Forward("snat", ("203.0.113.9",)),
        hairpin=True,
    )
    first = drawn(tried(farm)).split("\n")[0]
    assert first == "farm web · random · persist source-ip/24 · snat 203.0.113.9 · hairpin"


def test_each_way_of_judging_has_its_word():
    hashed = drawn(tried(replace(WEB, balance=Balance("hash", (Key("source-ip"),)))))
    assert hashed.count("as hashed") == 4
    assert drawn(tried(replace(WEB, balance=Balance("random")))).count(" due") == 4
    drained = replace(WEB.backends[1], state="drain")
    assert "  drains\n" in drawn(tried(replace(WEB, backends=(*WEB.backends[:1], drained))))


def test_of_many_farms_those_that_are_right_get_a_line_each():
    pools = [tried(replace(WEB, name=f"f{n}")) for n in range(11)]
    pools.append(tried(replace(WEB, name="broken"), to_app1))
    lines = drawn(*pools).split("\n")
    assert sum(line.endswith("connections  ok") for line in lines) == 11
    assert sum("24 expected" in line for line in lines) == 1
    assert "1 of 12 farms: not as the file promises (732 connections)" in lines
    whole = drawn(*pools, look=replace(PLAIN, whole=True))
    assert whole.count("as promised") == 11 * 4 + 2


def test_of_a_second_phase_what_is_concerned_is_drawn():
    other = replace(WEB, name="other", listeners=(Listener("203.0.113.99", "tcp", 80, 80),))
    world = World(WEB, other)
    plans = [world.plan(WEB), world.plan(other)]
    first = Phase((), tuple(world.judge(plan) for plan in plans))
    after = down(WEB, "app1")
    world.load(after, other)
    again = [world.again(plans[0], after), world.again(plans[1], other)]
    second = Phase(("web/app1",), tuple(world.judge(plan) for plan in again))
    text = draw(Trial((first, second), 2, 2), PLAIN)
    _, then = text.split("── with web/app1 down ")
    assert "    app1  10.0.0.11:8080                                 0    0.0 %  down\n" in then
    assert "farm other · round-robin " in then
    assert then.count("as promised") == 3


def test_notes_come_before_the_end():
    trial = replace(trial_of(tried(WEB)), notes=("tried 1 of 9 farms",))
    assert draw(trial, PLAIN).split("\n")[-3] == "note: tried 1 of 9 farms"


@given(got=st.integers(0, 500), most=st.integers(1, 500), width=st.integers(1, 60))
def test_a_bar_is_as_long_as_its_share(got, most, width):
    got = min(got, most)
    bar = Look().bar(got, Fraction(got), most, width, ok=True)
    assert len(bar) == width
    eighths = sum(" ▏▎▍▌▋▊▉█".index(block) for block in bar)
    assert abs(eighths - Fraction(got * width * 8, most)) <= 1
    assert (eighths == 0) == (got == 0)
    assert bar.rstrip() == bar.replace(" ", "")


def test_visible_counts_no_colour():
    assert visible("\x1b[1;31mwrong\x1b[0m") == 5


@pytest.mark.parametrize(("text", "width", "cut"), [("abcdef", 6, "abcdef"), ("abcdef", 4, "abc…")])
def test_what_is_too_long_is_cut(text, width, cut):
    assert Look().cut(text, width) == cut
