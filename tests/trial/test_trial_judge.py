"""Every promise that is broken is named, and nothing is blamed that is kept."""

from dataclasses import replace

import pytest
from imagined import World, down, got, named, tried, wrong

from nftlbc.farms import Backend, Balance, Farm, Forward, Key, Listener, Persistence
from nftlbc.sandbox import Answer
from nftlbc.table.pool import pool_of
from nftlbc.trial.checks import open_connections
from nftlbc.trial.judge import judge

VIP, VIP6 = "203.0.113.1", "2001:db8::1"
HTTP = Listener(VIP, "tcp", 80, 80)
SOURCE = (Key("source-ip"),)
STICKY = Persistence(SOURCE)
KINDS = {
    "round-robin": {},
    "random": {"balance": Balance("random")},
    "hash": {"balance": Balance("hash", SOURCE)},
    "consistent": {"balance": Balance("consistent", SOURCE, 251)},
    "least-connections": {"balance": Balance("least-connections")},
    "sticky": {"persistence": STICKY},
    "sticky random": {"persistence": STICKY, "balance": Balance("random")},
    "sticky hash": {"persistence": STICKY, "balance": Balance("hash", SOURCE)},
    "masquerade": {"forward": Forward("masquerade")},
    "snat": {"forward": Forward("snat", ("203.0.113.9",))},
    "hairpin": {"hairpin": True},
    "ports": {
        "listeners": (
            HTTP,
            Listener(VIP, "udp", 53, 53, 5353),
            Listener(VIP, "tcp", 1000, 2000),
        )
    },
    "backup": {"quorum": 3},
}


def farm(*weights, **options):
    backends = tuple(
        Backend(f"b{n}", f"10.0.0.{n + 1}", 8080 if n else None, weight)
        for n, weight in enumerate(weights or (2, 1))
    )
    spare = Backend("spare", "10.0.0.99", 8080, backup=True)
    options = {"listeners": (HTTP,), **options}
    return Farm("web", backends=(*backends, spare), **options)


def only(chosen, change):
    """Falsifies the chosen ones of a trial's answers."""
    return lambda connection, answer: (
        replace(answer, **change) if chosen(connection, answer) else answer
    )


def everything(connection, answer):
    return True


def nth(*numbers):
    """The connections of these numbers, in the order in which they are made."""
    count = iter(range(100_000))
    return lambda connection, answer: next(count) in numbers


# What is right


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [(1,), (2, 1), (5, 3, 2, 1)])
def test_what_the_table_does_is_what_the_file_promises(kind, weights):
    result = tried(farm(*weights, **KINDS[kind]))
    assert result.ok, result.checks
    assert sum(row.got for row in result.rows) == result.counted


@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_with_backends_down(kind):
    before = farm(5, 3, 2, 1, **KINDS[kind])
    world = World(before, hold=True)
    plan = world.plan(before)
    assert world.judge(plan).ok
    after = down(before, "b1", "b3")
    world.load(after)
    result = world.judge(world.again(plan, after))
    assert result.ok, result.checks
    assert got(result.rows)["b1"] == got(result.rows)["b3"] == 0
    assert result.counted >= 20


def test_ipv6_is_judged_like_ipv4():
    both = replace(
        farm(),
        listeners=(HTTP, Listener(VIP6, "tcp", 80, 80)),
        backends=(
            *farm().backends,
            Backend("six", "2001:db8:1::1"),
            Backend("6b", "2001:db8:1::2"),
        ),
        persistence=Persistence((Key("source-ip", 24, 64),)),
    )
    result = tried(both, family=6)
    assert result.ok
    assert got(result.rows) == {"six": 30, "6b": 30}


def test_exact_shares_are_due_to_the_connection():
    rows = tried(farm(2, 1)).rows
    assert [(row.name, row.got, row.low, row.high, row.how) for row in rows] == [
        ("b0", 40, 40, 40, "exact"),
        ("b1", 20, 20, 20, "exact"),
        ("spare", 0, 0, 0, "none"),
    ]
    assert rows[2].why == "backup"


def test_known_clients_are_due_where_they_are_known():
    rows = tried(farm(2, 1, **KINDS["sticky"])).rows
    assert [(row.name, row.got, row.low, row.high, row.due) for row in rows] == [
        ("b0", 28, 28, 28, 28),
        ("b1", 14, 14, 14, 14),
        ("spare", 0, 0, 0, 0),
    ]


@pytest.mark.parametrize(
    ("state", "why"), [("drain", "drain"), ("down", "down"), ("up", "weight 0")]
)
def test_who_gets_nothing_is_told_why(state, why):
    each = farm(1, 1)
    weight = 0 if state == "up" else 1
    second = replace(each.backends[1], state=state, weight=weight)
    result = tried(replace(each, backends=(each.backends[0], second)))
    assert result.ok
    assert (result.rows[1].got, result.rows[1].why) == (0, why)


# Shares


def reach(name, farm_):
    backend = next(each for each in farm_.backends if each.name == name)
    return {"backend": backend.address, "backend_port": backend.port or 80}


@pytest.mark.parametrize("kind", ["round-robin", "least-connections"])
def test_one_connection_too_many_is_noticed(kind):
    each = farm(2, 1, **KINDS[kind])
    result = tried(each, only(nth(0), reach("b1", each)))
    assert wrong(result) == {"shares"}
    assert named(result.checks, "shares").details == ("b0 got 39, not 40", "b1 got 21, not 20")
    assert [row.ok for row in result.rows] == [False, False, True]


def test_part_of_a_turn_is_judged_within_two(monkeypatch):
    monkeypatch.setattr("nftlbc.trial.visits.LONGEST_TURN", 100)
    each = farm(1000, 23, 1)
    result = tried(each)
    assert result.ok
    assert named(result.checks, "shares").ok is None
    assert "100 of a turn's 1024" in named(result.checks, "shares").text
    few = only(nth(0, 1, 2, 3), reach("b2", each))
    assert wrong(tried(each, few)) == {"shares"}


def test_weights_too_fine_for_slots_are_judged_within_their_error():
    each = farm(10_007, 5_003, 7)
    assert tried(each).ok
    assert wrong(tried(each, only(nth(*range(6)), reach("b2", each)))) == {"shares"}


def test_a_random_balance_that_forgets_a_backend_is_blamed():
    each = farm(1, 1, 1, balance=Balance("random"))
    to_b1 = only(lambda c, a: a.backend == "10.0.0.1", reach("b1", each))
    assert wrong(tried(each, to_b1)) == {"shares"}


def test_a_random_balance_is_not_blamed_for_a_little():
    each = farm(1, 1, 1, balance=Balance("random"))
    assert tried(each, only(nth(*range(4)), reach("b1", each))).ok


def test_a_backend_that_takes_nobody_may_not_be_met():
    each = farm(2, 1)
    result = tried(each, only(nth(3), reach("spare", each)))
    assert wrong(result) == {"shares", "takers"}
    assert result.rows[2].ok is False


@pytest.mark.parametrize("kind", ["hash", "consistent"])
def test_a_client_that_goes_elsewhere_than_its_hash_is_noticed(kind):
    each = farm(1, 1, **KINDS[kind])
    to_b0 = only(lambda c, a: c.counted and a.backend == "10.0.0.2", reach("b0", each))
    result = tried(each, to_b0)
    assert wrong(result) == {"hash", "shares"}
    assert "its hash says b1" in named(result.checks, "hash").details[0]


@pytest.mark.parametrize("kind", ["hash", "consistent"])
def test_the_balancers_own_hash_counts_too(kind):
    each = farm(1, 1, **KINDS[kind])
    to_other = only(lambda c, a: c.host == "balancer", reach("b0", each))
    to_this = only(lambda c, a: c.host == "balancer", reach("b1", each))
    verdicts = [wrong(tried(each, falsify)) for falsify in (to_other, to_this)]
    assert sorted(verdicts, key=len) == [set(), {"hash"}]


def test_two_backends_that_look_the_same_are_one_row():
    """At the listener with a port of its own, both would be met at one address and port."""
    listeners = (HTTP, Listener(VIP, "tcp", 443, 443, 8443))
    backends = (
        Backend("a", "10.0.0.1", 80),
        Backend("b", "10.0.0.1", 81, 2),
        Backend("c", "10.0.0.2", 80, 3),
    )
    result = tried(Farm("web", listeners, backends))
    assert result.ok
    assert got(result.rows) == {"a or b": 30, "c": 30}
    apart = tried(Farm("web", (HTTP,), backends))
    assert got(apart.rows) == {"a": 10, "b": 20, "c": 30}


# Answers


@pytest.mark.parametrize("outcome", ["refused", "silent", "unreachable", "reset", "failed"])
@pytest.mark.parametrize("kind", ["round-robin", "hash", "sticky"])
def test_whoever_is_not_answered_is_told(outcome, kind):
    lost = {"outcome": outcome, "backend": None, "seen": None}
    result = tried(farm(**KINDS[kind]), only(nth(5), lost))
    also = {"round-robin": {"shares"}, "hash": {"shares", "hash"}, "sticky": set()}[kind]
    assert wrong(result) == {"answered"} | also
    check = named(result.checks, "answered")
    assert check.text.startswith(f"1 of {result.counted} connections were not answered: 1 ")
    assert outcome in check.text
    assert "nftlbc explain FILE 198.18.0.6:" in check.idea


def test_a_balancer_that_is_not_served_is_told():
    lost = {"outcome": "silent", "backend": None, "seen": None}
    result = tried(farm(), only(lambda c, a: c.host == "balancer", lost))
    assert wrong(result) == {"balancer"}


def test_a_backend_that_is_not_served_is_told():
    lost = {"outcome": "silent", "backend": None, "seen": None}
    result = tried(farm(hairpin=True), only(lambda c, a: c.host == "servers", lost))
    assert wrong(result) == {"hairpin"}


def test_an_address_that_is_no_backend_is_told():
    result = tried(farm(), only(nth(2), {"backend": "10.9.9.9"}))
    assert wrong(result) == {"address", "shares"}


@pytest.mark.parametrize(("number", "port"), [(0, 80), (1, 81)])
def test_a_wrong_port_is_told(number, port):
    ports = {"backend_port": port + 1000}
    result = tried(farm(**KINDS["ports"]), only(nth(number), ports))
    assert wrong(result) == {"port"}


def test_a_port_of_the_backend_in_place_of_the_listeners_is_told():
    udp = only(lambda c, a: c.target.listener.protocol == "udp", {"backend_port": 8080})
    result = tried(farm(**KINDS["ports"]), udp)
    assert wrong(result) == {"port"}
    assert "not 5353" in named(result.checks, "port").details[0]


@pytest.mark.parametrize("kind", ["round-robin", "masquerade", "snat"])
def test_another_source_than_promised_is_told(kind):
    result = tried(farm(**KINDS[kind]), only(nth(7), {"seen": "192.0.2.77"}))
    assert wrong(result) == {"source"}
    assert "saw 192.0.2.77" in named(result.checks, "source").details[0]


def test_a_client_behind_a_masquerade_may_not_be_seen():
    result = tried(
        farm(**KINDS["masquerade"]),
        lambda connection, answer: replace(answer, seen=connection.source),
    )
    assert wrong(result) == {"source"}


def test_a_hairpin_must_replace_the_source():
    own = only(lambda c, a: c.host == "servers", {"seen": "10.0.0.1"})
    assert wrong(tried(farm(hairpin=True), own)) == {"source"}


# Refusals


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
def test_a_pool_without_takers_refuses(protocol):
    none = down(farm(listeners=(Listener(VIP, protocol, 80, 80),)), "b0", "b1", "spare")
    result = tried(none)
    assert result.ok
    assert named(result.checks, "refused").text.endswith("6 of 6 refused at once")
    assert all(row.got == 0 for row in result.rows)


@pytest.mark.parametrize(
    ("protocol", "outcome", "right"),
    [
        ("tcp", "silent", False),
        ("tcp", "unreachable", False),
        ("tcp", "reset", False),
        ("udp", "silent", True),
        ("udp", "unreachable", True),
        ("sctp", "silent", True),
        ("udp", "failed", False),
    ],
)
def test_how_a_refusal_may_look(protocol, outcome, right):
    none = down(farm(listeners=(Listener(VIP, protocol, 80, 80),)), "b0", "b1", "spare")
    result = tried(none, only(nth(1), {"outcome": outcome}))
    assert result.ok is right
    assert wrong(result) == (set() if right else {"refused"})


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_who_should_be_refused_may_not_be_answered(protocol):
    none = down(farm(listeners=(Listener(VIP, protocol, 80, 80),)), "b0", "b1", "spare")
    answered = {"outcome": "answered", "backend": "10.0.0.1", "backend_port": 80, "seen": "x"}
    assert wrong(tried(none, only(nth(0), answered))) == {"refused"}


# Persistence


@pytest.mark.parametrize("kind", ["sticky", "sticky random", "sticky hash"])
def test_a_client_that_meets_another_backend_is_told(kind):
    each = farm(1, 1, **KINDS[kind])
    first: dict = {}

    def stray(connection, answer):
        """One client, on its second visit."""
        before = first.setdefault(connection.key, answer.backend)
        visits[connection.key] = visits.get(connection.key, 0) + 1
        if connection.source == "198.18.0.4" and visits[connection.key] == 2:
            return replace(answer, **reach("b0" if before == "10.0.0.2" else "b1", each))
        return answer

    visits: dict = {}
    result = tried(each, stray)
    # By chance a client more or less is nothing to speak of.
    assert wrong(result) - {"shares"} == {"persistence"}
    check = named(result.checks, "persistence")
    count = len(result.plan.waves[0])
    assert check.text == f"persistence: {count - 1} of {count} clients met their backend again"


def test_persistence_that_remembers_nobody_is_told():
    """Round robin goes on by turns where clients should be known."""
    each = farm(1, 1, persistence=STICKY)
    world, memoryless = World(each), World(replace(each, persistence=None))
    plan = world.plan(each)
    made = [(c, memoryless.answer(c)) for wave in plan.waves for c in wave]
    result = judge(plan, made, {}, world.setting)
    assert "persistence" in wrong(result)


def test_nothing_is_blamed_where_the_timeout_may_have_passed():
    each = farm(1, 1, persistence=STICKY)
    world, memoryless = World(each), World(replace(each, persistence=None))
    plan = world.plan(each)
    made = [(c, memoryless.answer(c)) for wave in plan.waves for c in wave]
    result = judge(plan, made, {}, world.setting, certain=False)
    assert result.ok
    assert named(result.checks, "persistence").ok is None
    assert {row.ok for row in result.rows} == {None}


# The second phase


def second(before, after, falsify=None):
    world = World(before, hold=True)
    plan = world.plan(before)
    assert world.judge(plan).ok
    world.load(after)
    return world.judge(world.again(plan, after), falsify)


@pytest.mark.parametrize("kind", ["sticky", "sticky hash", "consistent"])
def test_whose_backend_is_gone_moves_and_nobody_else(kind):
    before = farm(1, 1, 1, **KINDS[kind])
    result = second(before, down(before, "b0"))
    check = named(result.checks, "moved")
    assert check.ok
    assert check.text.endswith("clients of b0 moved, nobody else's did")


def test_nobody_moves_where_nothing_goes():
    before = farm(1, 1, **KINDS["sticky"])
    assert named(second(before, before).checks, "moved").text == (
        "no client had to move, and none did"
    )


def test_a_sticky_client_that_moves_without_need_is_told():
    before = farm(1, 1, 1, **KINDS["sticky"])
    after = down(before, "b0")
    to_b2 = only(lambda c, a: c.counted and a.backend == "10.0.0.2", reach("b2", after))
    assert wrong(second(before, after, to_b2)) >= {"moved", "persistence"}


def test_a_consistent_client_that_moves_without_need_is_told():
    """Even where the new table says so: the promise is the file's, not the table's."""
    before = farm(1, 1, 1, **KINDS["consistent"])
    after = replace(down(before, "b0"), balance=Balance("hash", SOURCE))
    world = World(before)
    plan = world.plan(before)
    world.judge(plan)
    world.load(after)
    again = world.again(plan, after)
    claimed = replace(again, pool=pool_of(down(before, "b0"), 4))
    result = judge(claimed, world.made(again), world.memory, world.setting)
    assert wrong(result) == {"moved"}
    assert "which is still there" in named(result.checks, "moved").details[0]


def test_a_backend_that_is_down_may_not_be_met():
    before = farm(1, 1, 1)
    result = second(before, down(before, "b0"), only(nth(9), reach("b0", before)))
    assert wrong(result) == {"shares", "takers"}


def test_a_client_that_moves_on_and_on_is_told():
    before = farm(1, 1, 1, **KINDS["sticky"])
    after = down(before, "b0")
    visits: dict = {}

    def wander(connection, answer):
        visits[connection.key] = visits.get(connection.key, 0) + 1
        other = "b1" if answer.backend == "10.0.0.3" else "b2"
        return replace(answer, **reach(other, after)) if visits[connection.key] == 2 else answer

    assert "persistence" in wrong(second(before, after, wander))


def test_open_connections_must_go_on():
    each = farm()
    held = [
        replace(answer, connection=n)
        for n, (_, answer) in enumerate(World(each).made(World(each).plan(each)))
    ][:3]
    assert open_connections(held, held).ok
    assert open_connections(held, held).text == "open connections: 3 of 3 went on"
    cut = [held[0], replace(held[1], outcome="reset"), replace(held[2], backend="10.0.0.77")]
    check = open_connections(held, cut)
    assert check.ok is False
    assert check.text == "open connections: 1 of 3 went on"
    assert [detail.rsplit(": ", 1)[1] for detail in check.details] == ["reset", "now 10.0.0.77"]


def test_an_answer_is_never_needed_for_what_was_not_made():
    """Where a whole wave was silent, the next ones are not made."""
    each = farm(1, 1, **KINDS["sticky"])
    world = World(each)
    plan = world.plan(each)
    silent = [(c, Answer(c.request, "silent")) for c in plan.waves[0]]
    result = judge(plan, silent, {}, world.setting)
    assert result.connections == 20
    assert wrong(result) == {"answered", "shares"}
