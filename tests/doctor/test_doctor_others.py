"""Other load balancers, programs on a farm's port, and the machine's own nftables file."""

from __future__ import annotations

from pathlib import Path

import pytest
from ground import HEALTHY, Report, examined, inside
from tables import WEB4, load

from nftlbc.doctor.checks import balancers, boot
from nftlbc.doctor.finding import Finding, Verdict
from nftlbc.doctor.foreign.listing import Ruleset
from nftlbc.doctor.machine import Machine
from nftlbc.doctor.situation import Situation
from nftlbc.farms import Backend, Farm, Listener

FARM = Farm(
    "web",
    (Listener("203.0.113.10", "tcp", 80, 80), Listener("2001:db8::10", "udp", 5000, 5999)),
    (Backend("app1", "10.0.0.11"),),
)


def situation(root: Path, ruleset: Ruleset | None = None) -> Situation:
    """Of a machine that is a folder."""
    found = Situation(Machine(root), [FARM])
    found.__dict__["ruleset"] = ruleset or Ruleset()
    return found


def file(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ipvs(*services: str) -> str:
    head = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n"
    lines = [
        f"{each} rr  \n  -> 0A00000B:1F90      Masq    1      0          0\n" for each in services
    ]
    return f"{head}  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n{''.join(lines)}"


@pytest.mark.parametrize(
    ("service", "verdict"),
    [
        ("TCP  CB00710A:0050", Verdict.PROBLEM),
        ("TCP  CB00710A:0051", Verdict.WARNING),
        ("UDP  CB00710A:0050", Verdict.WARNING),
        ("TCP  CB00710B:0050", Verdict.WARNING),
        ("UDP  [2001:0db8:0000:0000:0000:0000:0000:0010]:157C", Verdict.PROBLEM),
        ("UDP  [2001:0db8:0000:0000:0000:0000:0000:0010]:0035", Verdict.WARNING),
    ],
)
def test_ipvs(tmp_path: Path, service: str, verdict: Verdict) -> None:
    file(tmp_path, "proc/net/ip_vs", ipvs(service))
    (found,) = balancers.others(situation(tmp_path))
    assert found.verdict is verdict
    assert "IPVS" in found.what
    if found.affects == ("203.0.113.10:80/tcp",):
        assert found.commands == ("ipvsadm --delete-service --tcp-service 203.0.113.10:80",)


def test_ipvs_without_services_is_at_rest(tmp_path: Path) -> None:
    file(tmp_path, "proc/net/ip_vs", ipvs())
    (found,) = balancers.others(situation(tmp_path))
    assert found.verdict is Verdict.OK


def test_the_program_kube_proxy(tmp_path: Path) -> None:
    file(tmp_path, "proc/71/comm", "kube-proxy\n")
    file(tmp_path, "proc/72/comm", "sshd\n")
    (found,) = balancers.others(situation(tmp_path))
    assert found.verdict is Verdict.WARNING
    assert "kube-proxy" in found.what


@pytest.mark.kernel
@pytest.mark.parametrize(
    "table",
    [
        "table ip kube-proxy {\nchain services {\n}\n}",
        "table ip nat {\nchain KUBE-SERVICES {\n}\n}",
    ],
)
def test_the_tables_of_kube_proxy(table: str) -> None:
    report = examined(WEB4, load(table))
    assert report.wrong == {"other-balancers": "warning"}


LISTEN = """\
python3 -c '
import os, socket, sys, time
with open("/proc/self/comm", "w") as comm:
    comm.write(sys.argv[5])
kind = socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
waiting = socket.socket(family, kind)
waiting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
waiting.bind((sys.argv[2], int(sys.argv[3])))
if kind == socket.SOCK_STREAM:
    waiting.listen()
with open(sys.argv[4] + ".new", "w") as ready:
    ready.write(str(os.getpid()))
os.rename(sys.argv[4] + ".new", sys.argv[4])
time.sleep(30)
' %s %s %d %s %s >/dev/null 2>&1 &
while [ ! -e %s ]; do sleep 0.05; done
"""


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("protocol", "address", "port", "found"),
    [
        ("tcp", "203.0.113.10", 80, True),
        ("tcp", "0.0.0.0", 80, True),
        ("tcp", "::", 80, True),
        ("tcp", "192.0.2.2", 80, False),
        ("tcp", "203.0.113.10", 81, False),
        ("udp", "203.0.113.10", 80, False),
    ],
)
def test_a_program_on_a_listener_s_port(
    protocol: str, address: str, port: int, found: bool, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    owner = "docker-proxy" if address == "0.0.0.0" else "nginx"
    listen = LISTEN % (protocol, address, port, ready, owner, ready)
    stop = f"kill $(cat {ready})"
    report = inside([{"run": HEALTHY}, {"run": listen}, {"doctor": WEB4}, {"run": stop}])[-2]
    assert isinstance(report, Report)
    assert report.wrong == ({"local-sockets": "warning"} if found else {})
    if found:
        told = report.the("local-sockets")
        assert told["what"].startswith(f"{owner} listens on 203.0.113.10 tcp port 80")
        assert ("-p ADDRESS:PORT:PORT" in told["mend"]) is (owner == "docker-proxy")


@pytest.mark.parametrize(
    ("text", "flushes"),
    [
        ("#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {\n}\n", True),
        ("  flush   ruleset # all of it\n", True),
        ("define x = 1; flush ruleset; table inet filter { }\n", True),
        ("# flush ruleset\ntable inet filter {\n}\n", False),
        ("flush table inet filter\n", False),
        ('table inet filter {\n\tcomment "we do not flush rulesets"\n}\n', False),
    ],
)
def test_nftables_conf(tmp_path: Path, text: str, flushes: bool) -> None:
    file(tmp_path, "etc/nftables.conf", text)
    (found,) = boot.check(situation(tmp_path))
    assert found.verdict is (Verdict.WARNING if flushes else Verdict.OK)


@pytest.mark.parametrize(
    ("enabled", "verdict"), [("nftlbc.service", Verdict.OK), ("nftables.service", Verdict.WARNING)]
)
def test_our_service_brings_the_table_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: str, verdict: Verdict
) -> None:
    file(tmp_path, "etc/nftables.conf", "flush ruleset\n")
    program = tmp_path / "bin" / "systemctl"
    file(
        tmp_path,
        "bin/systemctl",
        f'#!/bin/sh\n[ "$2" = {enabled} ] && echo enabled && exit\nexit 1\n',
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    (found,) = boot.check(situation(tmp_path))
    assert found.verdict is verdict
    assert isinstance(found, Finding)
