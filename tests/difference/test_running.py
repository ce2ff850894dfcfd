"""What a loop knows of the table without reading it again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from farms_walk import Walk
from namespaces import content, differences, in_namespace, read

from nftlbc.farms import Farm
from nftlbc.nft import kernel as changing
from nftlbc.nft import netlink
from nftlbc.nft.netlink import KernelTable
from nftlbc.plan import planning, recall
from nftlbc.plan.running import Running
from nftlbc.states import NOTHING, ByCheck, ByHand, Measured, Remembered
from nftlbc.table.numbers import known_as
from nftlbc.table.pool import pool_of


def _struck(farm: Farm, random: Random) -> Farm:
    """With one backend in another state or of another weight."""
    backends = list(farm.backends)
    which = random.randrange(len(backends))
    before = backends[which].remembered
    check = random.choice(
        (None, ByCheck("down", 7, 0, 0, "refused"), ByCheck("up", 9), ByCheck("drain", 8))
    )
    measured = before.measured
    if farm.moving:
        measured = Measured(round(random.uniform(0.1, 4), 3), random.random())
    hand = random.choice((None, None, None, before.hand, ByHand("disable", "root", 5)))
    record = Remembered(hand, check, measured)
    backends[which] = replace(backends[which], remembered=record if record != NOTHING else NOTHING)
    return replace(farm, backends=tuple(backends))


def _static(table: KernelTable) -> dict[str, object]:
    """The elements that do not change by themselves, and the digests of rules."""
    found: dict[str, object] = {
        name: dict(each.elements)
        for name, each in table.maps.items()
        if each.contents is not None and "dynamic" not in each.flags
    }
    for name, chain in table.chains.items():
        found[f"chain {name}"] = [rule.comment for rule in chain.rules]
    return found


@in_namespace
def test_it_is_what_reading_it_would_tell() -> None:
    """After each of many random changes, in part or as a whole: the kernel has what was wanted,
    and the memory says the same as the kernel."""
    walk, random = Walk(11, 10), Random(5)
    farms = tuple(
        replace(farm, slow_start=60_000 if n % 3 == 0 else 0, count_traffic=n % 2 == 0)
        for n, farm in enumerate(walk.farms)
    )
    planning.apply(farms)
    running = Running.of(read(), recall.recall(read()).farms)
    done: Counter[str] = Counter()
    for _ in range(120):
        names = random.sample(sorted(running.farms), random.randint(1, 2))
        some = [_struck(running.farms[name], random) for name in names]
        plan = running.plan(some)
        if plan is None:
            done["whole"] += 1
            all_farms = {**running.farms, **{each.name: each for each in some}}
            changing.send(planning.between(read(), list(all_farms.values())).transaction)
            running = Running.of(read(), all_farms.values())
        else:
            done["part" if plan.transaction.change else "nothing"] += 1
            if plan.transaction.change:
                changing.send(plan.transaction)
            running.changed(plan)
        there = read()
        known, is_ = _static(running.kernel), _static(there)
        assert known == is_, differences(known, is_)
        left = planning.between(there, list(running.farms.values()))
        assert left.empty, left.transaction
        marks = running.numbers.marks
        assert running.serving(marks.values()) == {
            marks[known_as(farm.name, each.address, each.port)]
            for farm in running.farms.values()
            for pool in (pool_of(farm, family) for family in farm.families)
            for each in (pool.backends[number] for number in pool.live)
        }
    assert done["part"] > 60, done
    assert done["whole"] > 0, done  # the first that is cut off, the last that is not


@in_namespace
def test_counters_go_along_as_they_are_now() -> None:
    """Not as they were when the table was read."""
    walk = Walk(3, 2)
    planning.apply(walk.farms)
    running = Running.of(read(), recall.recall(read()).farms)
    farm = next(each for each in running.farms.values() if each.backends[0].live)
    mark = recall.recall(read()).mark(farm, farm.backends[0])
    name = next(
        name
        for name, each in read().maps.items()
        if name.startswith(("backends", "addresses")) and mark in each.elements
    )
    before = content(read())
    element = netlink.counters(name, [mark])
    assert element
    assert element[0][1] == (0, 0)
    # As if packets had come since.
    data = read().maps[name].elements[mark]
    target = data.address if data.port is None else f"{data.address} . {data.port}"
    key = f"0x{mark:08x}"
    comment = f'comment "{data.name}"'
    changing.load(
        f"delete element inet nftlbc {name} {{ {key} }}\n"
        f"add element inet nftlbc {name} {{ {key} counter packets 42 bytes 2520 {comment} : {target} }}\n"
    )
    assert content(read()) == before
    backends = (
        replace(farm.backends[0], remembered=Remembered(check=ByCheck("down", 7, 0, 0, "x"))),
        *farm.backends[1:],
    )
    plan = running.plan([replace(farm, backends=backends)])
    if plan is None:  # nobody else lives: as a whole, from what is read now
        plan = planning.between(read(), [replace(farm, backends=backends)])
    changing.send(plan.transaction)
    assert read().maps[name].counters[mark & ~(1 << 31)] == (42, 2520)
