"""Forwarding, addresses, routes and rp_filter: each broken for real, found, and mended."""

from __future__ import annotations

from pathlib import Path

import pytest
from ground import HEALTHY, WEB, Report, examined, inside, mended

pytestmark = pytest.mark.kernel

WEB4 = """\
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
}
"""
WEB6 = """\
farm web {
    listen 2001:db8::10 tcp port 80
    backend app1 2001:db8:2::11 port 8080
}
"""


def test_a_healthy_machine_has_nothing_wrong() -> None:
    assert examined(WEB).wrong == {}


def test_a_healthy_machine_without_farms() -> None:
    report = examined("")
    assert report.wrong == {}
    assert not report.all("listener-address")
    assert not report.all("backend-route")


@pytest.mark.parametrize("farms", [WEB4, ""])
def test_ip_forward_off(farms: str) -> None:
    before, after = mended(farms, "ip-forward", "echo 0 > /proc/sys/net/ipv4/ip_forward")
    assert before.wrong == {"ip-forward": "problem"}
    assert before.the("ip-forward")["commands"] == ["sysctl -w net.ipv4.ip_forward=1"]
    assert "90-nftlbc.conf" in before.the("ip-forward")["lasting"][0]
    assert after.wrong == {}


@pytest.mark.parametrize("device", ["clients", "servers"])
def test_one_interface_does_not_forward(device: str) -> None:
    """The kernel asks the interface where a packet comes in: clients' by one, answers by both."""
    off = f"echo 0 > /proc/sys/net/ipv4/conf/{device}/forwarding"
    before, after = mended(WEB4, "ip-forward", off)
    assert before.wrong == {"ip-forward": "problem"}
    assert before.the("ip-forward")["affects"] == [device]
    assert after.wrong == {}


def test_forwarding_by_interface_is_enough() -> None:
    report = examined(
        WEB4,
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
        "echo 1 > /proc/sys/net/ipv4/conf/clients/forwarding",
        "echo 1 > /proc/sys/net/ipv4/conf/servers/forwarding",
    )
    assert report.wrong == {}


def test_an_interface_that_has_no_part_may_be_off() -> None:
    aside = (
        "ip link add aside type veth peer name aside-far && ip link set aside up &&"
        " ip address add 198.51.100.1/24 dev aside &&"
        " echo 0 > /proc/sys/net/ipv4/conf/aside/forwarding"
    )
    assert examined(WEB4, aside).wrong == {}


def test_an_interface_with_a_dot_in_its_name() -> None:
    rename = (
        "ip link set servers down && ip link set servers name servers.7 &&"
        " ip link set servers.7 up && ip address add 2001:db8:2::1/64 dev servers.7 nodad"
    )
    off = "echo 0 > /proc/sys/net/ipv4/conf/servers.7/forwarding"
    before, after = mended(WEB4, "ip-forward", rename, off)
    assert before.wrong == {"ip-forward": "problem"}
    assert after.wrong == {}


def test_ipv6_forwarding_off() -> None:
    off = "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding"
    before, after = mended(WEB6, "ipv6-forward", off)
    assert before.wrong == {"ipv6-forward": "problem"}
    assert after.wrong == {}
    assert examined(WEB4, off).wrong == {}
    assert examined("", off).wrong == {"ipv6-forward": "warning"}


def test_ipv6_forwarding_that_is_off_for_one_interface_does_no_harm() -> None:
    """Unlike IPv4, the kernel asks only net.ipv6.conf.all (seen with packets on Linux 6.18)."""
    off = "echo 0 > /proc/sys/net/ipv6/conf/clients/forwarding"
    assert examined(WEB6, off).wrong == {}


def test_turning_ipv6_forwarding_on_does_not_lose_an_advertised_default_route() -> None:
    """With forwarding on the kernel forgets such a route and listens to no other."""
    advertised = (
        "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding;"
        "echo 1 > /proc/sys/net/ipv6/conf/clients/accept_ra;"
        "ip -6 route delete default;"
        "ip -6 route add default via 2001:db8:1::1 proto ra"
    )
    before, after = mended(WEB6, "ipv6-forward", advertised)
    commands = before.the("ipv6-forward")["commands"]
    assert commands == [
        "sysctl -w net.ipv6.conf.clients.accept_ra=2",
        "sysctl -w net.ipv6.conf.all.forwarding=1",
    ]
    assert after.wrong == {}


def test_a_listener_in_the_clients_network_that_nobody_has() -> None:
    farms = WEB4.replace("203.0.113.10", "192.0.2.10")
    before, after = mended(farms, "listener-address")
    assert before.wrong == {"listener-address": "problem"}
    found = before.the("listener-address")
    assert found["commands"] == ["ip address add 192.0.2.10/32 dev clients"]
    assert "farm web" in found["what"]
    assert after.wrong == {}


@pytest.mark.parametrize("address", ["198.51.100.10", "2001:db8:9::10"])
def test_a_listener_that_only_a_router_could_send_here(address: str) -> None:
    """The farm works where it does: packets are translated before they are routed."""
    farms = (WEB6 if ":" in address else WEB4).replace("203.0.113.10", address)
    farms = farms.replace("2001:db8::10", address)
    before, after = mended(farms, "listener-address")
    assert before.wrong == {"listener-address": "warning"}
    assert before.the("listener-address")["affects"] == [address]
    assert after.wrong == {}


def test_a_machine_that_waits_for_the_address(tmp_path: Path) -> None:
    """keepalived gives the address to one of two machines; the other one is as it should be."""
    program = tmp_path / "keepalived"
    wait = (
        f"cp $(command -v sleep) {program}; {program} 60 >/dev/null 2>&1 & echo $! > {program}.pid;"
        f"until grep -q keepalived /proc/$(cat {program}.pid)/comm; do sleep 0.05; done"
    )
    farms = WEB4.replace("203.0.113.10", "192.0.2.10")
    steps = [{"run": HEALTHY}, {"run": wait}, {"doctor": farms}]
    report = inside([*steps, {"run": f"kill $(cat {program}.pid)"}])[-2]
    assert isinstance(report, Report)
    assert report.wrong == {"listener-address": "warning"}
    assert "keepalived runs here" in report.the("listener-address")["what"]


def test_a_listener_that_a_route_makes_local() -> None:
    farms = WEB4.replace("203.0.113.10", "198.51.100.10")
    assert examined(farms, "ip route add local 198.51.100.0/24 dev lo").wrong == {}


def test_an_address_counts_while_its_interface_is_down() -> None:
    """It stays local (IPv4), and the other interfaces answer for it."""
    down = (
        "ip address delete 203.0.113.10/32 dev clients;"
        "ip link add aside type veth peer name aside-far;"
        "ip address add 203.0.113.10/32 dev aside; ip link set aside up; ip link set aside down"
    )
    assert examined(WEB4, down).wrong == {}


def test_an_ipv6_listener_that_is_not_on_the_interface_of_its_neighbours() -> None:
    """Seen with packets: neighbours get no answer for an IPv6 address that is on lo."""
    farms = WEB6.replace("2001:db8::10", "2001:db8:1::10")
    before, after = mended(
        farms, "listener-address", "ip address add 2001:db8:1::10/128 dev lo nodad"
    )
    assert before.wrong == {"listener-address": "problem"}
    assert before.the("listener-address")["commands"] == [
        "ip address add 2001:db8:1::10/128 dev clients"
    ]
    assert after.wrong == {}


def test_an_ipv4_listener_on_lo_is_heard_unless_arp_is_ignored() -> None:
    farms = WEB4.replace("203.0.113.10", "192.0.2.10")
    on_lo = "ip address add 192.0.2.10/32 dev lo"
    assert examined(farms, on_lo).wrong == {}
    ignored = "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore"
    before, after = mended(farms, "listener-address", on_lo, ignored)
    assert before.wrong == {"listener-address": "problem"}
    assert after.wrong == {}


def test_a_snat_address_that_is_not_here() -> None:
    farms = WEB4.replace("listen", "forward snat to 10.0.0.254\n    listen")
    before, after = mended(farms, "snat-address")
    assert before.wrong == {"snat-address": "problem"}
    assert after.wrong == {}
    assert not examined(WEB4).all("snat-address")


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("ip route delete default", "no route leads to 172.16.0.11 (web/app1)"),
        ("ip route add unreachable 172.16.0.0/12", "of the kind unreachable"),
        ("ip route add prohibit 172.16.0.0/12", "of the kind prohibit"),
        ("ip route add blackhole 172.16.0.0/12", "of the kind blackhole"),
    ],
)
def test_a_backend_that_no_route_reaches(route: str, words: str) -> None:
    report = examined(WEB4.replace("10.0.0.11", "172.16.0.11"), route)
    assert report.verdict("backend-route") == "problem"
    assert words in report.the("backend-route")["what"]
    assert report.the("backend-route")["affects"] == ["web/app1"]


def test_many_backends_without_a_route_are_one_finding() -> None:
    lines = "".join(f"    backend b{n} 172.16.0.{n} port 80\n" for n in range(1, 101))
    farms = f"farm web {{\n    listen 203.0.113.10 tcp port 80\n{lines}}}\n"
    found = examined(farms, "ip route delete default").the("backend-route")
    assert "and 96 more" in found["what"]
    assert len(found["affects"]) == 100


def test_a_loopback_backend() -> None:
    farms = WEB4.replace("10.0.0.11", "127.0.0.1")
    before, after = mended(farms, "backend-route")
    assert before.wrong == {"backend-route": "problem"}
    assert after.wrong == {}


ASIDE = (
    "ip link add aside type veth peer name aside-far; ip link set aside up;"
    "ip link set aside-far up; echo 0 > /proc/sys/net/ipv4/conf/aside/rp_filter;"
    "ip address add 198.51.100.2/24 dev aside; ip address add 198.51.100.10/32 dev aside"
)
"""A listener where no default route leaves: clients' answers take another interface."""


@pytest.mark.parametrize("setting", ["all", "aside"])
def test_strict_rp_filter_where_the_way_back_is_another(setting: str) -> None:
    farms = WEB4.replace("203.0.113.10", "198.51.100.10")
    strict = f"echo 1 > /proc/sys/net/ipv4/conf/{setting}/rp_filter"
    before, after = mended(farms, "rp-filter", ASIDE, strict)
    assert before.wrong == {"rp-filter": "problem"}
    assert before.the("rp-filter")["commands"] == ["sysctl -w net.ipv4.conf.aside.rp_filter=2"]
    assert after.wrong == {}
    assert examined(farms, ASIDE).wrong == {}


def test_strict_rp_filter_does_no_harm_where_ways_are_the_same() -> None:
    assert examined(WEB4, "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter").wrong == {}


def test_a_rule_that_brings_answers_back_satisfies_rp_filter() -> None:
    """The kernel is asked itself, so routes by policy count."""
    farms = WEB4.replace("203.0.113.10", "198.51.100.10")
    policy = (
        "ip route add default via 198.51.100.1 table 7;"
        "ip rule add iif servers table 7; ip rule add from 10.0.0.0/24 table 7"
    )
    strict = "echo 1 > /proc/sys/net/ipv4/conf/aside/rp_filter"
    assert examined(farms, ASIDE, policy, strict).wrong == {}


def test_without_a_default_route_rp_filter_is_not_judged() -> None:
    report = examined(WEB4, "ip route delete default")
    assert report.wrong == {"rp-filter": "not checked"}


def test_without_ip_the_network_is_not_judged(tmp_path: object) -> None:
    results = inside(
        [
            {"run": HEALTHY},
            {
                "run": "mount -t tmpfs none /usr/sbin; for each in /sbin/ip /bin/ip /usr/bin/ip; do"
                " [ ! -e $each ] || mount --bind /dev/null $each; done; ! command -v ip"
            },
            {"doctor": WEB4},
        ]
    )
    report = results[-1]
    assert isinstance(report, Report)
    assert report.verdict("backend-route") == "not checked"
    assert "apt install iproute2" in report.the("backend-route")["what"]
