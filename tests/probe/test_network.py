"""Checks through networks that lose, refuse and forbid; pings; sources; very many at once."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import icmplib
import pytest
from asking import asked, run, target
from namespaces import in_namespace

from nftlbc.probe import engine
from nftlbc.probe.checks import icmp
from nftlbc.probe.result import Failure


def network() -> None:
    """10.9.0.1 is here and 10.9.0.0/24 a black hole; 10.8 and 10.6 are refused by routes."""
    for line in (
        "link set lo up",
        "link add hole type veth peer name bottom",
        "link set hole arp off",
        "link set bottom up",
        "address add 10.9.0.1/24 dev hole",
        "address add fd09::1/64 dev hole nodad",
        "link set hole up",
        "route add unreachable 10.8.0.0/24",
        "route add prohibit 10.6.0.0/24",
    ):
        subprocess.run(["ip", *line.split()], check=True)


@contextlib.contextmanager
def accepting(address: str = "0.0.0.0") -> Iterator[int]:
    """A server that accepts and closes, as fast as it can."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener, socket.socket() as end:
        listener.bind((address, 0))
        listener.listen(4096)
        end.bind(("127.0.0.1", 0))
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                if select.select([listener], [], [], 0.05)[0]:
                    listener.accept()[0].close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@in_namespace
def test_what_the_network_says_and_the_source() -> None:
    network()
    asking = {
        "10.9.0.2": ("timeout", True, "no connection within 0.3s"),
        "fd09::2": ("timeout", True, "no connection within 0.3s"),
        "10.8.0.1": ("unreachable", True, "host unreachable"),
        "10.7.0.1": ("unreachable", True, "network unreachable"),
        "10.6.0.1": ("forbidden", True, "this machine forbids it"),
        "127.0.0.1": ("refused", False, "connection refused"),
    }
    targets = {address: target("tcp", 9, address, timeout=300) for address in asking}
    results = run(targets.values())
    for address, each in targets.items():
        found = results[each]
        assert not found.passed
        assert (found.word, found.silent) == asking[address][:2], found
        assert found.why.endswith(asking[address][2]), found

    with accepting() as port:
        assert asked("tcp", port, source="10.9.0.1").passed
        assert asked("tcp", port, source="127.0.0.7").passed
        result = asked("tcp", port, source="10.1.1.1")
        assert (result.passed, result.word, result.silent) == (False, "source", True)
        assert asked("tcp", port, source="fd09::1").passed, "of the other family: not for this one"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert asked("tcp", port, source="127.0.0.7").passed
        listener.settimeout(5)
        sock, where = listener.accept()
        sock.close()
        assert where[0] == "127.0.0.7"


@in_namespace
def test_ping() -> None:
    network()
    for unprivileged in (False, True):
        if unprivileged:
            Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
        each = target("icmp", 0)
        with contextlib.closing(icmp._socket(each)) as sock:
            assert sock.is_privileged is not unprivileged
        alive = [target("icmp", 0, f"127.0.0.{n}") for n in range(1, 200)]
        alive.append(target("icmp", 0, "::1"))
        alive.append(target("icmp", 0, "fd09::1"))
        alive.append(target("icmp", 0, source="127.0.0.9"))
        dead = target("icmp", 0, "10.9.0.2", timeout=400)
        dead6 = target("icmp", 0, "fd09::2", timeout=400)
        refused = target("icmp", 0, "10.8.0.1")
        nowhere = target("icmp", 0, source="10.1.1.1")
        found = run([*alive, dead, dead6, refused, nowhere])
        assert not [found[each] for each in alive if not found[each].passed]
        assert found[alive[0]].why == "icmp 127.0.0.1 answers a ping"
        for each, word in (
            (dead, "timeout"),
            (dead6, "timeout"),
            (refused, "unreachable"),
            (nowhere, "source"),
        ):
            assert (found[each].passed, found[each].word, found[each].silent) == (False, word, True)


def test_without_the_right_to_ping_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise icmplib.SocketPermissionError(privileged=True)

    monkeypatch.setattr(icmplib, "ICMPv4Socket", refuse)
    with pytest.raises(Failure, match=r"net\.ipv4\.ping_group_range") as told:
        icmp._socket(target("icmp", 0))
    assert told.value.finding.silent


@in_namespace
def test_many() -> None:
    network()
    the_dead_do_not_delay_the_living()
    a_run_has_an_end_of_its_own()
    a_run_that_is_cancelled_leaves_nothing()
    few_files_are_enough()


def the_dead_do_not_delay_the_living() -> None:
    """1 500 that time out beside 1 500 that answer, more than may be in progress at once."""
    dead = [target("tcp", 9, f"10.9.0.{n % 250 + 2}", timeout=400 + n // 250) for n in range(1500)]
    with accepting() as port:
        living = [target("tcp", port, f"127.0.{n >> 8}.{n & 255}") for n in range(1500)]
        mixed = [each for pair in zip(dead, living, strict=True) for each in pair]
        found = run(mixed, concurrency=500)
    assert {found[each].word for each in dead} == {"timeout"}
    assert {found[each].word for each in living} == {"ok"}


def few_files_are_enough() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 200))
    with accepting() as port:
        found = run([target("tcp", port, f"127.0.{n >> 8}.{n & 255}") for n in range(1000)])
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 200 < soft <= hard
    assert {each.word for each in found.values()} == {"ok"}


def a_run_has_an_end_of_its_own() -> None:
    """Who was not done then is neither well nor ill."""
    dead = [target("tcp", 9, f"10.9.0.{n}", timeout=60_000) for n in range(2, 100)]
    with accepting() as port:
        living = target("tcp", port)
        found = run([living, *dead], concurrency=50, deadline=1)
    assert [*found] == [living]


def a_run_that_is_cancelled_leaves_nothing() -> None:
    async def cancelled() -> None:
        targets = [target("tcp", 9, f"10.9.0.{n}", timeout=60_000) for n in range(2, 100)]
        task = asyncio.create_task(engine.run(targets))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(cancelled())


def test_a_process_that_was_stopped_blames_nobody() -> None:
    """The answer came in time and lay there, unread, until long after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(100)
                sock.sendall(b"up\n")

        thread = threading.Thread(target=serve)
        thread.start()
        each = target("agent", listener.getsockname()[1], timeout=300, send="x")

        async def stopped() -> None:
            running = asyncio.create_task(engine.run([each]))
            await asyncio.sleep(0.02)
            time.sleep(0.8)
            found = await running
            assert found[each].passed, found[each]

        asyncio.run(stopped())
        thread.join()
