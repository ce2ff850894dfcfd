"""A machine to be examined: a namespace with two links, clients on one, servers on the other.

    clients-far --- clients [ the machine ] servers --- servers-far

Nobody is at the far ends: what is examined are addresses, routes, settings and tables.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEALTHY = """\
[ ! -e /etc/nftables.conf ] || mount --bind /dev/null /etc/nftables.conf
ip link set lo up
for side in clients servers; do
    ip link add $side type veth peer name $side-far
    ip link set $side up
    ip link set $side-far up
done
for each in all default clients servers; do
    echo 0 > /proc/sys/net/ipv4/conf/$each/rp_filter
    echo 0 > /proc/sys/net/ipv4/conf/$each/arp_ignore
    echo 0 > /proc/sys/net/ipv6/conf/$each/disable_ipv6
done
ip address add 192.0.2.2/24 dev clients
ip address add 203.0.113.10/32 dev clients
ip address add 10.0.0.1/24 dev servers
ip route add default via 192.0.2.1
ip address add 2001:db8:1::2/64 dev clients nodad
ip address add 2001:db8::10/128 dev clients nodad
ip address add 2001:db8:2::1/64 dev servers nodad
ip -6 route add default via 2001:db8:1::1
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
"""

WEB = """\
farm web {
    listen 203.0.113.10, 2001:db8::10 tcp port 80
    backend app1 10.0.0.11 port 8080
    backend app2 10.0.0.12 port 8080
    backend app1-6 2001:db8:2::11 port 8080
}
"""


@dataclass(frozen=True)
class Report:
    """What ``doctor --json`` tells, with the findings of each check by its name."""

    document: dict[str, Any]

    def all(self, name: str) -> list[dict[str, Any]]:
        return [each for each in self.document["findings"] if each["name"] == name]

    def the(self, name: str) -> dict[str, Any]:
        """The one finding of a check."""
        (found,) = self.all(name)
        return found

    def verdict(self, name: str) -> str:
        """The worst of a check."""
        order = ["problem", "warning", "not checked", "ok"]
        return min((each["verdict"] for each in self.all(name)), key=order.index)

    @property
    def wrong(self) -> dict[str, str]:
        """The checks that did not go well."""
        return {
            each["name"]: each["verdict"]
            for each in self.document["findings"]
            if each["verdict"] != "ok"
        }


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Ends when this process does, and with it its standard input."""
    argv = [sys.executable, str(Path(__file__).with_name("inside.py"))]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def close() -> None:
    """Ends it, where it runs."""
    if _server.cache_info().currsize:
        server = _server()
        _server.cache_clear()
        server.communicate(timeout=30)


def inside(steps: list[dict[str, str]], *, path: str | None = None) -> list[Any]:
    """The results of steps in a namespace of their own.

    ``{"run": SHELL}`` gives its output, ``{"doctor": FARMS}`` a Report, ``{"state": ""}`` all that
    a command could have changed. ``{"apply": FARMS}`` loads their table, ``{"frame": "DEVICE
    SOURCE PORT TARGET PORT FLAGS"}`` lets a TCP segment come in, and ``{"mend": CHECK}`` runs the
    commands of the last report.
    """
    environment = {"PATH": path or os.environ["PATH"], "NO_COLOR": "1"}
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps({"steps": steps, "environment": environment}) + "\n")
    server.stdin.flush()
    said = json.loads(server.stdout.readline())
    assert "results" in said, said["failed"]
    results = said["results"]
    return [
        Report(result) if "doctor" in step else result
        for step, result in zip(steps, results, strict=True)
    ]


def examined(farms: str, *changes: str, path: str | None = None) -> Report:
    """The report on the healthy machine after some changes."""
    steps = [{"run": HEALTHY}, *({"run": each} for each in changes), {"doctor": farms}]
    report = inside(steps, path=path)[-1]
    assert isinstance(report, Report)
    return report


def mended(farms: str, name: str, *changes: str, path: str | None = None) -> tuple[Report, Report]:
    """The report on a broken machine, and the one after the commands of a check's findings."""
    steps = [
        {"run": HEALTHY},
        *({"run": each} for each in changes),
        {"doctor": farms},
        {"mend": name},
        {"doctor": farms},
    ]
    before, _, after = inside(steps, path=path)[-3:]
    return before, after


def after(farms: str, *frames: str, change: str = "true") -> Report:
    """The report once such TCP segments have come in while the farms' table was loaded."""
    steps = [{"run": HEALTHY}, {"run": change}, {"apply": farms}]
    steps += [{"frame": each} for each in frames]
    report = inside([*steps, {"doctor": farms}])[-1]
    assert isinstance(report, Report)
    return report


def each(farms: str, *cases: str) -> dict[str, Report]:
    """The report on the healthy machine with each of these tables, one after the other."""
    steps = [{"run": HEALTHY}]
    for case in cases:
        steps += [{"run": case}, {"doctor": farms}, {"run": "nft flush ruleset"}]
    return dict(zip(cases, inside(steps)[2::3], strict=True))


def mended_each(farms: str, name: str, *cases: str) -> dict[str, tuple[Report, Report]]:
    """The same, and the report after the commands of a check's findings."""
    steps = [{"run": HEALTHY}]
    for case in cases:
        steps += [{"run": case}, {"doctor": farms}, {"mend": name}, {"doctor": farms}]
        steps.append({"run": "nft flush ruleset"})
    results = inside(steps)
    return dict(zip(cases, zip(results[2::5], results[4::5], strict=True), strict=True))
