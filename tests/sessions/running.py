"""A table that runs, its commands, and real connections over the loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nftlbc import language, rules
from nftlbc.farms import Farm

IPV6_FREEBIND = 78


def farms(text: str) -> tuple[Farm, ...]:
    found = language.of_text(text)
    assert found
    assert not [each for each in rules.check(found) if each.severity.value == "error"]
    return tuple(found)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nftlbc", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=60,
        check=False,
    )


def written(folder: Path, text: str) -> str:
    file = folder / "farms.lb"
    file.write_text(text)
    return str(file)


class Loopback:
    """Every address of 10.0.0.0/8 and 2001:db8::/32 is this machine: client, balancer, backend."""

    def __init__(self, ports: Sequence[int]) -> None:
        for line in (
            "link set lo up",
            "route add local 10.0.0.0/8 dev lo",
            "-6 route add local 2001:db8::/32 dev lo",
        ):
            subprocess.run(["ip", *line.split()], check=True)
        self.servers: dict[int, socket.socket] = {}
        for port in ports:
            server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            server.settimeout(5)
            self.servers[port] = server

    def arrival(
        self, source: str, source_port: int, destination: str, port: int, at: int = 8080
    ) -> str | None:
        """The backend's address that a TCP connection gets to; None: it was refused."""
        six = ":" in source
        with ExitStack() as opened:
            client = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
            opened.enter_context(client)
            client.settimeout(5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if six:
                client.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            client.bind((source, source_port))
            try:
                client.connect((destination, port))
            except ConnectionRefusedError:
                return None
            served, _ = self.servers[at].accept()
            opened.enter_context(served)
            assert served.getpeername()[1] == source_port
            return str(served.getsockname()[0]).removeprefix("::ffff:")

    def close(self) -> None:
        for server in self.servers.values():
            server.close()
