"""Checks of DNS, SMTP, SNMP, UDP and agents against servers of these protocols."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import asked, free_port, listens, program, server

from nftlbc.probe.checks import agent

# DNS


@pytest.fixture(scope="module")
def names() -> Iterator[int]:
    port = free_port()
    records = [
        "--address=/app.test/10.0.0.1",
        "--address=/app.test/2001:db8::1",
        "--local=/test/",
        "--txt-record=text.test,one,two",
        "--mx-host=mail.test,mx.test,10",
        "--cname=alias.test,host.test",
        "--host-record=host.test,10.0.0.3",
        *(f"--host-record=many.test,10.1.0.{n}" for n in range(120)),
    ]
    command = (program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts")
    where = (f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv")
    who = (f"--user={getpass.getuser()}", "--pid-file=")
    with server(*command, *where, *who, *records, ready=lambda: listens(port)):
        yield port


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"name": "app.test"}, "ok"),
        ({"name": "app.test", "answer": "10.0.0.1"}, "ok"),
        ({"name": "app.test", "answer": "10.0.0.2"}, "answer"),
        ({"name": "app.test", "type": "AAAA", "answer": "2001:DB8:0::1"}, "ok"),
        ({"name": "nobody.test"}, "nxdomain"),
        ({"name": "nobody.test", "expect": "nxdomain"}, "ok"),
        ({"name": "app.test", "expect": "nxdomain"}, "noerror"),
        ({"name": "elsewhere.example"}, "refused"),
        ({"name": "text.test", "type": "TXT", "answer": "onetwo"}, "ok"),
        ({"name": "mail.test", "type": "MX", "answer": "10 mx.test"}, "ok"),
        ({"name": "mail.test", "type": "MX", "answer": "what"}, "answer"),
        ({"name": "alias.test", "answer": "10.0.0.3"}, "ok"),
        ({"name": "alias.test", "type": "CNAME", "answer": "host.test."}, "ok"),
    ],
)
@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_dns(names: int, over: str, options: dict[str, Any], word: str) -> None:
    result = asked("dns", names, over=over, **options)
    assert (result.word, result.passed) == (word, word == "ok"), result


def test_an_answer_too_large_for_udp_is_fetched_by_tcp(names: int) -> None:
    assert asked("dns", names, name="many.test").passed
    assert asked("dns", names, name="many.test", answer="10.1.0.119").passed


def test_dns_refused() -> None:
    result = asked("dns", free_port(socket.SOCK_DGRAM), name="app.test")
    assert (result.passed, result.word, result.silent) == (False, "refused", False)


# SMTP


def test_smtp() -> None:
    port = free_port()
    command = (sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}")
    with server(*command, ready=lambda: listens(port)):
        result = asked("smtp", port)
        assert (result.passed, result.word) == (True, "ok"), result
        assert asked("smtp", port, hello="[127.0.0.1]").passed


class _Answers:
    """A server of TCP that says one thing, and then one for everything that it is told."""

    def __init__(self, first: bytes, *then: bytes) -> None:
        self.said = [first, *then]
        self.heard: list[bytes] = []

    def __enter__(self) -> _Answers:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def _serve(self) -> None:
        sock, _ = self.listener.accept()
        with sock, contextlib.suppress(OSError):
            for number, text in enumerate(self.said):
                if number:
                    self.heard.append(sock.recv(4096))
                sock.sendall(text)
            sock.recv(4096)

    def __exit__(self, *_: object) -> None:
        self.thread.join(10)
        self.listener.close()


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ([b"220-welcome\r\n220 here\r\n", b"250-here\r\n250-SIZE 1\r\n250 HELP\r\n"], "ok"),
        ([b"220 here\r\n", b"250 \r\n"], "ok"),
        ([b"220\r\n", b"250\r\n"], "ok"),
        ([b"421 too busy\r\n"], "smtp-421"),
        ([b"220 here\r\n", b"502 what?\r\n"], "smtp-502"),
        ([b"SSH-2.0-x\r\n"], "no-smtp"),
        ([b"220 here\r\n", b"250-" + b"x" * 9_000], "no-smtp"),
    ],
)
def test_what_mail_servers_say(said: list[bytes], word: str) -> None:
    with _Answers(*said) as answers:
        result = asked("smtp", answers.port, hello="lb.example.org")
        assert (result.word, result.passed) == (word, word == "ok"), result
    if len(said) > 1:
        assert answers.heard == [b"EHLO lb.example.org\r\n"]


# Agents


@pytest.mark.parametrize(
    ("text", "passed", "order", "figure"),
    [
        ("up\n", True, "up", None),
        ("75%\n", True, "up", 75.0),
        ("ready 100%\r\n", True, "up", 100.0),
        ("drain\n", True, "drain", None),
        ("drain,50%\n", True, "drain", 50.0),
        ("maint\n", False, "down", None),
        ("down # the disk is full\n", False, "down", None),
        ("stopped\n", False, "down", None),
        ("fail\tup\n", False, "down", None),
        ("UP 30% maxconn:30\n", True, "up", 30.0),
        ("up", True, "up", None),
        ("0%\nignored down\n", True, "up", 0.0),
    ],
)
def test_agents(text: str, passed: bool, order: str, figure: float | None) -> None:
    with _Answers(text.encode()) as answers:
        result = asked("agent", answers.port, timeout=2_000)
        if not text.endswith("\n"):
            assert result.word == "timeout"
            result_of_text = agent.understood(text)
            assert result_of_text.passed
            return
    assert (result.passed, result.order, result.figure) == (passed, order, figure), result


def test_an_agent_is_told_what_it_wants() -> None:
    with _Answers(b"", b"60%\n") as answers:
        assert asked("agent", answers.port, send="status\n").figure == 60.0
    assert answers.heard == [b"status\n"]


@pytest.mark.parametrize("text", ["\n", "hello\n", "# up\n", "-5%\n", "75\n", "x" * 5_000])
def test_agents_that_say_nothing_sensible(text: str) -> None:
    with _Answers(text.encode()) as answers:
        result = asked("agent", answers.port)
    assert (result.passed, result.order, result.figure) == (False, None, None)
    assert result.word in ("agent", "too-much")


# UDP


@contextlib.contextmanager
def echo(answer: bytes) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)

        def serve() -> None:
            data, where = sock.recvfrom(4096)
            sock.sendto(answer + data, where)

        thread = threading.Thread(target=serve)
        thread.start()
        yield sock.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("expect", "word"), [({}, "ok"), ({"expect": "\xff\0ping"}, "ok"), ({"expect": "x"}, "answer")]
)
def test_udp(expect: dict[str, str], word: str) -> None:
    with echo(b"\xff\0") as port:
        result = asked("udp", port, send="ping\xe9", **expect)
    assert (result.word, result.passed) == (word, word == "ok")


def test_udp_refused() -> None:
    result = asked("udp", free_port(socket.SOCK_DGRAM), send="x")
    assert (result.passed, result.word, result.silent) == (False, "refused", False)


# SNMP

SNMP = """
override 1.3.6.1.2.1.25.3.3.1.2.196608 integer 30
override 1.3.6.1.2.1.25.3.3.1.2.196609 integer 50
rocommunity open 127.0.0.1
rocommunity6 open ::1
view few included .1.3.6.1.2.1.1
view few included .1.3.6.1.2.1.25.3.2
view few included .1.3.6.1.4.1.2021.10
view none included .1.3.6.1.2.1.1
rocommunity average 127.0.0.1 -V few
rocommunity nothing 127.0.0.1 -V none
createUser plain SHA "{auth}"
createUser private SHA "{auth}" AES "{privacy}"
createUser modern SHA-256 "{auth}" AES "{privacy}"
createUser longer SHA-512 "{auth}" AES-256 "{privacy}"
createUser older MD5 "{auth}"
rouser plain auth
rouser private priv
rouser modern priv
rouser longer priv
rouser older auth
"""
AUTH, PRIVACY = "a-secret-of-the-test", "another-of-the-test"


@pytest.fixture(scope="module")
def snmp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    folder = tmp_path_factory.mktemp("snmp")
    for name, text in (
        ("open", "open\n"),
        ("average", "average"),
        ("nothing", "nothing"),
        ("wrong", "wrong-one-here"),
        ("auth", AUTH),
        ("privacy", PRIVACY),
        ("empty", ""),
    ):
        (folder / name).write_text(text)
    (folder / "snmpd.conf").write_text(SNMP.format(auth=AUTH, privacy=PRIVACY))
    port = free_port(socket.SOCK_DGRAM)
    where = [f"udp:127.0.0.1:{port}"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", port))
        where.append(f"udp6:[::1]:{port}")

    def ready() -> bool:
        return asked("snmp", port, timeout=500, community=("file", str(folder / "open"))).passed

    command = (program("snmpd"), "-f", "-Lo", "-C", "-c", str(folder / "snmpd.conf"))
    environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(folder / "persistent"), "MIBS": ""}
    with server(*command, *where, ready=ready, env=environment):
        yield port, folder


def file(folder: Path, name: str) -> tuple[str, str]:
    return ("file", str(folder / name))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_snmp_2(snmp: tuple[int, Path], address: str) -> None:
    port, folder = snmp
    if address == "::1" and not Path("/proc/net/if_inet6").read_text():
        pytest.skip("this machine has no IPv6 loopback")
    result = asked("snmp", port, address, community=file(folder, "open"))
    assert result.passed, result
    assert result.figure == 0.4
    assert result.why.endswith("40% of 2 CPUs busy")


def test_without_processor_load_the_average_is_taken(snmp: tuple[int, Path]) -> None:
    port, folder = snmp
    result = asked("snmp", port, community=file(folder, "average"))
    assert result.passed, result
    assert f"for each of {os.cpu_count()} CPUs" in result.why
    assert result.figure is not None
    assert abs(result.figure - os.getloadavg()[0] / (os.cpu_count() or 1)) < 4


def test_without_either_there_is_no_figure(snmp: tuple[int, Path]) -> None:
    port, folder = snmp
    result = asked("snmp", port, community=file(folder, "nothing"))
    assert (result.passed, result.word, result.figure) == (False, "snmp", None)
    assert not result.silent


def test_a_wrong_community_is_silence(snmp: tuple[int, Path]) -> None:
    """SNMP 2c does not answer it."""
    port, folder = snmp
    result = asked("snmp", port, timeout=600, community=file(folder, "wrong"))
    assert (result.passed, result.word, result.silent) == (False, "timeout", True)
    assert "wrong-one" not in str(result)


@pytest.mark.parametrize(
    ("user", "auth", "privacy"),
    [
        ("plain", "sha", None),
        ("older", "md5", None),
        ("private", "sha", "aes"),
        ("modern", "sha256", "aes"),
        ("longer", "sha512", "aes256"),
    ],
)
def test_snmp_3(
    snmp: tuple[int, Path],
    user: str,
    auth: str,
    privacy: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, folder = snmp
    monkeypatch.setenv("TEST_PRIVACY", PRIVACY)
    options: dict[str, Any] = {"auth": auth, "auth_key": file(folder, "auth")}
    if privacy:
        options |= {"privacy": privacy, "privacy_key": ("environment", "TEST_PRIVACY")}
    result = asked("snmp", port, version="3", user=user, **options)
    assert result.passed, result
    assert result.figure is not None


@pytest.mark.parametrize(
    ("user", "key", "text"),
    [
        ("plain", "wrong", "the agent refuses the auth-key"),
        ("nobody", "auth", "the agent does not know the user"),
    ],
)
def test_snmp_3_refused(snmp: tuple[int, Path], user: str, key: str, text: str) -> None:
    port, folder = snmp
    options = {"version": "3", "user": user, "auth": "sha"}
    result = asked("snmp", port, timeout=1_500, auth_key=file(folder, key), **options)
    assert (result.passed, result.word, result.silent) == (False, "snmp", False)
    assert text in result.why


@pytest.mark.parametrize("where", [("file", "/nowhere/x"), ("environment", "NOT_SET"), "empty"])
def test_a_secret_that_is_not_there(snmp: tuple[int, Path], where: Any) -> None:
    """It is this machine's fault, not the backend's."""
    port, folder = snmp
    where = file(folder, where) if isinstance(where, str) else where
    result = asked("snmp", port, community=where)
    assert (result.passed, result.word, result.silent) == (False, "secret", True)
    assert where[1] in result.why
