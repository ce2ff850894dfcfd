"""The commands and settings that turn three empty namespaces into a small network.

    clients --- balancer --- servers

Pure text: `ip -batch` scripts and values below /proc/sys, host by host.
"""

from collections.abc import Iterator

from nftlbc.sandbox.layout import Address, FamilyPlan, Layout, Network, plan_family
from nftlbc.sandbox.request import Family, Host

LINK_TO_CLIENTS = "to-clients"
LINK_TO_SERVERS = "to-servers"
LINK_TO_BALANCER = "to-balancer"

# Locally administered. Known in advance, so that every neighbour is entered by hand:
# while an address is being resolved the kernel queues some 100 packets and drops the rest.
_MAC = {
    ("balancer", "clients"): "02:6c:62:00:00:01",
    ("clients", "balancer"): "02:6c:62:00:00:02",
    ("balancer", "servers"): "02:6c:62:00:00:03",
    ("servers", "balancer"): "02:6c:62:00:00:04",
}


class Topology:
    """A layout with the networks picked for it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.plans: dict[Family, FamilyPlan] = {
            family: plan_family(layout, family) for family in layout.families
        }

    def settings(self, host: Host, *, unlimited_icmp: bool) -> dict[str, str]:
        """Values for a host, by path below /proc/sys, in the order to write them."""
        values = dict(_SETTINGS_4)
        if 6 in self.plans:
            values |= _SETTINGS_6
        if host == "balancer":
            # Writing ip_forward resets others (redirects): it comes first.
            values = {"net/ipv4/ip_forward": "1", **values}
            if 6 in self.plans:
                values["net/ipv6/conf/all/forwarding"] = "1"
        if host != "balancer" and 6 in self.plans:
            # bind() to an IPv6 address that only an AnyIP route makes local.
            values["net/ipv6/ip_nonlocal_bind"] = "1"
        if unlimited_icmp or host == "servers":
            values |= _UNLIMITED_ICMP_4
            if 6 in self.plans:
                values |= _UNLIMITED_ICMP_6
        return values

    def links(self, clients_pid: int, servers_pid: int) -> str:
        """`ip -batch` for the balancer: both veth pairs, their far ends moved away.

        To paths below /proc, which is that of the machine: a process number is looked up there by
        newer versions of ip (6.15), and given to the kernel by older ones (6.1), for which it is
        that of our own namespace.
        """
        return "".join(
            f"link add {link} address {_MAC['balancer', host]} type veth "
            f"peer name {LINK_TO_BALANCER} address {_MAC[host, 'balancer']} "
            f"netns /proc/{pid}/ns/net\n"
            for link, host, pid in (
                (LINK_TO_CLIENTS, "clients", clients_pid),
                (LINK_TO_SERVERS, "servers", servers_pid),
            )
        )

    def addresses(self, host: Host) -> str:
        """`ip -batch` for a host: links up, addresses, neighbours and routes."""
        steps = {"clients": self._clients, "balancer": self._balancer, "servers": self._servers}
        return "".join(f"{line}\n" for line in steps[host]())

    def _clients(self) -> Iterator[str]:
        yield from _up(LINK_TO_BALANCER)
        for plan in self.plans.values():
            near, far = plan.clients_to_balancer, plan.balancer_to_clients
            yield from _link(LINK_TO_BALANCER, near, far, plan, _MAC["balancer", "clients"])
            # `src` must be a real address where the family is 6.
            first = plan.clients[0][1]
            yield f"address add {first}/{first.max_prefixlen} dev lo{_nodad(first)}"
            yield f"route add default via {far} src {first}"
            for network in plan.clients:
                yield _any_ip(network)

    def _servers(self) -> Iterator[str]:
        yield from _up(LINK_TO_BALANCER)
        for plan in self.plans.values():
            near, far = plan.servers_to_balancer, plan.balancer_to_servers
            yield from _link(LINK_TO_BALANCER, near, far, plan, _MAC["balancer", "servers"])
            yield f"route add default via {far}"
        for address in sorted(self.layout.server_addresses, key=_by_family):
            yield _any_ip(address)

    def _balancer(self) -> Iterator[str]:
        yield from _up(LINK_TO_CLIENTS)
        yield from _up(LINK_TO_SERVERS)
        # Real addresses, no AnyIP: what looks for the farm's address here shall find it.
        for address in sorted(self.layout.balancer_addresses, key=_by_family):
            yield f"address add {address}/{address.max_prefixlen} dev lo{_nodad(address)}"
        for plan in self.plans.values():
            near, far = plan.balancer_to_clients, plan.clients_to_balancer
            yield from _link(LINK_TO_CLIENTS, near, far, plan, _MAC["clients", "balancer"])
            for network in plan.clients:
                yield f"route add {network} via {far}"
            near, far = plan.balancer_to_servers, plan.servers_to_balancer
            yield from _link(LINK_TO_SERVERS, near, far, plan, _MAC["servers", "balancer"])
        for address in sorted(self.layout.server_addresses, key=_by_family):
            gateway = self.plans[address.version].servers_to_balancer
            yield f"route add {address}/{address.max_prefixlen} via {gateway}"


def _up(link: str) -> Iterator[str]:
    yield "link set lo up"
    yield f"link set {link} up"


def _link(link: str, near: Address, far: Address, plan: FamilyPlan, mac: str) -> Iterator[str]:
    yield f"address add {near}/{plan.link_prefix} dev {link}{_nodad(near)}"
    yield f"neighbour add {far} lladdr {mac} dev {link} nud permanent"


def _nodad(address: Address) -> str:
    return " nodad" if address.version == 6 else ""


def _any_ip(what: Address | Network) -> str:
    """All of it is local, at the price of one route."""
    return f"route add local {what} dev lo"


def _by_family(address: Address) -> tuple[int, int]:
    return address.version, int(address)


_SETTINGS_4 = {
    # A new namespace takes these from the machine's first one, which may be strict.
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    # A hairpin goes out where it came in, which the balancer would remark upon.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/default/accept_redirects": "0",
    # For commands that are run here; the sandbox's own requests choose their ports.
    "net/ipv4/ip_local_port_range": "1024 65535",
}

_SETTINGS_6 = {
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/lo/disable_ipv6": "0",
    # No link-local addresses: nothing is tentative for a second, nothing is solicited.
    "net/ipv6/conf/default/addr_gen_mode": "1",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/all/accept_redirects": "0",
    "net/ipv6/conf/default/accept_redirects": "0",
}

_UNLIMITED_ICMP_4 = {"net/ipv4/icmp_ratelimit": "0", "net/ipv4/icmp_ratemask": "0"}
_UNLIMITED_ICMP_6 = {"net/ipv6/icmp/ratelimit": "0", "net/ipv6/icmp/ratemask": ""}
