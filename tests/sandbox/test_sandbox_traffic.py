"""Real connections through scripts written by hand."""

import time
from collections import Counter

import pytest
from hand_written import (
    BACKENDS,
    BACKENDS4,
    LAYOUT,
    LISTENERS,
    MASQUERADE,
    ROUND_ROBIN,
    backends,
    nft_versions,
    outcomes,
    to_farm,
)

from nftlbc.sandbox import Request, Sandbox

pytestmark = pytest.mark.kernel

FAMILIES = (4, 6)
PROTOCOLS = ("tcp", "udp", "sctp")


@pytest.mark.parametrize("nft", nft_versions())
def test_round_robin_is_exact_with_every_nft(nft):
    with Sandbox(LAYOUT, nft=nft) as box:
        assert box.load(ROUND_ROBIN).returncode == 0
        for family in FAMILIES:
            for protocol in PROTOCOLS:
                answers = box.ask([to_farm(family, protocol=protocol)] * 300)
                assert outcomes(answers) == ["answered"] * 300
                # The farm's numgen goes on from protocol to protocol, 300 at a time.
                assert backends(answers) == list(BACKENDS[family]) * 100
                assert {answer.backend_port for answer in answers} == {8080}


@pytest.mark.parametrize("nft", nft_versions())
def test_an_outage_and_the_sctp_guard_load_with_every_nft(nft):
    with Sandbox(LAYOUT, nft=nft) as box:
        box.stop_servers("10.2.0.1")
        box.stop_servers("10.2.0.1", 8080, outcome="silent")
        box.stop_servers("2001:db8:2::1", outcome="unreachable")
        box.start_servers("10.2.0.1")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_backend_sees_the_client(family, protocol):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        first, other, fixed = box.ask(
            [
                to_farm(family, protocol=protocol),
                to_farm(family, protocol=protocol, source=box.client_address(65_000, family)),
                to_farm(
                    family,
                    protocol=protocol,
                    source=box.client_address(1, family),
                    source_port=4321,
                ),
            ]
        )
        assert first.seen == box.client_address(0, family)
        assert other.seen == box.client_address(65_000, family)
        assert (fixed.seen, fixed.seen_port) == (box.client_address(1, family), 4321)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_masquerade_shows_the_balancer(family, protocol):
    with Sandbox(LAYOUT) as box:
        assert box.load(ROUND_ROBIN + MASQUERADE).returncode == 0
        [answer] = box.ask([to_farm(family, protocol=protocol)])
        assert (answer.outcome, answer.seen) == ("answered", box.balancer_address(family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_balancer_and_the_backends_are_clients_too(family, protocol):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        backend = BACKENDS[family][0]
        own = box.ask([to_farm(family, protocol=protocol, host="balancer")] * 3)
        hairpin = box.ask([to_farm(family, protocol=protocol, host="servers", source=backend)] * 3)
        assert backends(own) == backends(hairpin) == list(BACKENDS[family])
        assert {answer.seen for answer in own} == {LISTENERS[family]}
        assert {answer.seen for answer in hairpin} == {box.balancer_address(family)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_hairpin_without_masquerade_hears_nothing(family, protocol):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN + "flush chain inet nftlbc postrouting\n")
        hairpin = to_farm(family, protocol=protocol, host="servers", source=BACKENDS[family][0])
        assert outcomes(box.ask([hairpin] * 3, parallel=3, timeout=0.3)) == ["silent"] * 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refused_by_the_balancer(family, protocol):
    with Sandbox(LAYOUT, unlimited_icmp=True) as box:
        box.load(ROUND_ROBIN)
        refused = [
            to_farm(family, 81, protocol=protocol, host=host)
            for host in ("clients", "balancer")
            for _ in range(20)
        ]
        answers = box.ask(refused, timeout=1.0)
        assert outcomes(answers) == ["refused"] * 40
        assert all(answer.seconds < 0.5 for answer in answers)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("outcome", ["refused", "unreachable", "silent"])
@pytest.mark.parametrize("port", [None, 8080])
def test_a_backend_that_does_not_answer(family, protocol, outcome, port):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        three = [to_farm(family, protocol=protocol)] * 3
        box.stop_servers(BACKENDS[family][1], port, outcome=outcome)
        answers = box.ask(three, timeout=0.3)
        assert outcomes(answers) == ["answered", outcome, "answered"]
        if outcome == "silent":
            assert 0.3 <= answers[1].seconds < 0.6
        box.start_servers(BACKENDS[family][1])
        assert backends(box.ask(three)) == list(BACKENDS[family])


def test_an_outage_of_another_port_changes_nothing():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        box.stop_servers("10.2.0.1", 8081)
        assert outcomes(box.ask([to_farm()] * 3)) == ["answered"] * 3
        with pytest.raises(ValueError, match="no backend"):
            box.stop_servers("10.2.0.99")


def test_an_unanswered_address_is_silent_in_time():
    with Sandbox(LAYOUT) as box:
        # No script: the backends can be asked without the farm, others nowhere.
        start = time.monotonic()
        answers = box.ask(
            [
                Request("clients", None, "10.2.0.3", 8080),
                Request("clients", None, "10.2.0.3", 9999),
                Request("clients", None, "10.2.99.1", 8080),
                Request("clients", "10.99.0.1", "10.2.0.3", 8080),
            ],
            parallel=4,
            timeout=0.5,
        )
        assert outcomes(answers) == ["answered", "refused", "unreachable", "failed"]
        assert answers[3].error == "EADDRNOTAVAIL"
        assert time.monotonic() - start < 2


def test_a_dead_backend_leaves_the_round_robin_exact():
    """A source port used again would follow conntrack's entry to the dead backend."""
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        box.stop_servers("10.2.0.1", outcome="unreachable")
        answers = box.ask([to_farm()] * 6_000)
        assert backends(answers) == [None, "10.2.0.2", "10.2.0.3"] * 2_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_at_once_from_all_hosts(protocol):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        hosts = [("clients", None), ("balancer", None), ("servers", "10.2.0.2")] * 500
        requests = [to_farm(protocol=protocol, host=host, source=source) for host, source in hosts]
        answers = box.ask(requests, parallel=32)
        assert [answer.request for answer in answers] == requests
        assert Counter(outcomes(answers)) == {"answered": 1500}
        assert Counter(backends(answers)) == dict.fromkeys(BACKENDS4, 500)


def test_one_after_the_other_across_hosts():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        hosts = ["clients", "balancer", "balancer", "clients", "balancer", "clients"]
        answers = box.ask([to_farm(host=host) for host in hosts])
        assert backends(answers) == list(BACKENDS4) * 2


def test_speed():
    """A floor that a busy machine still reaches; an idle one does 5 000 and 14 000."""
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        start = time.monotonic()
        answers = box.ask([to_farm()] * 2_000)
        assert Counter(outcomes(answers)) == {"answered": 2_000}
        assert time.monotonic() - start < 4
