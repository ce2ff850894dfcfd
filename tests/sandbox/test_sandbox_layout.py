"""The pure passes: a layout, the networks picked for it, the commands that build it."""

from ipaddress import ip_address, ip_network

import pytest
from hand_written import LAYOUT

from nftlbc.sandbox import Layout, Request, Sandbox
from nftlbc.sandbox.layout import plan_family
from nftlbc.sandbox.outages import outage_script
from nftlbc.sandbox.topology import Topology


@pytest.mark.parametrize("family", [4, 6])
def test_picked_networks_hold_no_address_of_the_layout(family):
    taken = {
        4: ("198.18.255.255", "198.19.0.1", "100.64.0.0", "100.66.1.1"),
        6: ("fd6e:6674:6c62::", "fd6e:6674:6c62:2::1"),
    }[family]
    layout = Layout(listeners=taken[:1], backends=taken[1:2], extra=taken[2:])
    plan = plan_family(layout, family)
    links = (
        plan.balancer_to_clients,
        plan.clients_to_balancer,
        plan.balancer_to_servers,
        plan.servers_to_balancer,
    )
    assert len(set(links)) == 4
    for address in map(ip_address, taken):
        assert address not in plan.clients[0]
        for link in links:
            assert address not in ip_network(f"{link}/{plan.link_prefix}", strict=False)
    assert not any(link in plan.clients[0] for link in links)
    assert plan == plan_family(layout, family)


def test_given_client_networks_are_used_and_kept_clear_of():
    layout = Layout(("10.3.0.1",), ("10.2.0.1",), clients=("198.18.0.0/15", "203.0.113.0/24"))
    plan = plan_family(layout, 4)
    assert [str(network) for network in plan.clients] == list(layout.clients)
    assert plan.balancer_to_clients not in plan.clients[0]
    assert Sandbox(layout).client_address(0) == "198.18.0.1"
    assert "route add local 203.0.113.0/24 dev lo\n" in Topology(layout).addresses("clients")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"listeners": ("127.0.0.1",)}, "cannot be routed"),
        ({"listeners": ("fe80::1",)}, "cannot be routed"),
        ({"listeners": ("::",)}, "cannot be routed"),
        ({"backends": ("224.0.0.1",)}, "cannot be routed"),
        ({"extra": ("255.255.255.255",)}, "cannot be routed"),
        ({"listeners": ("nonsense",)}, "nonsense"),
        ({"backends": ("10.3.0.1",)}, "10.3.0.1 is both"),
        ({"clients": ("10.3.0.0/24",)}, "10.3.0.1 is in the clients' network"),
        ({"clients": ("10.3.0.1/24",)}, "host bits"),
        ({"tcp_ports": (80800,)}, "port 80800"),
        ({"udp_ports": (0,)}, "port 0"),
    ],
)
def test_what_is_no_layout(fields, message):
    given = {"listeners": ("10.3.0.1",), "backends": ("10.2.0.1",), **fields}
    with pytest.raises(ValueError, match=message):
        Layout(**given)


def test_what_is_no_request():
    with pytest.raises(ValueError, match="no host"):
        Request("moon", None, "10.3.0.1", 80)
    with pytest.raises(ValueError, match="no protocol"):
        Request("clients", None, "10.3.0.1", 80, "icmp")
    with pytest.raises(ValueError, match="nothing to hold"):
        Request("clients", None, "10.3.0.1", 80, "sctp", hold=True)


def test_families_are_those_of_the_addresses():
    assert LAYOUT.families == (4, 6)
    only6 = Layout(("2001:db8::1",), ("2001:db8::2",))
    assert only6.families == (6,)
    assert "198." not in Topology(only6).addresses("clients")
    assert not any("ipv6" in path for path in _settings(Layout(("10.3.0.1",), ())))
    with pytest.raises(ValueError, match="no IPv4"):
        Sandbox(only6).client_address(0, 4)


def test_client_addresses_end_with_their_network():
    box = Sandbox(LAYOUT)
    assert box.client_address(65_533) == "198.18.255.254"
    for index in (-1, 65_534):
        with pytest.raises(ValueError, match="no address"):
            box.client_address(index)


def test_a_backend_costs_two_routes():
    topology = Topology(Layout(("10.3.0.1",), ("10.2.0.1", "10.2.0.2")))
    assert topology.addresses("servers").count("route add local 10.2.0.") == 2
    assert topology.addresses("balancer").count("route add 10.2.0.") == 2
    assert "10.2.0." not in topology.addresses("clients")


def test_only_the_balancer_forwards_and_is_limited_in_icmp():
    forward, limit = "net/ipv4/ip_forward", "net/ipv4/icmp_ratelimit"
    assert forward in _settings(LAYOUT, "balancer")
    assert forward not in _settings(LAYOUT, "clients")
    assert limit in _settings(LAYOUT, "servers")
    assert limit not in _settings(LAYOUT, "balancer")


def test_outages_name_host_or_port():
    script = outage_script({("10.2.0.1", None): "silent", ("2001:db8::1", 53): "refused"})
    assert "add element inet outages hosts4 { 10.2.0.1 : goto now-silent }" in script
    assert "add element inet outages ports6 { 2001:db8::1 . 53 : goto now-refused }" in script


def _settings(layout, host="clients"):
    return Topology(layout).settings(host, unlimited_icmp=False)
