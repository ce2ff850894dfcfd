"""What stays is not touched: numbers, rules, counters, sticky entries and their time."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from namespaces import NFTS, Elsewhere, applied, in_namespace, nft, read

from nftlbc.farms import Backend, Balance, Farm, Forward, Key, Listener, Persistence
from nftlbc.nft import kernel
from nftlbc.plan import planning
from nftlbc.table import numbers
from nftlbc.table.model import OURS

T = "inet nftlbc"
SOURCE = (Key("source-ip"),)


def farm(name: str, count: int = 3, port: int = 80, **settings: Any) -> Farm:
    """A farm with its own addresses; its backends are b1, b2, ..."""
    host = zlib.crc32(name.encode()) & 0xFFFF
    net = f"{host >> 8}.{host & 255}"
    backends = tuple(Backend(f"b{n}", f"10.{net}.{n}", 8080) for n in range(1, count + 1))
    settings = {"backends": backends, **settings}
    return Farm(name, (Listener(f"203.0.{net}", "tcp", port, port),), **settings)


def with_backend(of: Farm, which: str, **changes: Any) -> Farm:
    backends = tuple(
        replace(each, **changes) if each.name == which else each for each in of.backends
    )
    return replace(of, backends=backends)


def handles(chain: str) -> list[int]:
    """They change when a rule is written anew, and its round robin then starts anew."""
    return [rule.handle for rule in read().chains[chain].rules]


def mark_of(name: str) -> int:
    table = read()
    return next(
        key | OURS
        for each in table.maps.values()
        if each.name.startswith(("backends", "addresses"))
        for key, text in each.comments.items()
        if text == name and isinstance(key, int)
    )


def count(name: str, packets: int, map: str = "backends4_1024") -> None:
    """As if so many connections had come."""
    mark = mark_of(name)
    data = read().maps[map].elements[mark]
    nft(
        f"delete element {T} {map} {{ 0x{mark:x} }}\n"
        f"add element {T} {map} {{ 0x{mark:x} counter packets {packets} bytes {60 * packets} "
        f'comment "{name}" : {data.address} . {data.port} }}'  # type: ignore[union-attr]
    )


def counted(name: str) -> int:
    table = read()
    return sum(
        each.counters[key].packets
        for each in table.maps.values()
        if each.name.startswith(("backends", "addresses"))
        for key, text in each.comments.items()
        if text == name
    )


@in_namespace
def test_untouched_farms_keep_their_rules() -> None:
    elsewhere = Elsewhere()
    web, shop, mail = farm("web"), farm("shop", persistence=Persistence(SOURCE)), farm("mail")
    applied((web, shop, mail), elsewhere)
    kept = {name: handles(name) for name in ("farm-web-4", "farm-shop-4", "pick", "prerouting")}
    for changed in (
        farm("mail", 5),
        replace(mail, persistence=Persistence(SOURCE)),
        replace(mail, forward=Forward("masquerade")),
        replace(mail, balance=Balance("consistent", SOURCE, 13)),
        farm("other"),
        farm("shop2", 9, persistence=Persistence(SOURCE, 60_000)),
    ):
        applied((web, shop, changed), elsewhere)
        assert {name: handles(name) for name in kept} == kept
    applied((web, shop), elsewhere)
    assert {name: handles(name) for name in kept} == kept


@in_namespace
def test_a_change_of_elements_alone_rewrites_no_rule() -> None:
    elsewhere = Elsewhere()
    web = farm("web", 2, persistence=Persistence(SOURCE))
    applied((web,), elsewhere)
    kept = {name: handles(name) for name in read().chains}
    for changed in (
        with_backend(web, "b1", name="other"),
        with_backend(web, "b1", address="10.9.9.9"),
        with_backend(web, "b2", port=9999),
        replace(web, listeners=(Listener("203.0.113.77", "tcp", 81, 81),)),
        replace(web, backends=web.backends[::-1]),
    ):
        applied((changed,), elsewhere)
        assert {name: handles(name) for name in read().chains} == kept


@in_namespace
def test_counters_go_where_their_backends_go() -> None:
    elsewhere = Elsewhere()
    web, other = farm("web"), farm("other")
    applied((web, other), elsewhere)
    count("web/b1", 7)
    count("other/b1", 5)
    for changed in (
        with_backend(web, "b1", weight=7),
        with_backend(web, "b1", state="drain"),
        with_backend(web, "b1", state="down"),
        web,
        with_backend(web, "b1", state="down"),
        replace(web, forward=Forward("masquerade")),
        replace(web, persistence=Persistence(SOURCE)),
        replace(web, backends=web.backends[:1]),
    ):
        applied((changed, other), elsewhere)
        assert counted("web/b1") == 7
    # Renamed, and renamed while it is down.
    applied((with_backend(web, "b1", name="x"), other), elsewhere)
    assert counted("web/x") == 7
    applied((with_backend(web, "b1", name="y", state="down"), other), elsewhere)
    assert counted("web/y") == 7
    # The map outgrows its size, and shrinks.
    big = replace(farm("big", 1), backends=tuple(_many(1200)))
    applied((web, other, big), elsewhere)
    assert "backends4_1024" not in read().maps
    assert (counted("web/b1"), counted("other/b1")) == (7, 5)
    applied((web, other), elsewhere)
    assert (counted("web/b1"), counted("other/b1")) == (7, 5)
    # Another address is another backend.
    applied((with_backend(web, "b1", address="10.9.9.9"), other), elsewhere)
    assert (counted("web/b1"), counted("other/b1")) == (0, 5)


def _many(count: int) -> list[Backend]:
    return [Backend(f"m{n}", f"10.200.{n >> 8}.{n & 255}", 80) for n in range(count)]


@in_namespace
def test_each_nft_carries_counters() -> None:
    for program in NFTS:
        kernel.remove()
        web = farm("web")
        elsewhere = Elsewhere()
        applied((web,), elsewhere, program)
        count("web/b1", 7)
        applied((with_backend(web, "b1", state="down"),), elsewhere, program)
        applied((with_backend(web, "b1", name="z"),), elsewhere, program)
        assert counted("web/z") == 7


# Numbers that meet


@pytest.fixture
def few_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of 6 bits, so that everything meets everything."""
    whole = numbers._hashed

    def hashed(text: str, attempt: int = 0) -> int:
        return whole(text, attempt) & 0x3F

    monkeypatch.setattr(numbers, "_hashed", hashed)


@in_namespace
def test_who_is_in_the_table_keeps_its_numbers(few_bits: None) -> None:
    elsewhere = Elsewhere()
    names = [f"{letter}{digit}" for letter in "mcxaz" for digit in range(3)]
    farms: tuple[Farm, ...] = ()
    known: dict[str, int] = {}
    rules: dict[str, list[int]] = {}

    def apply(some: Sequence[Farm]) -> None:
        applied(some, elsewhere)
        plan = planning.plan(some)
        now = {
            text: key | OURS
            for each in read().maps.values()
            if each.name.startswith("backends")
            for key, text in each.comments.items()
            if isinstance(key, int)
        }
        assert len(set(now.values())) == len(now)
        for name, mark in now.items():
            assert known.get(name, mark) == mark, name
        known.clear()
        known.update(now)
        for each in some:
            chain = f"farm-{each.name}-4"
            assert rules.get(chain, handles(chain)) == handles(chain)
        rules.clear()
        rules.update({f"farm-{each.name}-4": handles(f"farm-{each.name}-4") for each in some})
        numbers_of = {
            chain.name: chain.rules[0][0].value  # type: ignore[union-attr]
            for chain in plan.wanted.chains
            if chain.name.startswith("farm-")
        }
        assert len(set(numbers_of.values())) == len(numbers_of)

    # Those that come are sometimes before, sometimes behind the others by name.
    for name in names:
        farms = (*farms, farm(name, 2, persistence=Persistence(SOURCE)))
        apply(farms)
    for gone in (0, 5, 9, 2):
        farms = farms[:gone] + farms[gone + 1 :]
        apply(farms)
    farms = tuple(with_backend(each, "b1", state="down") for each in farms)
    rules.clear()
    apply(farms)
    farms = (*farms, farm("a9", 2, persistence=Persistence(SOURCE)))
    apply(farms)
    farms = tuple(with_backend(each, "b1", state="up") for each in farms)
    rules.clear()
    apply(farms)


@in_namespace
def test_a_pool_that_grows_makes_way_for_its_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "slot_hash", lambda name, family: 100 if name == "web" else 103)
    monkeypatch.setattr("nftlbc.plan.in_use.slot_hash", numbers.slot_hash)
    elsewhere = Elsewhere()
    web, shop = farm("web"), farm("shop")
    applied((web, shop), elsewhere)
    kept = handles("farm-shop-4")
    applied((farm("web", 5), shop), elsewhere)
    assert handles("farm-shop-4") == kept
    slots = sorted(read().maps["slots_1024"].elements)
    assert slots == [103, 104, 105, 106, 107, 108, 109, 110]
    # It stays where it is now, also when its old place is free.
    kept = handles("farm-web-4")
    applied((farm("web", 5),), elsewhere)
    assert handles("farm-web-4") == kept


# Sticky entries


def stick(map: str, key: str, mark: int, left: str) -> None:
    nft(f"add element {T} {map} {{ {key} expires {left} : 0x{mark:x} }}")


def number_of(farm: str) -> str:
    number = numbers.farm_hash(farm)
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


def entries(map: str) -> dict[Any, tuple[int, int]]:
    """By key: mark and milliseconds left."""
    there = read().maps[map]
    return {key: (mark, there.leases[key].left) for key, mark in there.elements.items()}  # type: ignore[misc]


def near(have: dict[Any, tuple[int, int]], want: dict[Any, tuple[int, int]]) -> None:
    """The time runs on."""
    assert have.keys() == want.keys()
    for key, (mark, left) in want.items():
        assert have[key][0] == mark
        assert left - 20_000 < have[key][1] <= left


SHARED = "sticky4_source-ip_300s_262144"


@in_namespace
@pytest.mark.parametrize("program", NFTS)
def test_sticky_entries_go_over_into_another_map(program: str) -> None:
    elsewhere = Elsewhere()
    web, shop = (farm(name, persistence=Persistence(SOURCE)) for name in ("web", "shop"))
    applied((web, shop), elsewhere, program)
    marks = {name: mark_of(name) for name in ("web/b1", "web/b2", "shop/b1")}
    stick(SHARED, f"{number_of('web')} . 198.18.0.1", marks["web/b1"], "200s")
    stick(SHARED, f"{number_of('web')} . 198.18.0.2", marks["web/b2"], "100s")
    stick(SHARED, f"{number_of('shop')} . 198.18.0.1", marks["shop/b1"], "50s")
    first = (numbers.farm_hash("web"), "198.18.0.1")
    second = (numbers.farm_hash("web"), "198.18.0.2")
    other = (numbers.farm_hash("shop"), "198.18.0.1")
    was = {first: (marks["web/b1"], 200_000), second: (marks["web/b2"], 100_000)}

    def moved(more: int, keys: Sequence[Any] = (first, second)) -> dict[Any, tuple[int, int]]:
        return {key: (was[key][0], was[key][1] + more) for key in keys}

    def kept(persistence: Persistence) -> None:
        applied((replace(web, persistence=persistence), shop), elsewhere, program)
        assert entries(SHARED)[other][0] == marks["shop/b1"]

    # A longer time: as if it had held when the client last came.
    kept(Persistence(SOURCE, 1_800_000))
    near(entries("sticky4_source-ip_1800s_262144"), moved(1_500_000))
    # Of its own.
    kept(Persistence(SOURCE, 1_800_000, 100))
    near(entries("sticky4_source-ip_1800s_100_web"), moved(1_500_000))
    # Another size.
    kept(Persistence(SOURCE, 1_800_000, 200))
    near(entries("sticky4_source-ip_1800s_200_web"), moved(1_500_000))
    # Back into the shared one, where the older entries are still there.
    kept(Persistence(SOURCE))
    back = entries(SHARED)
    back.pop(other)
    near(back, moved(0))
    # A shorter time: who did not come within it is forgotten.
    kept(Persistence(SOURCE, 150_000))
    near(entries("sticky4_source-ip_150s_262144"), moved(-150_000, [first]))
    # Known by something else: nothing to take along.
    kept(Persistence((Key("source-ip"), Key("source-port")), 150_000))
    assert not entries("sticky4_source-ip.source-port_150s_262144")


@in_namespace
def test_sticky_entries_of_long_keys_and_of_ipv6() -> None:
    elsewhere = Elsewhere()
    every = tuple(
        Key(name) for name in ("source-ip", "source-port", "destination-ip", "destination-port")
    )
    backends = (Backend("b1", "10.0.0.1", 80), Backend("b6", "2001:db8:1::1", 80))
    listeners = (Listener("203.0.113.1", "tcp", 80, 80), Listener("2001:db8::1", "tcp", 80, 80))

    def six(keys: tuple[Key, ...], time: int, size: int | None = None) -> Farm:
        return Farm("six", listeners, backends, persistence=Persistence(keys, time, size))

    applied((six(SOURCE, 300_000),), elsewhere)
    four, sixth = mark_of("six/b1"), mark_of("six/b6")
    stick(SHARED, f"{number_of('six')} . 198.18.0.1", four, "200s")
    stick("sticky6_source-ip_300s_six", "2001:db8:9::1", sixth, "200s")
    applied((six(SOURCE, 600_000, 64),), elsewhere)
    near(entries("sticky6_source-ip_600s_64_six"), {"2001:db8:9::1": (sixth, 500_000)})
    near(
        entries("sticky4_source-ip_600s_64_six"),
        {(numbers.farm_hash("six"), "198.18.0.1"): (four, 500_000)},
    )
    applied((six(every, 300_000),), elsewhere)
    stick(
        "sticky6_source-ip.destination-ip.source-port.destination-port_300s_six", "1:5", sixth, "1m"
    )
    applied((six(every, 400_000),), elsewhere)
    near(
        entries("sticky6_source-ip.destination-ip.source-port.destination-port_400s_six"),
        {0x10005: (sixth, 160_000)},
    )


@in_namespace
def test_a_smaller_map_takes_those_with_the_most_time() -> None:
    elsewhere = Elsewhere()
    web = farm("web", persistence=Persistence(SOURCE))
    applied((web,), elsewhere)
    mark = mark_of("web/b1")
    keys = [f"{number_of('web')} . 198.18.0.{n} expires {100 + n}s" for n in range(1, 101)]
    nft(f"add element {T} {SHARED} {{ {', '.join(f'{key} : 0x{mark:x}' for key in keys)} }}")
    applied((replace(web, persistence=Persistence(SOURCE, size=32)),), elsewhere)
    left = entries("sticky4_source-ip_300s_32_web")
    assert {key[1] for key in left} == {f"198.18.0.{n}" for n in range(69, 101)}


@in_namespace
def test_a_farm_that_is_down_for_a_while_keeps_its_clients() -> None:
    elsewhere = Elsewhere()
    web = farm("web", persistence=Persistence(SOURCE, size=100))
    applied((web,), elsewhere)
    name = "sticky4_source-ip_300s_100_web"
    stick(name, f"{number_of('web')} . 198.18.0.1", mark_of("web/b1"), "200s")
    down = replace(web, backends=tuple(replace(each, state="down") for each in web.backends))
    applied((down,), elsewhere)
    applied((web,), elsewhere)
    assert len(entries(name)) == 1


@in_namespace
def test_many_entries_take_time_by_their_number() -> None:
    """Linear: with eight times as many entries, the script has eight times the bytes."""
    elsewhere = Elsewhere()
    web = farm("web", persistence=Persistence(SOURCE))
    sizes = []
    for number in (2_000, 16_000):
        kernel.remove()
        applied((web,), elsewhere)
        mark = mark_of("web/b1")
        key = number_of("web")
        rows = ",\n".join(
            f"{key} . 10.{a}.{b}.{c} : 0x{mark:x}"
            for a, b, c in itertools.islice(itertools.product(range(250), repeat=3), number)
        )
        nft(f"add element {T} {SHARED} {{\n{rows}\n}}")
        longer = replace(web, persistence=Persistence(SOURCE, 600_000))
        sizes.append(len(planning.plan((longer,)).transaction.change))
        applied((longer,), elsewhere)
        assert len(entries("sticky4_source-ip_600s_262144")) == number
    assert sizes[1] < 8.2 * sizes[0]
