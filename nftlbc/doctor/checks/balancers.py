"""Other load balancers on this machine, and programs that listen where a farm does."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok, some, unique
from nftlbc.doctor.processes import holders, named
from nftlbc.doctor.situation import Situation
from nftlbc.farms import Address, Listener

_SERVICE: Final = re.compile(
    r"^(TCP|UDP|SCTP) +(\[[0-9a-fA-F:]+\]|[0-9A-F]{8}):([0-9A-F]{4}) ", re.M
)
_MOST: Final = 8 * 1024 * 1024
_LISTENS: Final = {"tcp": "0A", "udp": "07"}
"""The states of sockets that wait for strangers."""
_ANY: Final = ("0.0.0.0", "::")


def others(situation: Situation) -> Iterator[Finding]:
    name = "other-balancers"
    found = [*_ipvs(situation, name), *_kube_proxy(situation, name)]
    yield from found
    if not found:
        yield ok(name, "no other load balancer is at work here")


def _ipvs(situation: Situation, name: str) -> Iterator[Finding]:
    text = situation.machine.read("proc/net/ip_vs", _MOST) or ""
    services: defaultdict[tuple[str, Address], list[int]] = defaultdict(list)
    for protocol, host, port in _SERVICE.findall(text):
        services[protocol.lower(), _address(host)].append(int(port, 16))
    if not services:
        return
    both = [
        listener
        for farm in situation.farms
        for listener in farm.listeners
        if any(
            listener.first <= port <= listener.last
            for port in services.get((listener.protocol, listener.address), ())
        )
    ]
    yield Finding(
        name,
        Verdict.PROBLEM if both else Verdict.WARNING,
        f"IPVS serves {some([str(each) for each in both])}, too"
        if both
        else f"IPVS is at work here, with {sum(map(len, services.values()))} services",
        "ours comes first and has the connections, but IPVS goes on with those that it had"
        if both
        else "it does not disturb the farms as long as no service is on a farm's address and port",
        "delete them from IPVS (and from what makes them there: keepalived, kube-proxy)"
        if both
        else None,
        commands=tuple(
            f"ipvsadm --delete-service --{each.protocol}-service {_spot(each)}"
            for each in both
            if each.first == each.last
        )[:16],
        affects=unique(str(each) for each in both),
    )


def _spot(listener: Listener) -> str:
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    return f"{host}:{listener.first}"


def _address(text: str) -> Address:
    """IPVS writes IPv4 addresses as eight hexadecimals, IPv6 ones in brackets."""
    if text.startswith("["):
        return str(IPv6Address(text[1:-1]))
    return str(IPv4Address(int(text, 16)))


def _kube_proxy(situation: Situation, name: str) -> Iterator[Finding]:
    signs = []
    if named(situation.machine, ["kube-proxy"]):
        signs.append("the program kube-proxy runs")
    for table in situation.ruleset.tables:
        if table.name == "kube-proxy":
            signs.append(str(table))
        elif "KUBE-SERVICES" in table.chains:
            signs.append(f"{table} has a chain KUBE-SERVICES")
    if signs:
        yield Finding(
            name,
            Verdict.WARNING,
            f"kube-proxy is at work here: {some(signs)}",
            "its services and node ports (30000-32767 on all addresses) are translated at the same"
            " place as ours, and of two the first has the connection",
            "keep the farms' addresses apart from the cluster's, and their ports from its node"
            " ports; foreign-nat tells where they meet",
        )


class _Socket(NamedTuple):
    protocol: str
    address: Address
    port: int
    inode: int


def sockets(situation: Situation) -> Iterator[Finding]:
    """Programs of this machine that listen on a farm's address and port: they hear nothing."""
    name = "local-sockets"
    found: dict[str, list[str]] = {}
    matches = [
        (listener, socket)
        for socket in _sockets(situation)
        for farm in situation.farms
        for listener in farm.listeners
        if listener.protocol == socket.protocol
        and listener.first <= socket.port <= listener.last
        and situation.here[listener.address]
        and (socket.address == listener.address or socket.address in _wild(listener))
    ]
    owners = holders(situation.machine, [socket.inode for _, socket in matches])
    for listener, socket in matches:
        owner = owners.get(socket.inode, "a program")
        spot = f"{listener.address} {socket.protocol} port {socket.port}"
        found.setdefault(owner, []).append(spot)
    for owner, spots in found.items():
        docker = owner == "docker-proxy"
        yield Finding(
            name,
            Verdict.WARNING,
            f"{owner} listens on {some(spots)}, too",
            "the farm has the connections that come from other machines and from this one;"
            f" {owner} gets none of them"
            + (
                "; and docker translates the port before the farm may (foreign-nat)"
                if docker
                else ""
            ),
            "publish the container's port on another address: -p ADDRESS:PORT:PORT"
            if docker
            else "if that is not meant, let it listen on another address or port",
            affects=unique(spots),
        )
    if not found:
        yield ok(name, "no program of this machine listens where a farm does")


def _wild(listener: Listener) -> tuple[str, ...]:
    """The addresses that stand for this one, too; :: takes IPv4 connections as well."""
    return _ANY if listener.family == 4 else ("::",)


def _sockets(situation: Situation) -> Iterator[_Socket]:
    for protocol, state in _LISTENS.items():
        for file in (protocol, f"{protocol}6"):
            text = situation.machine.read(f"proc/net/{file}", _MOST)
            for line in (text or "").split("\n")[1:]:
                words = line.split()
                if len(words) > 9 and words[3] == state:
                    host, _, port = words[1].partition(":")
                    try:
                        yield _Socket(protocol, _decoded(host), int(port, 16), int(words[9]))
                    except ValueError:
                        raise Unseen(f"/proc/net/{file} is not as known here") from None


def _decoded(host: str) -> Address:
    """Addresses are 32-bit words in this machine's order of bytes."""
    import sys

    data = b"".join(
        int(host[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8)
    )
    return str(IPv4Address(data) if len(data) == 4 else IPv6Address(data))
