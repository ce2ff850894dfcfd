"""What differs from the kernel's table, and the transaction that mends it; without a kernel.

tests/difference applies such transactions, and looks at what becomes of the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from nftlbc.nft.difference import Difference, MapChange, carried_over, difference
from nftlbc.nft.netlink import Counted, KernelChain, KernelMap, KernelTable
from nftlbc.nft.netlink.datatypes import declared
from nftlbc.nft.netlink.elements import Contents
from nftlbc.nft.netlink.kernel_table import KernelHook, KernelRule
from nftlbc.nft.rules import digest
from nftlbc.nft.sticky import Carried, Entry
from nftlbc.nft.transaction import transaction
from nftlbc.table.model import OURS, Chain, Destination, Drop, Goto, Hook, Jump, Map, Table

FIRST, SECOND, THIRD = OURS | 1, OURS | 2, OURS | 3
SLOTS = Map(
    "slots_1024", "typeof ct mark", "ct mark", 1024, sections={"web": {1: FIRST, 2: SECOND}}
)
BACKENDS = Map(
    "backends4_1024",
    "type mark",
    "ipv4_addr . inet_service",
    1024,
    counter=True,
    sections={
        "web": {
            FIRST: Destination("10.0.0.1", 80, "web/b1"),
            SECOND: Destination("10.0.0.2", 80, "web/b2"),
        }
    },
)
BASE = Chain("prerouting", ((Goto("farm-web-4"),),), Hook("prerouting", -100))
FARM = Chain("farm-web-4", ((Jump("pick"),), (Drop(),)))
WANTED = Table((SLOTS, BACKENDS), (FARM, BASE))


def in_kernel(each: Map) -> KernelMap:
    contents = Contents(dict(each.elements))
    data = None if each.data is None else declared(each.data)
    return KernelMap(
        each.name, 0, declared(each.key), data, each.size, frozenset(each.flags), each.counter,
        0, None, True, contents,
    )  # fmt: skip


def counting(each: Map, counters: dict[int, Counted]) -> KernelMap:
    there = in_kernel(each)
    return replace(there, contents=replace(there.contents, counters=counters))


def chain(each: Chain, accepts: bool = True) -> KernelChain:
    hook = each.hook and KernelHook(each.hook.name, each.hook.priority, each.hook.type, accepts)
    rules = tuple(KernelRule(9, digest(rule), b"") for rule in each.rules)
    return KernelChain(each.name, 0, hook, None, rules)


def kernel(maps: Iterable[KernelMap], chains: Iterable[KernelChain]) -> KernelTable:
    return KernelTable(
        0, False, None, 0, {each.name: each for each in maps}, {each.name: each for each in chains}
    )


THERE = kernel(map(in_kernel, WANTED.maps), map(chain, WANTED.chains))


def changed(wanted: Table, there: KernelTable = THERE) -> list[str]:
    return transaction(difference(there, wanted)).change.splitlines()


def with_chain(each: KernelChain) -> KernelTable:
    return replace(THERE, chains={**THERE.chains, each.name: each})


def test_no_difference() -> None:
    assert difference(THERE, WANTED).empty
    assert transaction(difference(THERE, WANTED)) == ("", "")


def test_of_a_map_only_what_differs_goes_and_comes() -> None:
    """Not all of it, and by its keys: who is looked up all the while is there all the while."""
    slots = replace(SLOTS, sections={"web": {1: FIRST, 2: THIRD, 3: SECOND}})
    assert changed(replace(WANTED, maps=(slots, BACKENDS))) == [
        "delete element inet nftlbc slots_1024 {",
        "    2",
        "}",
        "add element inet nftlbc slots_1024 {",
        "    2 : 0x80000003,",
        "    3 : 0x80000002",
        "}",
    ]
    less = replace(SLOTS, sections={"web": {1: FIRST}})
    assert changed(replace(WANTED, maps=(less, BACKENDS))) == [
        "delete element inet nftlbc slots_1024 {",
        "    2",
        "}",
    ]


def test_elements_that_can_not_be_named_go_with_all_others() -> None:
    odd = in_kernel(SLOTS)
    odd = replace(odd, contents=Contents({**odd.elements, "odd": FIRST}))
    there = replace(THERE, maps={**THERE.maps, odd.name: odd})
    assert changed(WANTED, there) == [
        "flush map inet nftlbc slots_1024",
        "add element inet nftlbc slots_1024 {",
        "    1 : 0x80000001,",
        "    2 : 0x80000002",
        "}",
    ]


def test_a_stale_map_is_emptied_at_once_and_deleted_later() -> None:
    stale = in_kernel(replace(SLOTS, name="slots_2048", size=2048))
    marks = in_kernel(Map("cut_1024", "type mark", None, 1024, sections={"web": {FIRST: None}}))
    old = KernelChain("farm-old-4", 0, None, None)
    base = chain(Chain("output", (), Hook("output", -100)))
    there = kernel((*THERE.maps.values(), stale, marks), (*THERE.chains.values(), old, base))
    assert transaction(difference(there, WANTED)) == (
        "flush chain inet nftlbc farm-old-4\n"
        "flush chain inet nftlbc output\n"
        "flush map inet nftlbc slots_2048\n"
        "flush set inet nftlbc cut_1024\n"
        "delete chain inet nftlbc output\n",
        "delete map inet nftlbc slots_2048\n"
        "delete set inet nftlbc cut_1024\n"
        "delete chain inet nftlbc farm-old-4\n",
    )


def test_other_rules_are_written_into_the_chain_that_is_there() -> None:
    """No other chain and no map is so much as named."""
    wanted = replace(WANTED, chains=(replace(FARM, rules=((Drop(),),)), BASE))
    assert changed(wanted)[:4] == [
        "table inet nftlbc {",
        "    chain farm-web-4 {",
        "    }",
        "}",
    ]
    flush, rule = changed(wanted)[4:]
    assert flush == "flush chain inet nftlbc farm-web-4"
    assert rule.startswith("add rule inet nftlbc farm-web-4 drop comment ")
    more = replace(WANTED, chains=(replace(FARM, rules=FARM.rules[:1]), BASE))
    assert [each.name for each in difference(THERE, more).chains] == ["farm-web-4"]


def test_a_map_of_another_kind_goes_with_all_rules_for_a_moment() -> None:
    odd = replace(in_kernel(SLOTS), flags=frozenset({"interval"}))
    lines = changed(WANTED, replace(THERE, maps={**THERE.maps, odd.name: odd}))
    assert lines[:6] == [
        "flush table inet nftlbc",
        "flush map inet nftlbc slots_1024",
        "delete map inet nftlbc slots_1024",
        "table inet nftlbc {",
        "    map slots_1024 { typeof ct mark : ct mark; size 1024; }",
        "}",
    ]
    assert not [line for line in lines if line.startswith("flush chain")]
    rules = [line.split(" comment ")[0] for line in lines if line.startswith("add rule")]
    assert rules == [
        "add rule inet nftlbc farm-web-4 jump pick",
        "add rule inet nftlbc farm-web-4 drop",
        "add rule inet nftlbc prerouting goto farm-web-4",
    ]
    assert "    1 : 0x80000001," in lines


@pytest.mark.parametrize(
    "there",
    [
        replace(BASE, hook=Hook("output", -100)),
        replace(BASE, hook=Hook("prerouting", -99)),
        replace(BASE, hook=Hook("prerouting", -100, "filter")),
        replace(BASE, hook=None),
        replace(FARM, hook=Hook("prerouting", -100)),
    ],
)
def test_a_chain_that_is_hooked_in_elsewhere_is_made_anew(there: Chain) -> None:
    found = difference(with_chain(chain(there, accepts=False)), WANTED)
    assert [each.name for each in found.odd_chains] == [there.name]
    assert found.chains == WANTED.chains
    assert found.rebuilds and not found.dropping and not found.maps and not found.new_maps
    lines = transaction(found).change.splitlines()
    assert lines[:2] == ["flush table inet nftlbc", f"delete chain inet nftlbc {there.name}"]


def test_a_policy_that_drops_is_changed_back() -> None:
    assert changed(WANTED, with_chain(chain(BASE, accepts=False))) == [
        "table inet nftlbc {",
        "    chain prerouting {",
        "        type nat hook prerouting priority -100;",
        "        policy accept;",
        "    }",
        "}",
    ]


def test_a_table_that_was_switched_off_is_switched_on() -> None:
    assert changed(WANTED, replace(THERE, dormant=True)) == ["add table inet nftlbc"]


def counted(there: KernelTable, wanted: Map = BACKENDS) -> dict[object, Counted]:
    found = difference(there, replace(WANTED, maps=(SLOTS, wanted)))
    return {key: each for change in found.maps for key, each in change.counters.items()}


def test_who_comes_brings_what_it_has_counted() -> None:
    """From rest, where it has the bit of the mark no more, and from a map of another size."""
    resting = {FIRST & ~OURS: BACKENDS.elements[FIRST], SECOND: BACKENDS.elements[SECOND]}
    rest = replace(BACKENDS, sections={"web": resting})
    figures = {FIRST & ~OURS: Counted(5, 500), SECOND: Counted(7, 700)}
    there = replace(THERE, maps={**THERE.maps, rest.name: counting(rest, figures)})
    assert counted(there) == {FIRST: Counted(5, 500)}
    some = replace(THERE, maps={**THERE.maps, rest.name: counting(rest, {})})
    assert counted(some) == {}
    larger = replace(BACKENDS, name="backends4_2048", size=2048)
    everything = {FIRST: Counted(1, 100), SECOND: Counted(0, 0)}
    there = replace(THERE, maps={**THERE.maps, BACKENDS.name: counting(BACKENDS, everything)})
    assert counted(there, larger) == {FIRST: Counted(1, 100)}
    lines = changed(replace(WANTED, maps=(SLOTS, larger)), there)
    assert lines[-4:] == [
        "add element inet nftlbc backends4_2048 {",
        '    0x80000001 counter packets 1 bytes 100 comment "web/b1" : 10.0.0.1 . 80,',
        '    0x80000002 comment "web/b2" : 10.0.0.2 . 80',
        "}",
    ]
    other = replace(BACKENDS, name="addresses4_1024")
    assert counted(there, other) == {}


def test_what_was_counted_at_rest_and_since_is_added_up() -> None:
    figures = [(1, Counted(2, 20)), (FIRST, Counted(3, 30)), (SECOND, Counted(0, 9))]
    come = {FIRST: None, SECOND: None, THIRD: None}
    assert carried_over(figures, come) == {FIRST: Counted(5, 50)}
    assert carried_over(figures, {1: None}) == {1: Counted(5, 50)}


def test_sticky_entries_that_go_over_keep_the_time_that_is_left() -> None:
    sticky = Map(
        "sticky4", "typeof meta priority . ip saddr", "ct mark", 64, ("dynamic", "timeout"),
        timeout=300_000,
    )  # fmt: skip
    carried = Carried(sticky, {(7, "198.18.0.1"): Entry(FIRST, 1_500)}, [(7, "198.18.0.2")])
    assert transaction(Difference(sticky=(carried,))).change.splitlines() == [
        "delete element inet nftlbc sticky4 {",
        "    0:7 . 198.18.0.2",
        "}",
        "add element inet nftlbc sticky4 {",
        "    0:7 . 198.18.0.1 timeout 300s expires 1500ms : 0x80000001",
        "}",
    ]
    only_gone = Carried(sticky, gone=[(7, "198.18.0.2")])
    assert "add element" not in transaction(Difference(sticky=(only_gone,))).change


def test_a_map_with_nothing_to_add_is_not_added_to() -> None:
    change = MapChange(SLOTS, gone={1: FIRST})
    assert "add element" not in transaction(Difference(maps=(change,))).change
