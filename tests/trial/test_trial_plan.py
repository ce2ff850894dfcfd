"""Which connections are made: as many as exactness takes, to every listener, the same each time."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from imagined import World, down

from nftlbc.farms import Backend, Balance, Farm, Key, Listener, Persistence
from nftlbc.table.pool import pool_of
from nftlbc.trial.choice import preference
from nftlbc.trial.plan import spread, targets_of

VIP, VIP6 = "203.0.113.1", "2001:db8::1"
HTTP = Listener(VIP, "tcp", 80, 80)
SOURCE = (Key("source-ip"),)


def farm(*weights, listeners=(HTTP,), **options):
    backends = tuple(
        Backend(f"b{n}", f"10.0.0.{n + 1}", 8080, weight)
        for n, weight in enumerate(weights or (1, 1))
    )
    return Farm("web", listeners, backends, **options)


def planned(each, **options):
    return World(each, **options).plan(each)


def counted(plan):
    return [each for wave in plan.waves for each in wave if each.counted]


# How many


@pytest.mark.parametrize(
    ("weights", "turn", "connections"),
    [
        ((1, 1, 1, 1), 4, 60),
        ((2, 1, 1, 1), 5, 60),
        ((4, 2, 2, 2), 5, 60),  # only the ratio counts
        ((5, 2, 1, 3), 11, 66),  # whole turns: 60 would not be exact
        ((60, 1), 61, 61),
        ((1000, 23, 1), 1024, 1024),  # one full turn, however long
    ],
)
def test_a_round_robin_makes_whole_turns(weights, turn, connections):
    plan = planned(farm(*weights))
    assert plan.turn == turn
    assert plan.counted == connections


def test_a_turn_that_is_too_long_is_not_made(monkeypatch):
    monkeypatch.setattr("nftlbc.trial.visits.LONGEST_TURN", 500)
    plan = planned(farm(1000, 23, 1))
    assert plan.turn == 1024
    assert plan.counted == 500


def test_a_random_balance_makes_enough_to_miss_its_smallest_share():
    assert planned(farm(balance=Balance("random"))).counted == 60
    assert planned(farm(1, 19, balance=Balance("random"))).counted > 250


def test_weights_of_those_that_take_nobody_are_no_part_of_the_turn():
    plan = planned(down(farm(5, 2, 1), "b0"))
    assert plan.turn == 3


def test_what_is_asked_for_is_rounded_to_whole_turns():
    assert planned(farm(1, 1, 1), aim=100).counted == 102
    assert planned(farm(1, 1, 1), aim=1).counted == 3


# Where


def test_every_listener_is_met_and_of_ranges_the_ends_and_the_middle():
    listeners = (
        HTTP,
        Listener(VIP, "udp", 1000, 2001),
        Listener(VIP, "tcp", 5, 6),
        Listener("203.0.113.2", "sctp", 3868, 3868),
        Listener(VIP6, "tcp", 80, 80),
    )
    both = replace(
        farm(listeners=listeners), backends=(*farm().backends, Backend("s", "2001:db8::2"))
    )
    plan = planned(both)
    assert [str(each) for each in plan.targets] == [
        f"{VIP}:80/tcp",
        f"{VIP}:1000/udp",
        f"{VIP}:1500/udp",
        f"{VIP}:2001/udp",
        f"{VIP}:5/tcp",
        f"{VIP}:6/tcp",
        "203.0.113.2:3868/sctp",
    ]
    assert {each.target for each in counted(plan)} == set(plan.targets)


def test_each_backend_is_met_at_each_listener():
    """Were the targets taken strictly in turn, two backends at two ports would each meet one."""
    listeners = (HTTP, Listener(VIP, "tcp", 443, 443, 8443))
    plan = planned(farm(1, 1, listeners=listeners))
    turns = {(number % 2, each.target.port) for number, each in enumerate(counted(plan))}
    assert turns == {(0, 80), (0, 443), (1, 80), (1, 443)}


def test_of_too_many_listeners_some_from_everywhere_are_tried():
    listeners = tuple(Listener(VIP, "tcp", port, port) for port in range(1, 5001))
    targets, left_out = targets_of(pool_of(farm(listeners=listeners), 4), 1000)
    assert len(targets) == 1000
    assert left_out == 4000
    assert targets[0].port == 1
    assert targets[-1].port == 4996


def test_more_targets_than_connections_are_all_met():
    listeners = tuple(Listener(VIP, "tcp", port, port) for port in range(1, 151))
    assert planned(farm(1, 1, 1, listeners=listeners)).counted == 150


def test_spread_takes_all_of_few():
    assert spread([1, 2, 3], 5) == [1, 2, 3]
    assert spread([1, 2, 3, 4], 2) == [1, 3]


# Who


def test_nobody_known_means_many_clients():
    assert len({each.source for each in counted(planned(farm()))}) == 60
    assert len({each.source for each in counted(planned(farm(), wanted=7))}) == 7


def test_no_two_connections_have_one_source_port():
    """Behind a masquerade all have one address: a port that had to be changed could get lost."""
    plan = planned(farm(persistence=Persistence(SOURCE), hairpin=True))
    ports = [each.source_port for wave in plan.waves for each in wave]
    assert len(set(ports)) == len(ports)


def test_the_balancer_is_a_client_and_a_backend_where_it_may():
    plan = planned(farm(hairpin=True))
    beside = [each for wave in plan.waves for each in wave if not each.counted]
    assert [(each.host, each.source) for each in beside] == [
        ("balancer", VIP),
        ("servers", "10.0.0.1"),
    ]
    assert all(each.host == "clients" for wave in planned(farm()).waves[:-1] for each in wave)


def test_sticky_clients_come_again_to_another_port_in_another_order():
    listeners = (HTTP, Listener(VIP, "tcp", 443, 443))
    first, *later = planned(farm(listeners=listeners, persistence=Persistence(SOURCE))).waves[:3]
    assert len(first) == 20
    assert len({each.key for each in first}) == 20
    for wave in later:
        assert {each.key for each in wave} == {each.key for each in first}
        assert [each.key for each in wave] != [each.key for each in first]
    ports = {each.key: each.target.port for each in first}
    assert all(each.target.port != ports[each.key] for each in later[0])


def test_a_known_prefix_is_visited_from_another_address_of_it():
    keys = (Key("source-ip", 24),)
    first, second, *_ = planned(farm(persistence=Persistence(keys))).waves
    addresses = {each.key: each.source for each in first}
    assert len(addresses) == len(first)
    assert all(each.source != addresses[each.key] for each in second)


def test_clients_that_are_known_by_their_target_come_to_the_same_one():
    keys = (Key("source-ip"), Key("destination-port"))
    listeners = (HTTP, Listener(VIP, "tcp", 443, 443))
    first, second, *_ = planned(farm(listeners=listeners, persistence=Persistence(keys))).waves
    targets = {each.key: each.target for each in first}
    assert all(targets[each.key] == each.target for each in second)


def test_clients_that_are_known_by_their_port_keep_it_and_come_over_tcp():
    keys = (Key("source-ip"), Key("source-port"))
    listeners = (HTTP, Listener(VIP, "udp", 53, 53))
    first, second, *_ = planned(farm(listeners=listeners, persistence=Persistence(keys))).waves
    ports = {each.key: each.source_port for each in first}
    assert len(second) == len(first)
    for each in second:
        assert each.source_port == ports[each.key]
        assert each.target.listener.protocol == "tcp"


@pytest.mark.parametrize("size", [3, 10, 30])
def test_no_more_clients_come_than_the_map_has_room_for(size):
    plan = planned(farm(1, 1, 1, persistence=Persistence(SOURCE, size=size)))
    assert len(plan.waves[0]) == {3: 3, 10: 9, 30: 21}[size]


def test_in_one_wave_no_two_clients_are_the_same_to_the_farm():
    """They would come at once, and both be new."""
    listeners = tuple(Listener(VIP, "tcp", port, port) for port in range(1, 40))
    for keys in (SOURCE, (Key("destination-port"),), (Key("source-ip", 8), Key("destination-ip"))):
        plan = planned(farm(listeners=listeners, persistence=Persistence(keys), hairpin=True))
        for wave in plan.waves:
            assert max(Counter(each.key for each in wave).values()) == 1
        assert {each.target for wave in plan.waves for each in wave} == set(plan.targets)


def test_hashed_clients_come_twice():
    plan = planned(farm(balance=Balance("hash", SOURCE)))
    assert [len(wave) for wave in plan.waves] == [60, 60, 1]


def test_a_pool_that_refuses_is_tried_at_every_target():
    listeners = tuple(Listener(VIP, "tcp", port, port) for port in range(1, 9))
    plan = planned(down(farm(listeners=listeners), "b0", "b1"))
    assert plan.judged == "refused"
    assert plan.counted == 8


# Again


def test_the_second_phase_brings_the_same_clients_and_new_ones_in_whole_turns():
    sticky = farm(1, 1, 1, persistence=Persistence(SOURCE))
    world = World(sticky, hold=True)
    plan = world.plan(sticky)
    world.judge(plan)
    less = down(sticky, "b0")
    world.load(less)
    again = world.again(plan, less)
    known = {each.key for each in plan.waves[0]}
    came = {each.key for each in again.waves[0]}
    assert known < came
    homeless = sum(world.memory[key] == 0 for key in known)
    assert homeless == 7
    new = homeless + len(came - known)
    assert new >= 20
    assert new % 2 == 0
    # Those and no others come once more, to see that they stay.
    assert {each.key for each in again.waves[1]} == {
        key for key in came if key not in known or world.memory[key] == 0
    }


def test_some_tcp_connections_stay_open_only_where_there_is_a_second_phase():
    listeners = (HTTP, Listener(VIP, "udp", 53, 53))
    each = farm(listeners=listeners)
    held = [c for c in counted(planned(each, hold=True)) if c.hold]
    assert len(held) == 30
    assert {c.target.listener.protocol for c in held} == {"tcp"}
    assert not any(c.hold for c in counted(planned(each)))


def test_the_same_farms_are_tried_the_same_way():
    for each in (farm(3, 2), farm(persistence=Persistence((Key("source-ip", 24),)))):
        assert planned(each) == planned(each)


# Which farms


def test_named_farms_come_first_then_one_of_each_kind_then_the_rest():
    farms = [replace(farm(), name=f"f{n}") for n in range(100)]
    farms[40] = replace(farms[40], balance=Balance("random"))
    order = list(preference(farms, {"f77"}))
    assert order[:3] == [77, 0, 40]
    assert sorted(order) == list(range(100))
    # The rest from all over the file: no gap of more than a quarter after ten of them.
    some = sorted(order[:12])
    assert max(b - a for a, b in pairwise(some)) <= 25
