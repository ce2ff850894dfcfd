"""nft's ways, one by one, on tables of a few rules."""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hand_table import (
    HAIRPIN,
    HASH4,
    LISTENER4,
    LONG,
    OWN,
    RANDOM,
    SNAT,
    TABLE,
    TURN,
    address,
    listener,
    mark,
)

from nftlbc.explain.interpreter import Interpreter, InterpreterError, in_turn, walk
from nftlbc.explain.outcome import (
    Delivered,
    Drew,
    Entered,
    Hashed,
    Looked,
    NotOurs,
    Packet,
    Refused,
    Remembered,
    Spread,
    Sticky,
)
from nftlbc.table.model import (
    AddToMark,
    Chain,
    Counter,
    Destination,
    Dnat,
    Field,
    Forget,
    Goto,
    Hash,
    Hook,
    Jump,
    Lookup,
    Map,
    MatchMark,
    MatchProtocol,
    MatchSet,
    Reject,
    Remember,
    Rule,
    SetMark,
    Table,
    VerdictMap,
)

PACKET = Packet("10.5.0.1", 40_000, "10.3.0.1", 80, "tcp")
BACKENDS = Map(
    "backends",
    "type mark",
    "ipv4_addr . inet_service",
    sections={"a": {n: Destination(f"10.1.0.{n}", 8080, f"a/b{n}") for n in (1, 2, 3)}},
)
MARK = (Field("ct mark"),)


def table(*rules: Rule, maps: tuple[Map, ...] = (), **chains: tuple[Rule, ...]) -> Table:
    """Rules of the prerouting hook, and other chains by their names."""
    others = tuple(Chain(name, rules) for name, rules in chains.items())
    return Table((BACKENDS, *maps), (*others, Chain("entry", rules, Hook("prerouting", -100))))


def marked(number: int) -> AddToMark:
    return AddToMark(number)


TO = Dnat(4, "backends", with_port=True)


def where(made: Table, packet: Packet = PACKET) -> str:
    outcome = walk(made, packet).outcome
    return outcome.name if isinstance(outcome, Delivered) else type(outcome).__name__


def test_jump_comes_back_to_the_next_rule() -> None:
    made = table((Jump("a"), marked(2)), (marked(1),), (TO,), a=((MatchProtocol(("udp",)),),))
    # What follows the jump in its own rule is not run.
    assert where(made) == "a/b1"


def test_goto_comes_back_to_the_callers_caller() -> None:
    made = table(
        (Jump("a"),),
        (TO,),
        a=((marked(1), Goto("b")), (marked(2),)),
        b=((MatchProtocol(("udp",)),),),
    )
    assert where(made) == "a/b1"


def test_goto_from_a_base_chain_comes_back_to_nothing() -> None:
    made = table((marked(1), Goto("a")), (TO,), a=((MatchProtocol(("udp",)),),))
    assert where(made) == "NotOurs"


def test_a_rule_ends_where_a_lookup_finds_nothing() -> None:
    empty = Map("empty", "typeof ct mark", "ct mark")
    made = table((SetMark(Lookup("empty", MARK)), TO), (marked(3), TO), maps=(empty,))
    assert where(made) == "a/b3"


def test_a_missing_backend_ends_the_rule_and_not_the_hook() -> None:
    assert where(table((marked(4), TO), (Reject(),))) == "Refused"


def test_a_delivered_packet_sees_no_more_rules() -> None:
    assert where(table((marked(1), TO), (Reject(),))) == "a/b1"


def test_a_field_of_the_other_family_ends_the_rule() -> None:
    six = Hash((Field("ip6 saddr"),), 3, 1)
    assert where(table((SetMark(six), Reject()), (marked(1), TO))) == "a/b1"
    four = Packet("2001:db8::1", 1, "2001:db8::2", 80, "tcp")
    assert where(table((marked(1), TO), (Reject(),)), four) == "Refused"


def test_reject_by_protocol() -> None:
    made = table((Reject(tcp_reset=True),), (Reject(),))
    assert walk(made, PACKET).outcome == Refused("tcp reset")
    udp = Packet("10.5.0.1", 40_000, "10.3.0.1", 80, "udp")
    assert walk(made, udp).outcome == Refused("icmp")


def test_marks_are_matched_under_their_mask() -> None:
    made = table((marked(0x41),), (MatchMark(0xF0, 0x40), MatchMark(1, 1), Reject()))
    assert where(made) == "Refused"
    assert where(table((marked(0x41),), (MatchMark(0xFF, 0x40), Reject()))) == "NotOurs"


def test_dnat_masks_the_mark_for_its_lookup_only() -> None:
    made = table((marked(0x40000001), Dnat(4, "backends", True, mask=0xBFFFFFFF)))
    outcome = walk(made, PACKET).outcome
    assert outcome == Delivered("a/b1", 0x40000001, "10.1.0.1", 8080, "backend")


@pytest.mark.parametrize(("port", "found"), [(79, 0), (80, 1), (90, 1), (91, 0), (99, 0), (100, 2)])
def test_intervals_hold_both_their_ends(port: int, found: int) -> None:
    ranges = Map(
        "ranges",
        "type ipv4_addr . inet_proto . inet_service",
        "verdict",
        flags=("interval",),
        sections={
            "a": {("10.3.0.1", "tcp", (100, 200)): "second", ("10.3.0.1", "tcp", (80, 90)): "first"}
        },
    )
    made = table(
        (VerdictMap("ranges", LISTENER4),),
        maps=(ranges,),
        first=((marked(1), TO),),
        second=((marked(2), TO),),
    )
    names = {0: "NotOurs", 1: "a/b1", 2: "a/b2"}
    assert where(made, Packet("10.5.0.1", 1, "10.3.0.1", port, "tcp")) == names[found]
    assert where(made, Packet("10.5.0.1", 1, "10.3.0.1", port, "udp")) == "NotOurs"
    assert where(made, Packet("10.5.0.1", 1, "10.3.0.2", port, "tcp")) == "NotOurs"


def test_sets_are_matched() -> None:
    clients = Map("clients", "typeof ip saddr", None, sections={"a": {"10.5.0.1": None}})
    made = table((MatchSet("clients", (Field("ip saddr"),)), Reject()), maps=(clients,))
    assert where(made) == "Refused"
    assert where(made, Packet("10.5.0.2", 1, "10.3.0.1", 80, "tcp")) == "NotOurs"


# What the kernel remembers

SOURCE = (Field("ip saddr"),)


def sticky_map(size: int = 2) -> Map:
    return Map("sticky", "typeof ip saddr", "ct mark", size, ("dynamic", "timeout"))


def test_update_does_not_overwrite_and_delete_does() -> None:
    sticky: Sticky = {"sticky": {"10.5.0.1": 1}}
    remember = Remember("sticky", SOURCE, 1000)
    refreshed = table((marked(2),), (remember,), maps=(sticky_map(),))
    walk(refreshed, PACKET, sticky=sticky)
    assert sticky == {"sticky": {"10.5.0.1": 1}}
    replaced = table((marked(2),), (Forget("sticky", SOURCE),), (remember,), maps=(sticky_map(),))
    walk(replaced, PACKET, sticky=sticky)
    assert sticky == {"sticky": {"10.5.0.1": 2}}


def test_forgetting_what_was_not_there_ends_nothing() -> None:
    made = table((Forget("sticky", SOURCE), marked(1), TO), maps=(sticky_map(),))
    assert where(made) == "a/b1"


def test_a_full_map_ends_the_rule() -> None:
    sticky: Sticky = {"sticky": {"10.5.0.7": 1, "10.5.0.8": 1}}
    made = table(
        (marked(1), Remember("sticky", SOURCE, 1000), Reject()), (TO,), maps=(sticky_map(),)
    )
    outcome = walk(made, PACKET, sticky=sticky)
    assert outcome.outcome == Delivered("a/b1", 1, "10.1.0.1", 8080, "backend")
    assert [step.event for step in outcome.steps if isinstance(step.event, Remembered)] == [
        Remembered("sticky", "10.5.0.1", 1, "map full")
    ]
    assert len(sticky["sticky"]) == 2
    # Who is in it is refreshed all the same.
    known = Packet("10.5.0.7", 1, "10.3.0.1", 80, "tcp")
    assert walk(made, known, sticky=sticky).outcome == Refused("icmp")


def test_a_known_client_keeps_its_backend_and_a_dead_one_is_left() -> None:
    interpreter, sticky, draw = Interpreter(TABLE), {}, in_turn()
    packets = [Packet(f"10.5.0.{n}", 1, listener(TURN), 80, "tcp") for n in (1, 2, 3, 1, 2, 3)]
    names = [interpreter.walk(each, sticky=sticky, draw=draw).outcome for each in packets]
    assert [getattr(each, "name", None) for each in names] == [
        *("turn/b1", "turn/b2", "turn/b1"),
        *("turn/b1", "turn/b2", "turn/b1"),
    ]
    sticky["sticky4"][TURN, "10.5.0.1"] = mark(TURN, 9)  # there is no such backend
    moved = interpreter.walk(packets[0], sticky=sticky, draw=draw).outcome
    assert isinstance(moved, Delivered)
    assert moved.name == "turn/b3"
    assert sticky["sticky4"][TURN, "10.5.0.1"] == mark(TURN, 3)


# Draws


def test_a_draw_gives_the_slot() -> None:
    packet = Packet("10.5.0.1", 1, listener(RANDOM), 8055, "udp")
    outcomes = [walk(TABLE, packet, draw=lambda _, n=n: n).outcome for n in range(3)]  # type: ignore[misc]
    assert [each.name for each in outcomes if isinstance(each, Delivered)] == [
        *("random/b1", "random/b2", "random/b2")
    ]
    assert {each.port for each in outcomes if isinstance(each, Delivered)} == {8055}


def test_without_a_draw_all_slots_are_followed() -> None:
    it = walk(TABLE, Packet("10.5.0.1", None, listener(TURN), 80, "tcp"))
    assert isinstance(it.outcome, Spread)
    assert [(each.name, each.share) for each in it.outcome.shares] == [
        ("turn/b1", Fraction(1, 2)),
        ("turn/b2", Fraction(1, 4)),
        ("turn/b3", Fraction(1, 4)),
    ]
    # Up to the draw the steps are one; from there each share has its own.
    assert isinstance(it.steps[-2].event, Drew)
    assert it.steps[-1].event == Entered("pick", "jump")
    assert all(isinstance(each.steps[0].event, Looked) for each in it.outcome.shares)


def test_a_spread_changes_nothing_that_is_remembered() -> None:
    sticky: Sticky = {}
    walk(TABLE, Packet("10.5.0.1", None, listener(TURN), 80, "tcp"), sticky=sticky)
    assert sticky == {}


def test_shares_are_what_draws_in_turn_give() -> None:
    it = walk(TABLE, Packet("10.5.0.1", None, listener(OWN), 443, "udp"))
    assert isinstance(it.outcome, Spread)
    interpreter, draw = Interpreter(TABLE), in_turn()
    drawn = Tally(
        interpreter.walk(Packet("10.5.0.1", n, listener(OWN), 443, "udp"), draw=draw).outcome
        for n in range(1, 101)
    )
    assert {each.outcome: each.share for each in it.outcome.shares} == {
        outcome: Fraction(count, 100) for outcome, count in drawn.items()
    }


def test_all_slots_of_one_backend_are_no_spread() -> None:
    slots = Map("slots", "typeof ct mark", "ct mark", sections={"a": {7: 1, 8: 1}})
    made = table(
        (SetMark(Counter("inc", 2, 7)),), (SetMark(Lookup("slots", MARK)),), (TO,), maps=(slots,)
    )
    assert where(made) == "a/b1"


def test_a_slot_without_a_backend_goes_on_with_the_next_rule() -> None:
    slots = Map("slots", "typeof ct mark", "ct mark", sections={"a": {7: 1, 9: 1}})
    made = table(
        (SetMark(Counter("inc", 4, 7)),),
        (SetMark(Lookup("slots", MARK)), TO),
        (Reject(),),
        maps=(slots,),
    )
    outcome = walk(made, PACKET).outcome
    assert isinstance(outcome, Spread)
    assert [each.share for each in outcome.shares] == [Fraction(1, 2), Fraction(1, 2)]
    assert outcome.shares[1].outcome == Refused("icmp")


def test_an_undecided_mark_is_decided_where_it_is_read() -> None:
    made = table(
        (SetMark(Counter("inc", 4, 0)),),
        (MatchMark(3, 3), Reject()),
        (MatchMark(1, 1), marked(2), TO),
    )
    outcome = walk(made, PACKET).outcome
    assert isinstance(outcome, Spread)
    assert {each.outcome: each.share for each in outcome.shares} == {
        Refused("icmp"): Fraction(1, 4),
        Delivered("a/b3", 3, "10.1.0.3", 8080, "backend"): Fraction(1, 4),
        NotOurs(): Fraction(1, 2),
    }


def test_a_hash_needs_the_clients_port_or_spreads() -> None:
    spread = walk(TABLE, Packet("10.5.0.1", None, listener(HAIRPIN), 80, "udp")).outcome
    assert isinstance(spread, Spread)
    assert [each.share for each in spread.shares] == [Fraction(4, 7), Fraction(3, 7)]
    sure = walk(TABLE, Packet("10.5.0.1", 4711, listener(HAIRPIN), 80, "udp"))
    assert isinstance(sure.outcome, Delivered)
    assert any(isinstance(step.event, Hashed) for step in sure.steps)


def test_a_memory_that_needs_the_clients_port_knows_nobody_without() -> None:
    it = walk(TABLE, Packet("10.5.0.1", None, listener(LONG), 80, "udp"))
    assert Looked("sticky-long", None, False) in [step.event for step in it.steps]
    assert isinstance(it.outcome, Spread)


def test_a_hash_does_not_ask_for_a_draw() -> None:
    def draw(_: Counter) -> int:
        raise AssertionError

    assert isinstance(
        walk(TABLE, Packet("10.5.0.1", 1, listener(HASH4), 80, "tcp"), draw=draw).outcome, Delivered
    )


# Sources


@pytest.mark.parametrize(
    ("farm", "client", "port", "source"),
    [
        (HASH4, "10.5.0.1", 80, "kept"),
        (OWN, "10.5.0.1", 443, "masqueraded"),
        (SNAT, "10.5.0.1", 80, "10.9.9.10"),
        (HAIRPIN, "10.5.0.1", 80, "kept"),
        (HAIRPIN, address(HAIRPIN, 2), 80, "masqueraded"),
        (HAIRPIN, address(HASH4, 2), 80, "kept"),
    ],
)
def test_whose_address_the_backend_sees(farm: int, client: str, port: int, source: str) -> None:
    packet = Packet(client, 1, listener(farm), port, "udp")
    outcome = walk(TABLE, packet, draw=lambda _: 0).outcome
    assert isinstance(outcome, Delivered)
    assert outcome.source == source
    assert outcome.backend_mark == mark(farm, int(outcome.name[-1]))


@pytest.mark.parametrize(
    ("farm", "port", "to", "whose"),
    [(OWN, 443, 8443, "listener"), (HASH4, 80, 8080, "backend"), (RANDOM, 9001, 9001, "client")],
)
def test_whose_port_it_is(farm: int, port: int, to: int, whose: str) -> None:
    packet = Packet("10.5.0.1", 1, listener(farm), port, "udp")
    outcome = walk(TABLE, packet, draw=lambda _: 0).outcome
    assert isinstance(outcome, Delivered)
    assert (outcome.port, outcome.port_of) == (to, whose)


def test_the_balancers_own_packets_come_by_output() -> None:
    own = Packet("10.3.0.1", 1, "10.3.0.1", 80, "tcp", "output")
    made = table((marked(1), TO))
    assert where(made, own) == "NotOurs"
    assert isinstance(walk(TABLE, own).outcome, Spread)


# What no kernel would have


@dataclass(frozen=True)
class Unknown:
    pass


@pytest.mark.parametrize(
    "made",
    [
        table((Unknown(),)),  # type: ignore[arg-type]
        table((Jump("nowhere"),)),
        table((VerdictMap("nowhere", LISTENER4),)),
        table((Goto("a"),), a=((Goto("b"),),), b=((Goto("a"),),)),
        table((Jump("a"),), a=((Jump("a"),),)),
        table((MatchSet("backends", (Field("th sport"),)),)),
    ],
    ids=["statement", "chain", "map", "circle", "depth", "client's port"],
)
def test_a_table_that_no_kernel_has_is_our_mistake(made: Table) -> None:
    with pytest.raises(InterpreterError):
        walk(made, Packet("10.5.0.1", None, "10.3.0.1", 80, "tcp"))


def test_sixteen_jumps_are_allowed() -> None:
    chains = {f"c{n}": ((Jump(f"c{n + 1}"),),) for n in range(15)}
    made = table((Jump("c0"),), (marked(1), TO), **chains, c15=((MatchProtocol(("udp",)),),))
    assert where(made) == "a/b1"


def test_what_is_remembered_is_farm_and_client() -> None:
    sticky: Sticky = {}
    walk(TABLE, Packet("10.5.0.9", 1, listener(TURN), 80, "tcp"), sticky=sticky, draw=lambda _: 0)
    assert sticky == {"sticky4": {(TURN, "10.5.0.9"): mark(TURN, 1)}}
