"""Connections that stay open, and traffic in the background, while tables change."""

import time
from collections import Counter

import pytest
from hand_written import BACKENDS4, LAYOUT, ROUND_ROBIN, backends, outcomes, to_farm

from nftlbc.sandbox import Sandbox

pytestmark = pytest.mark.kernel

RELOAD = "flush table inet nftlbc\n" + ROUND_ROBIN
# New connections are refused; those that are open are conntrack's matter.
ALL_REFUSED = "flush chain inet nftlbc farm4\nadd rule inet nftlbc farm4 goto refuse\n"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_held_connections_survive_a_reload(protocol, family):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        request = to_farm(family, protocol=protocol, hold=True)
        local = to_farm(family, protocol=protocol, hold=True, host="balancer")
        held = box.ask([request, request, local], parallel=3)
        assert all(answer.connection is not None for answer in held)
        for _ in range(3):
            assert box.load(RELOAD).returncode == 0
            later = box.talk(held)
            assert outcomes(later) == ["answered"] * 3
            assert backends(later) == backends(held)
            assert [answer.seen_port for answer in later] == [answer.seen_port for answer in held]
        assert outcomes(box.listen(held, timeout=0.1)) == ["silent"] * 3


def test_new_connections_follow_the_new_table_and_old_ones_the_old():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        held = box.ask([to_farm(hold=True)] * 3)
        assert box.load(ALL_REFUSED).returncode == 0
        assert outcomes(box.ask([to_farm()])) == ["refused"]
        assert backends(box.talk(held)) == list(BACKENDS4)


def test_a_held_connection_is_reset_once():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        held = box.ask([to_farm(hold=True)] * 3)
        box.stop_servers("10.2.0.2")
        assert outcomes(box.listen(held, timeout=0.1)) == ["silent"] * 3
        later = box.talk(held)
        assert outcomes(later) == ["answered", "reset", "answered"]
        assert later[1].connection is None
        assert box.talk(held)[1].error == "not held"
        with pytest.raises(ValueError, match="not a held connection"):
            box.talk(later)


def test_a_held_udp_flow_outlives_its_errors():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        held = box.ask([to_farm(hold=True, protocol="udp")])
        for outcome in ("refused", "silent", "unreachable"):
            box.stop_servers("10.2.0.1", outcome=outcome)
            assert outcomes(box.talk(held, timeout=0.2)) == [outcome]
        box.start_servers("10.2.0.1")
        assert backends(box.talk(held)) == ["10.2.0.1"]


@pytest.mark.parametrize(("reset", "state"), [(True, "CLOSE"), (False, "TIME_WAIT")])
def test_release_by_reset_or_in_order(reset, state):
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        held = box.ask([to_farm(hold=True)] * 3)
        box.release(held[:1], reset=reset)
        assert outcomes(box.talk(held)) == ["failed", "answered", "answered"]
        known = box.run("balancer", ["cat", "/proc/net/nf_conntrack"]).stdout
        if known:  # not every kernel has this file
            assert f" {state} " in known
            assert known.count("ESTABLISHED") == 2
        box.release()
        assert outcomes(box.talk(held)) == ["failed"] * 3


def test_traffic_goes_on_while_the_table_is_replaced():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        tcp = box.start([to_farm(), to_farm(source=box.client_address(5))], parallel=8)
        udp = box.start([to_farm(6, protocol="udp")], parallel=2)
        for _ in range(20):
            assert box.load(RELOAD).returncode == 0
        answers = tcp.stop()
        assert len(answers) > 100
        assert Counter(outcomes(answers)) == {"answered": len(answers)}
        assert {answer.seen for answer in answers} == {
            box.client_address(0),
            box.client_address(5),
        }
        others = udp.stop()
        assert Counter(outcomes(others)) == {"answered": len(others)}


def test_traffic_once_and_traffic_that_fails_at_once():
    with Sandbox(LAYOUT) as box:
        box.load(ROUND_ROBIN)
        once = box.start([to_farm()] * 30, repeat=False)
        nowhere = box.start([to_farm(source="192.0.2.77")], parallel=4)
        time.sleep(0.3)
        assert backends(once.stop()) == list(BACKENDS4) * 10
        assert set(outcomes(nowhere.stop())) == {"failed"}
        with pytest.raises(ValueError, match="one host"):
            box.start([to_farm(), to_farm(host="servers")])
