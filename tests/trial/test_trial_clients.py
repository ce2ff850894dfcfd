"""Clients stand far enough apart to be told apart, and nowhere near the farms."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from nftlbc.farms import Backend, Balance, Farm, Key, Listener, Persistence
from nftlbc.trial.clients import clients_for

FARM = Farm("f", (Listener("203.0.113.1", "tcp", 80, 80),), (Backend("b", "10.0.0.1"),))


def known_by(prefix, family=4):
    keys = (Key("source-ip", prefix),)
    return replace(FARM, name=f"p{prefix}", persistence=Persistence(keys))


def cut(address, bits):
    return ip_network(f"{address}/{bits}", strict=False)


def test_clients_are_neighbours_where_whole_addresses_are_looked_at():
    clients = clients_for([FARM], 4, [])
    assert [clients.address(n) for n in range(3)] == ["198.18.0.1", "198.18.0.2", "198.18.0.3"]
    assert clients.neighbours == 1


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24, 28, 31])
def test_each_client_has_a_prefix_of_its_own(bits):
    clients = clients_for([FARM, known_by(bits)], 4, ["203.0.113.1", "10.0.0.1"])
    addresses = [clients.address(n) for n in range(clients.count)]
    assert clients.count >= 16
    assert len({cut(each, bits) for each in addresses}) == clients.count
    assert all(ip_address(each) in clients.network for each in addresses)


@pytest.mark.parametrize("bits", [16, 32, 48, 56, 64, 96])
def test_each_ipv6_client_has_a_prefix_of_its_own(bits):
    clients = clients_for([known_by(bits)], 6, ["2001:db8::1"])
    addresses = [clients.address(n) for n in range(clients.count)]
    assert len({cut(each, bits) for each in addresses}) == clients.count >= 1024


def test_a_neighbour_shares_the_prefix():
    clients = clients_for([known_by(24)], 4, [])
    for neighbour in range(3):
        assert cut(clients.address(5, neighbour), 24) == cut(clients.address(5), 24)
    assert clients.address(5, 1) != clients.address(5)


def test_the_shortest_prefix_of_any_farm_decides():
    by_hash = replace(FARM, balance=Balance("hash", (Key("source-ip", 20),)))
    clients = clients_for([known_by(24), by_hash], 4, [])
    assert clients.stride == 1 << 12


def test_a_prefix_that_no_clients_differ_in_is_left_to_itself():
    assert clients_for([known_by(1), known_by(24)], 4, []).stride == 256


def test_no_address_of_the_farms_is_a_client():
    taken = ["198.18.0.9", "198.19.7.7", "100.64.0.1"]
    clients = clients_for([FARM], 4, taken)
    assert not any(ip_address(each) in clients.network for each in taken)


def test_no_client_is_where_no_packet_may_come_from():
    for bits in range(4, 12):
        network = clients_for([known_by(bits)], 4, []).network
        for reserved in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"):
            assert not network.overlaps(ip_network(reserved))


def test_there_is_no_client_past_the_last():
    clients = clients_for([FARM], 4, [])
    with pytest.raises(IndexError):
        clients.address(clients.count)


def test_where_no_wide_network_is_free_clients_are_neighbours():
    everywhere = [f"{first}.99.0.1" for first in range(1, 224)]
    clients = clients_for([known_by(8)], 4, everywhere)
    assert clients.stride == 1
    assert clients.count >= 1024
