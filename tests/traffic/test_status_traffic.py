"""status beside real connections: counted once, in both directions, wherever they go."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from farms import NFT, VIP, Balancer, balancing, compiled

import nftlbc
from nftlbc.sandbox import Layout, Request, Sandbox

pytestmark = pytest.mark.kernel

LOCAL = "10.77.0.1"
COUNTED = f"""
farm elsewhere {{
    listen {VIP} tcp port 80
    count traffic
    backend there 10.0.0.1 port 8080
}}
farm here {{
    listen {VIP} tcp port 81
    count traffic
    backend own {LOCAL} port 8080
}}
farm uncounted {{
    listen {VIP} tcp port 82
    backend there 10.0.0.1 port 8081
}}
"""
WITNESS = """
table inet witness {
    chain out {
        type filter hook output priority -150
        ip daddr %(vip)s tcp dport %(port)d counter
    }
    chain in {
        type filter hook input priority 200
        ip saddr %(vip)s tcp sport %(port)d counter
    }
}
"""
"""What a client itself sends and gets: at a balancer, before and after the translation."""
SERVER = """
import socket
listening = socket.create_server((%r, 8080))
print("ready", flush=True)
while True:
    client, _ = listening.accept()
    client.recv(100); client.sendall(b"x" * 500); client.recv(100); client.close()
"""
CLIENT = """
import socket, sys
with socket.create_connection((%r, int(sys.argv[1])), 5) as server:
    server.sendall(b"hello"); size = 0
    while size < int(sys.argv[2]): size += len(server.recv(1000))
    server.shutdown(socket.SHUT_WR); server.recv(10)
"""


def status(box: Sandbox, *arguments: str) -> dict[str, Any]:
    import lark

    library = ":".join(str(Path(each.__file__).parent.parent) for each in (nftlbc, lark))
    run = f"import sys; sys.path[:0] = {library!r}.split(':'); from nftlbc.cli import main; main()"
    argv = (sys.executable, "-c", run, "status", *arguments, "--json")
    done = box.run("balancer", argv, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def backends(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{farm['name']}/{each['name']}": each
        for farm in found["farms"]
        for pool in farm["pools"]
        for each in pool["backends"]
    }


def witnessed(box: Sandbox, host: Any) -> dict[str, int]:
    listing = box.run(host, (*box.nft, "list", "table", "inet", "witness")).stdout
    out, come = re.findall(r"packets (\d+) bytes (\d+)", listing)
    return {
        "packets_in": int(out[0]),
        "bytes_in": int(out[1]),
        "packets_out": int(come[0]),
        "bytes_out": int(come[1]),
    }


def until(look: Any, wanted: Any) -> None:
    """The last packets of a connection may still be on their way."""
    deadline = time.monotonic() + 10
    while (have := look()) != (want := wanted()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert have == want


@pytest.mark.parametrize(
    ("host", "farm", "port", "size"),
    [
        ("clients", "elsewhere/there", 80, 1),
        ("balancer", "elsewhere/there", 80, 1),
        ("clients", "here/own", 81, 500),
        ("balancer", "here/own", 81, 500),
    ],
)
def test_traffic_is_what_the_client_sends_and_gets(
    host: Any, farm: str, port: int, size: int
) -> None:
    layout = Layout((VIP,), ("10.0.0.1",), tcp_ports=(8080, 8081), extra=(LOCAL,))
    with Sandbox(layout, nft=NFT) as box:
        assert box.load(compiled(COUNTED)).returncode == 0
        witness = WITNESS % {"vip": VIP, "port": port}
        assert box.run(host, (*box.nft, "-f", "-"), witness).returncode == 0
        if farm == "here/own":
            server = box.start_command("balancer", (sys.executable, "-c", SERVER % LOCAL))
            time.sleep(0.5)
        argv = (sys.executable, "-c", CLIENT % VIP, str(port), str(size))
        for _ in range(3):
            done = box.run(host, argv)
            assert done.returncode == 0, done.stderr
        until(lambda: backends(status(box))[farm]["traffic"], lambda: witnessed(box, host))
        found = backends(status(box))
        assert found[farm]["new_connections"] == 3
        assert found[farm]["traffic"]["packets_in"] >= 12
        others = {"elsewhere/there", "here/own"} - {farm}
        assert all(not any(found[each]["traffic"].values()) for each in others)
        assert found["uncounted/there"]["traffic"] is None
        assert backends(status(box, farm.split("/")[0]))[farm] == found[farm]
        if farm == "here/own":
            server.stop()


FARM = f"""
farm web {{
    listen {VIP} tcp port 80
    listen {VIP} udp port 53
    persist source-ip
    backend a 10.0.0.1 port 8080
    backend b 10.0.0.2 port 8080
}}
"""


def test_connections_and_clients_are_counted() -> None:
    def web(lb: Balancer) -> list[tuple[int, int, int, int]]:
        found = backends(status(lb.box, "web"))
        assert backends(status(lb.box)) == found
        return [
            (
                each["new_connections"],
                each["open_connections"],
                each["flows"],
                each["sticky_clients"],
            )
            for each in found.values()
        ]

    with balancing(FARM) as lb:
        clients = [lb.client(n) for n in range(6)]
        held = lb.box.ask([Request("clients", each, VIP, 80, "tcp", hold=True) for each in clients])
        assert [each.outcome for each in held] == ["answered"] * 6
        assert web(lb) == [(3, 3, 0, 3)] * 2
        lb.box.release(held[:2], reset=False)
        until(lambda: web(lb), lambda: [(3, 2, 0, 3)] * 2)
        lb.ask(4)
        assert sum(each[0] for each in web(lb)) == 10
        lb.ask(2, port=53, protocol="udp", source=clients[0])
        assert sum(each[2] for each in web(lb)) >= 1
        assert sum(each[1] for each in web(lb)) == 4
