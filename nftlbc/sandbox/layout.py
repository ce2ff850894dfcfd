"""What a sandbox must contain, and which networks are left for what it adds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from itertools import chain
from typing import TypeAlias

from nftlbc.sandbox.request import Family

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Layout:
    """The addresses and ports that a sandbox is built around.

    listeners: addresses that are local at the balancer.
    backends: addresses that are local at the servers.
    tcp_ports, udp_ports, sctp_ports: where every backend answers.
    extra: more addresses that are local at the balancer, such as the one of `snat to`.
    clients: networks whose every address is a client's; empty: one of each family is
        picked that holds no address of the layout.

    Raises ValueError for what is no address, network or port; for addresses that cannot
    be routed (loopback, multicast, unspecified, IPv6 link-local); for an address that is both
    the balancer's and a server's, or in a client's network.
    """

    listeners: tuple[str, ...]
    backends: tuple[str, ...]
    tcp_ports: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()
    sctp_ports: tuple[int, ...] = ()
    extra: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for port in chain(self.tcp_ports, self.udp_ports, self.sctp_ports):
            if not 1 <= port <= 65535:
                raise ValueError(f"port {port} is not between 1 and 65535")
        both = self.balancer_addresses & self.server_addresses
        if both:
            raise ValueError(f"{min(map(str, both))} is both the balancer's and a backend's")
        for network in self.client_networks:
            if address := _first_inside(network, self.addresses):
                raise ValueError(f"{address} is in the clients' network {network}")

    @cached_property
    def balancer_addresses(self) -> frozenset[Address]:
        return frozenset(map(_routable, chain(self.listeners, self.extra)))

    @cached_property
    def server_addresses(self) -> frozenset[Address]:
        return frozenset(map(_routable, self.backends))

    @cached_property
    def addresses(self) -> frozenset[Address]:
        """Every single address of the layout."""
        return self.balancer_addresses | self.server_addresses

    @cached_property
    def client_networks(self) -> tuple[Network, ...]:
        return tuple(map(ip_network, self.clients))

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """4, 6 or both, as the layout's addresses need; 4 for an empty one."""
        found = {thing.version for thing in chain(self.addresses, self.client_networks)}
        families: tuple[Family, Family] = (4, 6)
        return tuple(family for family in families if family in found) or (4,)


@dataclass(frozen=True)
class FamilyPlan:
    """The sandbox's own networks of one family.

    clients: the first is where `client_address` counts.
    Each link has two addresses, the balancer's and the neighbour's, in a network of
    `link_prefix` bits.
    """

    clients: tuple[Network, ...]
    link_prefix: int
    balancer_to_clients: Address
    clients_to_balancer: Address
    balancer_to_servers: Address
    servers_to_balancer: Address


def plan_family(layout: Layout, family: Family) -> FamilyPlan:
    """Pick networks that hold no address of the layout; the same for the same layout.

    Raises ValueError when none is free, which takes a layout of hundreds of networks.
    """
    taken = [address for address in layout.addresses if address.version == family]
    given = tuple(network for network in layout.client_networks if network.version == family)
    free = (
        network
        for network in _candidates(family)
        if not _first_inside(network, taken) and not any(network.overlaps(other) for other in given)
    )
    try:
        clients = given or (next(free),)
        links = next(free)
    except StopIteration:
        raise ValueError(f"the layout leaves no IPv{family} network free") from None
    base = links.network_address
    return FamilyPlan(
        clients=clients,
        link_prefix=30 if family == 4 else 126,
        balancer_to_clients=base + 1,
        clients_to_balancer=base + 2,
        balancer_to_servers=base + 5,
        servers_to_balancer=base + 6,
    )


def _candidates(family: Family) -> Iterator[Network]:
    if family == 6:
        # A unique local prefix that spells "nft lb".
        return (IPv6Network(f"fd6e:6674:6c62:{number:x}::/64") for number in range(4096))
    # 198.18.0.0/15 is set apart for benchmarks (RFC 2544), 100.64.0.0/10 for carriers.
    names = chain(
        ("198.18", "198.19"),
        (f"100.{second}" for second in range(64, 128)),
        (f"10.{second}" for second in range(256)),
        (f"172.{second}" for second in range(16, 32)),
    )
    return (IPv4Network(f"{name}.0.0/16") for name in names)


def _first_inside(network: Network, addresses: Iterable[Address]) -> Address | None:
    return next((address for address in addresses if address in network), None)


def _routable(text: str) -> Address:
    address = ip_address(text)
    if (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 6 and address.is_link_local)
        or str(address) == "255.255.255.255"
    ):
        raise ValueError(f"{address} cannot be routed between a sandbox's hosts")
    return address
