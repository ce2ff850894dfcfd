"""The farms that a table was made from, read back from it."""

from __future__ import annotations

from dataclasses import replace

from farms_walk import Walk
from hypothesis import given, settings
from hypothesis import strategies as st
from namespaces import in_namespace, read

from nftlbc.farms import Farm
from nftlbc.nft import kernel, script
from nftlbc.nft.netlink import Contents, KernelChain, KernelMap, KernelTable
from nftlbc.plan.in_use import farm_numbers, in_use
from nftlbc.plan.recall import recall
from nftlbc.plan.remembering import overlay
from nftlbc.states import NOTHING, ByCheck, ByHand, Measured, Remembered
from nftlbc.table import recorded
from nftlbc.table.build import build
from nftlbc.table.model import OURS, Destination, Note, Table
from nftlbc.table.numbers import known_as

HAND = ByHand("drain", "root", 1_700_000_000)
RECORDS = (
    NOTHING,
    Remembered(HAND),
    Remembered(replace(HAND, state="let-go"), filed=1_600_000_000),
    Remembered(replace(HAND, state="disable"), ByCheck("down", 1_700_000_001, 2, 1, "refused")),
    Remembered(check=ByCheck("up", 1_700_000_002), measured=Measured(1.5, 20.0, 1)),
)


def as_in_the_kernel(table: Table) -> KernelTable:
    """The table as ``netlink.read`` would give it, as far as recalling looks."""
    maps = {
        each.name: KernelMap(
            each.name, 0, each.key, each.data, each.size, frozenset(each.flags), each.counter,
            0, None, True, Contents(dict(each.elements)),
        )
        for each in table.maps
    }  # fmt: skip
    chains = {
        each.name: KernelChain(each.name, 0, None, each.comment or None) for each in table.chains
    }
    return KernelTable(0, False, None, 0, maps, chains)


def known(farms: tuple[Farm, ...]) -> tuple[Farm, ...]:
    """What a table can know: no checks, no commands, no places; listeners in their order."""
    return tuple(
        replace(
            farm,
            checks=(),
            on_change=(),
            listeners=tuple(
                sorted(
                    farm.listeners,
                    key=lambda each: (recorded.place(each.address, each.first), each.protocol),
                )
            ),
        )
        for farm in sorted(farms, key=lambda each: each.name)
    )


def remembering(walk: Walk) -> tuple[Farm, ...]:
    return tuple(
        replace(
            farm,
            backends=tuple(
                replace(each, remembered=walk.random.choice(RECORDS)) for each in farm.backends
            ),
        )
        for farm in walk.farms
    )


@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_all_is_read_back(seed: int, steps: int) -> None:
    walk = Walk(seed)
    for _ in range(steps):
        walk.step()
    farms = remembering(walk)
    table = build(farms)
    there = as_in_the_kernel(table)
    found = recall(there)
    assert found.farms == known(farms)
    # What is recalled makes the same table.
    again = build(found.farms)
    assert again.maps == table.maps
    assert [(c.name, c.rules, c.hook, c.comment) for c in again.chains] == [
        (c.name, c.rules, c.hook, c.comment) for c in table.chains
    ]
    marks = {
        data.name: mark | 1 << 31
        for each in table.maps
        if each.name.startswith(("backends", "addresses"))
        for mark, data in each.elements.items()
        if isinstance(data, Destination) and isinstance(mark, int)
    }
    assert {f"{f.name}/{b.name}": found.mark(f, b) for f in farms for b in f.backends} == marks
    some = [farm.name for farm in farms[::2]]
    assert recall(there, some).farms == tuple(f for f in found.farms if f.name in some)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_file_takes_over_what_is_remembered(seed: int) -> None:
    """By address and port: a backend of another name is the same one, another address is not."""
    walk = Walk(seed)
    there = as_in_the_kernel(build(remembering(walk)))
    bare = walk.farms
    before = {
        (farm.name, each.address, each.port): each.remembered
        for farm in recall(there).farms
        for each in farm.backends
    }
    renamed = tuple(
        replace(farm, backends=tuple(replace(b, name=f"new-{b.name}") for b in farm.backends))
        for farm in bare
    )
    for farm in overlay(there, renamed, 1_800_000_000):
        for each in farm.backends:
            record = before[farm.name, each.address, each.port]
            if each.state == "up":
                record = replace(record, filed=None)
            # Without checks nobody would bring it back, and weights stand still.
            record = replace(record, check=record.check if farm.checks else None)
            record = replace(record, measured=record.measured if farm.moving else None)
            assert each.remembered == record
    moved = tuple(
        replace(farm, backends=tuple(replace(b, port=4321) for b in farm.backends)) for farm in bare
    )
    for farm in overlay(there, moved, 1_800_000_000):
        assert all(each.remembered == NOTHING for each in farm.backends)


def test_since_when_the_file_says_so() -> None:
    walk = Walk(5)
    (first, *rest) = walk.farms
    backend = replace(first.backends[0], state="up", remembered=Remembered(HAND))
    before = (replace(first, backends=(backend, *first.backends[1:])), *rest)
    there = as_in_the_kernel(build(before))
    drained = replace(backend, state="drain", remembered=NOTHING)
    after = (replace(first, backends=(drained, *first.backends[1:])), *rest)
    (now, *_) = overlay(there, after, 1_800_000_000)
    assert now.backends[0].remembered == Remembered(HAND, filed=1_800_000_000)


@in_namespace
def test_the_kernel_gives_it_back() -> None:
    walk = Walk(11, 12)
    for _ in range(20):
        walk.step()
    farms = remembering(walk)
    kernel.load(script.write(build(farms)))
    assert recall(read()).farms == known(farms)


def test_a_record_that_a_hand_has_put_in_disorder() -> None:
    """Statements that don't go together, or are none: the first that can be right counts."""
    (first, *rest) = Walk(3).farms
    table = as_in_the_kernel(build((first, *rest)))
    number = farm_numbers(table)[first.name]
    records = next(each for name, each in table.maps.items() if name.startswith("farms_"))
    assert records.contents is not None
    for key in [key for key in records.elements if isinstance(key, tuple) and key[0] == number]:
        del records.contents.elements[key]
    for text, quorum in (
        ("quorum 1; quorum 2", 1),
        ("quorum 2; hairpin; forward masquerade; forward snat; quorum 3", 2),
        ("forward snat to 192.0.2.1, 2001:db8::1; forward snat; quorum 2", 2),
        ("forward snat to 2001:db8::1; quorum 2", 2),
        ("} farm x { ; quorum 2; of a later version; { ; #; \\; \x1b[2J", 2),
    ):
        records.contents.elements[number, 0] = Note(text)
        (found,) = (each for each in recall(table).farms if each.name == first.name)
        assert found.quorum == quorum, text
        build([found])
        assert {each.name for each in found.backends} == {each.name for each in first.backends}


def test_an_element_that_names_nobody_takes_no_number() -> None:
    """Whoever is recalled has a number, whatever a hand has added under the same one."""
    farms = Walk(3).farms
    table = as_in_the_kernel(build(farms))
    (there,) = (each for name, each in table.maps.items() if name.startswith("addresses4"))
    (backends,) = (each for name, each in table.maps.items() if name.startswith("backends4"))
    assert backends.contents is not None
    mark = next(each for each in there.elements if each not in backends.elements)
    assert isinstance(mark, int)
    backends.contents.elements[mark & ~OURS] = Destination("10.9.9.14", 80, "nobody")
    numbers = in_use(table, farms).marks
    for farm in recall(table).farms:
        for each in farm.backends:
            assert known_as(farm.name, each.address, each.port) in numbers


def test_a_family_of_which_a_hand_took_the_listeners_away() -> None:
    """Its backends are in no pool: a loop that went on with them would miss their numbers."""
    walk = Walk(3)
    while not (both := [each for each in walk.farms if len(each.families) == 2]):
        walk.step()
    (farm, *_) = both
    farm = replace(
        farm,
        backends=tuple(replace(b, weight=n + 1) for n, b in enumerate(farm.backends)),
    )
    for gone in farm.families:
        table = as_in_the_kernel(build((farm,)))
        for name, each in table.maps.items():
            if name.startswith((f"services{gone}", f"ranges{gone}")) and each.contents:
                each.contents.elements.clear()
        (found,) = recall(table).farms
        assert found.families != farm.families
        stay = {b.name: b.weight for b in farm.backends if b.family != gone}
        assert {b.name: b.weight for b in found.backends} == stay
        numbers = in_use(as_in_the_kernel(build((found,))), (found,)).marks
        assert {known_as(found.name, b.address, b.port) for b in found.backends} == set(numbers)
