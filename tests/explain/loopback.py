"""Run in a network namespace of its own: loads scripts and sends datagrams over the loopback.

Every address of 10.0.0.0/8 and 2001:db8::/32 is local there, so one machine is all clients,
the balancer (by its output hook) and all backends. Reads a JSON list of commands from standard
input, ``{"load": SCRIPT}``, ``{"send": [SOURCE, PORT, DESTINATION, PORT]}`` or ``{"list": MAP}``,
and writes a list of what became of each datagram, ``[ADDRESS, PORT, SOURCE SEEN]`` or null for a
refusal, and of each map's elements.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys

IPV6_FREEBIND = 78
IP_PKTINFO = 8
SETUP = (
    "link set lo up",
    "addr add 10.9.9.9/32 dev lo",
    "addr add 2001:db8:9::9/128 dev lo",
    "route add local 10.0.0.0/8 dev lo",
    "-6 route add local 2001:db8::/32 dev lo",
)


def servers(ports: set[int]) -> selectors.BaseSelector:
    """One socket for each port and family, which takes what comes for any address."""
    ready = selectors.DefaultSelector()
    for port in ports:
        for family, wild in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            server = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET:
                server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            else:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            server.bind((wild, port))
            ready.register(server, selectors.EVENT_READ, port)
    return ready


def send(ready: selectors.BaseSelector, packet: list[object]) -> list[object] | None:
    source, source_port, destination, port = packet
    family = socket.AF_INET6 if ":" in str(source) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        if family == socket.AF_INET6:
            client.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        client.bind((source, source_port))
        client.connect((destination, port))
        try:
            client.send(b"?")
        except OSError:
            return None  # the kernel refuses its own processes at once
        # The loopback delivers before send returns.
        for key, _ in ready.select(timeout=1):
            server: socket.socket = key.fileobj  # type: ignore[assignment]
            _, ancillary, _, seen = server.recvmsg(64, 256)
            data = ancillary[0][2]
            raw = data[8:12] if server.family == socket.AF_INET else data[:16]
            return [socket.inet_ntop(server.family, raw), key.data, seen[0]]
    return None


def elements(nft: str, name: str) -> list[object]:
    listing = subprocess.run(
        [nft, "-j", "list", "map", "inet", "nftlbc", name], capture_output=True, check=True
    )
    return json.loads(listing.stdout)["nftables"][1]["map"].get("elem", [])  # type: ignore[no-any-return]


def main() -> None:
    nft, *ports = sys.argv[1:]
    for line in SETUP:
        subprocess.run(["ip", *line.split()], check=True)
    ready = servers(set(map(int, ports)))
    answers = []
    for command in json.load(sys.stdin):
        if "load" in command:
            subprocess.run([nft, "-f", "-"], input=command["load"], text=True, check=True)
        elif "list" in command:
            answers.append(elements(nft, command["list"]))
        else:
            answers.append(send(ready, command["send"]))
    json.dump(answers, sys.stdout)


main()
