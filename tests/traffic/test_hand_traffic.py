"""Backends drained, disabled and removed while clients are connected: who stays, who is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from farms import VIP, VIP6, Balancer, balancing

from nftlbc.sandbox import Answer, Host, Request

pytestmark = pytest.mark.kernel

NFTLBC = (sys.executable, "-m", "nftlbc")
WITHOUT_RAW = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")


def web(more: str = "", b: str = "b 10.0.0.2 port 8080", extra: str = "") -> str:
    """Two backends in each family; the second of IPv4 is written as the test wants it."""
    return f"""
farm web {{
    listen {VIP}, {VIP6} tcp port 80
    listen {VIP}, {VIP6} udp port 53
    {more}
    backend a 10.0.0.1 port 8080
    {"backend " + b if b else ""}
    backend a6 2001:db8:1::1 port 8080
    backend b6 2001:db8:1::2 port 8080
}}
{extra}
"""


def nftlbc(
    lb: Balancer, *arguments: str, status: int = 0, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    done = lb.box.run("balancer", (*before, *NFTLBC, *arguments))
    assert done.returncode == status, done.stdout + done.stderr
    return done


def apply(lb: Balancer, folder: Path, text: str, *options: str) -> str:
    file = folder / "farms.lb"
    file.write_text(text)
    return nftlbc(lb, "apply", str(file), *options).stderr


def hold(
    lb: Balancer, count: int = 4, port: int = 80, *, protocol: str = "tcp", host: Host = "clients"
) -> list[Answer]:
    """Connections that stay open, so many in each family."""
    port = port if protocol == "tcp" else 53
    requests = [
        Request(host, None, vip, port, protocol, hold=True)  # type: ignore[arg-type]
        for vip in (VIP, VIP6)
        for _ in range(count)
    ]
    held = lb.box.ask(requests)
    assert {answer.outcome for answer in held} == {"answered"}
    return held


def of(held: list[Answer], *backends: str) -> list[Answer]:
    return [answer for answer in held if answer.backend in backends]


B = ("10.0.0.2", "2001:db8:1::2")
A = ("10.0.0.1", "2001:db8:1::1")
BOTH = ("web/b", "web/b6")


def chains(lb: Balancer) -> str:
    return lb.nft("list", "chains", "inet")


def test_drain_let_go_and_enable(tmp_path: Path) -> None:
    text = web("persist source-ip")
    other = "farm other {\n listen 203.0.113.99 tcp port 1\n backend x 10.0.0.9 port 1\n}\n"
    with balancing(text, load=False) as lb:
        apply(lb, tmp_path, text)
        known = [lb.client(number) for number in range(6)]
        homes = lb.named(lb.ask_from(known))
        assert sorted(homes) == ["a"] * 3 + ["b"] * 3
        held = [*lb.box.ask([Request("clients", each, VIP, 80, hold=True) for each in known])]
        flows = [
            *lb.box.ask([Request("clients", each, VIP, 53, "udp", hold=True) for each in known])
        ]

        said = nftlbc(lb, "drain", "web/b").stdout
        assert "backend b (10.0.0.2:8080) drains: it takes no new clients" in said
        assert "shares of new IPv4 clients: a 50 % -> 100 %, b 50 % -> 0 %" in said
        assert "b: 3 sticky clients, 3 open connections, 3 UDP flows stay" in said
        assert "backend b 10.0.0.2 port 8080 state drain" in said
        # Whoever is known stays; others go elsewhere. What is applied meanwhile changes nothing.
        for _ in range(2):
            assert lb.named(lb.ask_from(known)) == homes
            assert lb.named(lb.box.talk(held)) == homes
            assert lb.named(lb.box.talk(flows)) == homes
            new = [lb.client(number) for number in range(100, 106)]
            assert lb.counted(lb.ask_from(new)) == {"a": 6}
            assert apply(lb, tmp_path, text + other).startswith("table inet nftlbc: 2 farms")
        again = nftlbc(lb, "drain", "web/b").stdout
        assert "backend b (10.0.0.2:8080) is drained by" in again
        assert "already" in again
        # No packet of an open connection passes a rule for this.
        assert "filter-" not in chains(lb)

        said = nftlbc(lb, "drain", "--let-go", "web/b").stdout
        assert "b: 3 open connections stay with it to their end" in said
        assert "b: 3 sticky clients to be given to others when coming next" in said
        assert "3 UDP flows are balanced anew" in said
        assert lb.named(lb.box.talk(held)) == homes
        assert set(lb.named(lb.box.talk(flows))) == {"a"}
        assert set(lb.named(lb.ask_from(known))) == {"a"}

        said = nftlbc(lb, "enable", "web/b").stdout
        assert "backend b (10.0.0.2:8080) takes new clients again" in said
        assert lb.counted(lb.ask_from(lb.client(n) for n in range(200, 206))) == {"a": 3, "b": 3}
        assert lb.named(lb.box.talk(held)) == homes


MASQUERADING = f"""
farm m {{
    listen {VIP}, {VIP6} tcp port 81
    forward masquerade
    backend c 10.0.0.3 port 8080
    backend c6 2001:db8:1::3 port 8080
}}
"""


def test_disable_reaches_those_who_only_wait(tmp_path: Path) -> None:
    """Clients elsewhere, behind a firewall that drops what is invalid; the balancer itself; and,
    where it replaces sources, the backends."""
    firewall = (
        "table inet fw {\n chain in {\n type filter hook input priority 0;\n"
        " ct state invalid counter drop\n }\n}\n"
    )
    text = web(extra=MASQUERADING)
    with balancing(text, load=False) as lb:
        apply(lb, tmp_path, text)
        done = lb.box.run("clients", (*lb.box.nft, "-f", "-"), firewall)
        assert done.returncode == 0, done.stderr
        held = hold(lb) + hold(lb, host="balancer")
        for host in ("clients", "balancer", "servers"):
            held += hold(lb, 2, port=81, host=host)  # type: ignore[arg-type]
        flows = hold(lb, protocol="udp")
        entries = _entries(lb)
        cut = of(held, *B, "10.0.0.3", "2001:db8:1::3")
        assert len(cut) == 20

        # Without the right to raw sockets nobody is reached, and that is told.
        done = nftlbc(lb, "disable", *BOTH, "m/*", before=WITHOUT_RAW)
        assert "4 UDP flows are balanced anew with the next packet" in done.stdout
        assert "20 open connections end with the client's next packet" in done.stdout
        assert "clients that only wait can't be told" in done.stderr
        assert "CAP_NET_RAW" in done.stderr
        assert {answer.outcome for answer in lb.box.listen(cut, timeout=0.5)} == {"silent"}
        assert {answer.outcome for answer in lb.box.talk(cut[:1])} == {"reset"}

        # The same again: who was not reached is.
        assert "19 open connections were reset" in nftlbc(lb, "disable", *BOTH, "m/*").stdout
        assert {answer.outcome for answer in lb.box.listen(cut[1:])} == {"reset"}
        # Nobody else noticed, and the kernel made no entry for what was sent.
        assert {answer.outcome for answer in lb.box.talk(of(held, *A))} == {"answered"}
        assert _entries(lb) <= entries
        assert {answer.backend for answer in lb.box.talk(flows)} == set(A)
        assert {answer.backend for answer in hold(lb)} == set(A)
        # Nothing is cut any more: nothing is asked of packets any more.
        assert "filter-forward" in chains(lb)
        nftlbc(lb, "enable", *BOTH, "m/*")
        assert "filter-" not in chains(lb)
        assert {answer.backend for answer in hold(lb)} == {*A, *B}


def _entries(lb: Balancer) -> int:
    return int(lb.box.run("balancer", ("cat", "/proc/sys/net/netfilter/nf_conntrack_count")).stdout)


def test_removed_down_and_renamed(tmp_path: Path) -> None:
    gone = web(b="")
    with balancing(web(), load=False) as lb:
        apply(lb, tmp_path, web())
        held, flows = hold(lb), hold(lb, protocol="udp")
        homes, flow_homes = lb.named(held), lb.named(flows)
        # Renamed: nothing ends, nothing moves.
        assert "UDP" not in apply(lb, tmp_path, web(b="renamed 10.0.0.2 port 8080"))
        assert lb.named(lb.box.talk(held)) == homes
        assert lb.named(lb.box.talk(flows)) == flow_homes
        # Down: its flows go elsewhere, its connections on.
        down = web(b="b 10.0.0.2 port 8080 state down")
        assert "2 UDP flows are balanced anew" in apply(lb, tmp_path, down)
        assert lb.named(lb.box.talk(held)) == homes
        assert set(lb.named(lb.box.talk(flows))) == {"a", "a6", "b6"}
        apply(lb, tmp_path, web())
        more = hold(lb, 2, protocol="udp")
        # Removed: the same, and the plan tells of the way to end them.
        (tmp_path / "farms.lb").write_text(gone)
        plan = nftlbc(lb, "plan", str(tmp_path / "farms.lb")).stdout
        assert "backend b (10.0.0.2:8080) removed" in plan
        assert "2 open connections, 1 UDP flow" in plan
        assert "apply --cut ends them" in plan
        assert "1 UDP flow is balanced anew" in apply(lb, tmp_path, gone)
        assert lb.named(lb.box.talk(held)) == homes
        assert set(lb.named(lb.box.talk(more))) == {"a", "a6", "b6"}
        assert "filter-" not in chains(lb)
        told = "2 connections are open to backends that were removed"
        assert told in nftlbc(lb, "status").stdout
        # Also those that were removed before are ended.
        assert "2 open connections were reset" in apply(lb, tmp_path, gone, "--cut")
        assert {answer.outcome for answer in lb.box.listen(of(held, "10.0.0.2"))} == {"reset"}
        # They are gone: no packet of others is asked about them any more.
        assert "filter-" not in chains(lb)
        assert "nothing to change" in apply(lb, tmp_path, gone, "--cut")
        assert "were removed" not in nftlbc(lb, "status").stdout
        rest = of(held, *A, B[1])
        assert {answer.outcome for answer in lb.box.talk(rest)} == {"answered"}
        # A farm that goes is like its backends.
        other = "farm x {\n listen 203.0.113.99 tcp port 1\n backend a 10.0.0.9 port 1\n}\n"
        assert "6 open connections were reset" in apply(lb, tmp_path, other, "--cut")
        assert {answer.outcome for answer in lb.box.listen(rest)} == {"reset"}


def test_waiting(tmp_path: Path) -> None:
    with balancing(web(), load=False) as lb:
        apply(lb, tmp_path, web())
        held = hold(lb)
        late = nftlbc(lb, "drain", "web/b", "--wait", "--timeout", "1s", status=4)
        assert "web/b: 2 of 2 open connections" in late.stderr
        assert "web/b still has 2 open connections" in late.stderr
        waiting = lb.box.start_command("balancer", (*NFTLBC, "drain", *BOTH, "--wait"))
        time.sleep(1)
        lb.box.release(of(held, *B), reset=False)
        done = waiting.wait(20)
        assert done.returncode == 0, done.stderr
        assert "no connection to 2 backends is open" in done.stderr
        assert lb.named(lb.box.talk(of(held, *A))) == ["a", "a", "a6", "a6"]
        # Ctrl-C ends the waiting, and nothing else.
        hold(lb)
        waiting = lb.box.start_command("balancer", (*NFTLBC, "drain", "web/a", "--wait"))
        time.sleep(2)
        stopped = waiting.stop(signal.SIGINT)
        assert stopped.returncode == 130
        assert "no longer waiting: web/a goes on draining" in stopped.stderr
        file = tmp_path / "farms.lb"
        assert "backend a drained by" in nftlbc(lb, "plan", str(file)).stdout
