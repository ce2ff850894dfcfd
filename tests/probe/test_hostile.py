"""No server, whatever it does, hangs a check, fills the memory, or brings it down."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import asked, run, target

from nftlbc.probe.result import Result

KINDS = {
    "tcp": {},
    "tls": {"verify": "off"},
    "http": {"body": ("contains", "nowhere")},
    "https": {"verify": "off"},
    "smtp": {},
    "agent": {"send": "hello\n"},
    "dns": {"name": "example.org", "over": "tcp"},
}
SHORT = 400
"""Milliseconds."""


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("hostile.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate()


def test_every_kind_ends_with_every_server(ports: dict[str, int]) -> None:
    """All at once: who floods takes nothing from the others either."""
    asking = {
        (kind, name): target(kind, port, timeout=4 * SHORT, **options)
        for kind, options in KINDS.items()
        for name, port in ports.items()
        if name != "dead"
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = run(asking.values(), deadline=60)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    found = {key: results[each] for key, each in asking.items()}
    for key, result in found.items():
        assert re.fullmatch(r"[A-Za-z0-9_.+-]{1,14}", result.word), key
        assert result.word != "error", (key, result)
        assert result.why.isprintable() and len(result.why) <= 160, key
        assert not result.silent, key
        assert result.passed == (key[0] == "tcp"), (key, result)


HTTP = {
    "silent": "timeout",
    "drip": "timeout",
    "never_closes": "timeout",
    "gigabytes": "body",
    "endless_line": "no-http",
    "reset_in_body": "body",
    "many_headers": "no-http",
    "garbage": "no-http",
    "too_little": "body",
    "too_much": "body",
    "no_length": "no-http",
    "closes": "closed",
    "endless_continue": "too-much",
    "turns_in_a_circle": "body",
}


@pytest.mark.parametrize("name", HTTP)
def test_what_http_says_of_them(name: str, ports: dict[str, int]) -> None:
    result = asked("http", ports[name], timeout=SHORT, body=("contains", "nowhere"))
    assert (result.passed, result.word) == (False, HTTP[name]), result


@pytest.mark.parametrize("name", ["never_closes", "gigabytes", "reset_in_body", "too_little"])
def test_a_status_is_enough_where_no_body_is_asked_for(name: str, ports: dict[str, int]) -> None:
    assert asked("http", ports[name]).passed


@pytest.mark.parametrize("name", ["never_closes", "reset_in_body", "too_little", "too_much"])
def test_a_text_is_found_as_soon_as_it_came(name: str, ports: dict[str, int]) -> None:
    text = "he" if name == "too_much" else "hello"
    assert asked("http", ports[name], body=("contains", text)).passed


def test_redirects_in_a_circle_end(ports: dict[str, int]) -> None:
    result = asked("http", ports["turns_in_a_circle"], follow_redirects=True)
    assert (result.passed, result.word) == (False, "redirects")


def test_a_redirect_does_not_lead_away(ports: dict[str, int]) -> None:
    result = asked("http", ports["leads_astray"], follow_redirects=True)
    assert (result.passed, result.word) == (False, "redirect")
    assert result.why.isprintable()


def test_tls_that_stops_half_way_is_late_and_heard_of(ports: dict[str, int]) -> None:
    result = asked("tls", ports["stops_in_tls"], timeout=SHORT, verify="off")
    assert (result.passed, result.word, result.silent) == (False, "timeout", False)
    assert result.why.endswith("no TLS handshake within 0.4s")


def test_a_dead_name_server_is_silent(ports: dict[str, int]) -> None:
    result = asked("dns", ports["dead"], timeout=SHORT, name="example.org")
    assert (result.passed, result.word, result.silent) == (False, "timeout", True)


def test_a_dead_datagram_server_is_silent(ports: dict[str, int]) -> None:
    for kind, options in (("udp", {"send": "x"}), ("snmp", {"community": ("file", __file__)})):
        result = asked(kind, ports["dead"], timeout=SHORT, **options)
        assert (result.passed, result.word, result.silent) == (False, "timeout", True), result


@pytest.mark.parametrize("kind", ["udp", "dns", "snmp"])
def test_garbage_for_an_answer(kind: str) -> None:
    """Datagrams that begin well and end anyhow, and go on when the check is over."""
    options = {
        "udp": {"send": "x", "expect": "pong"},
        "dns": {"name": "example.org"},
        "snmp": {"community": ("file", __file__)},
    }[kind]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        over = threading.Event()

        def serve() -> None:
            sock.settimeout(0.1)
            while not over.is_set():
                with contextlib.suppress(TimeoutError, ConnectionError):
                    data, where = sock.recvfrom(4096)
                    for end in itertools.cycle(range(0, len(data), 3)):
                        sock.sendto(data[:end] + b"\xff\x84\xff" * 3, where)
                        if over.is_set():
                            break

        thread = threading.Thread(target=serve)
        thread.start()
        result = asked(kind, sock.getsockname()[1], timeout=SHORT, **options)
        over.set()
        thread.join()
    assert not result.passed
    assert result.word in ("answer", "no-dns", "timeout", "snmp"), result


def test_an_expression_that_takes_for_ever_is_late(ports: dict[str, int]) -> None:
    """And keeps no other check from its answer meanwhile."""
    slow = target("http", ports["gigabytes"], timeout=SHORT, body=("matches", "(x+x+)+y"))
    others = [target("http", ports["gigabytes"], timeout=4_000 + n) for n in range(20)]
    found = run([slow, *others])
    assert (found[slow].passed, found[slow].word) == (False, "timeout")
    assert all(found[each].passed for each in others)


def test_what_an_agent_sends_reaches_no_terminal(ports: dict[str, int]) -> None:
    result: Result = asked("agent", ports["invisible"])
    assert (result.passed, result.word) == (False, "agent")
    assert result.why.isprintable()
