"""Checks of TCP, TLS, HTTP and HTTPS against nginx."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from asking import asked, free_port, listens, program, server
from certificates import DAY, NOW, Authority, der
from hypothesis import given
from hypothesis import strategies as st

from nftlbc.probe.checks import certificate

WEB = """
user {user}; daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ }}
http {{
    access_log {folder}/access; client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    log_format told '$request_method $request_uri $http_host $http_x_check';
    access_log {folder}/told told;
    server {{
        listen 127.0.0.1:{plain};
        location = /healthz {{ return 200 "all is well: 42 clients\\n"; }}
        location = /broken {{ return 503; }}
        location = /moved {{ return 302 /healthz; }}
        location = /elsewhere {{ return 301 https://www.example.org/; }}
        location = /large {{ alias {folder}/large; }}
        location = /big-headers {{ add_header X-Big {big}; return 204; }}
    }}
    server {{ listen 127.0.0.1:{plain}; server_name other; return 404; }}
    {secure}
}}
"""
SECURE = """
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {file}.pem; ssl_certificate_key {file}.key;
        location / {{ return 200 "$ssl_server_name"; }}
    }}
"""
CERTIFICATES: dict[str, dict[str, Any]] = {
    "good": {},
    "expired": {"end": -2 * DAY - DAY / 2},
    "early": {"begin": 2 * DAY},
    "other": {"name": "other.example.com"},
    "self-signed": {"by_itself": True},
    "soon": {"end": 6 * DAY + DAY / 2},
}


class Web(NamedTuple):
    folder: Path
    ca: str
    plain: int
    ports: dict[str, int]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("nginx")
    authority = Authority(folder)
    ports = {}
    for name, how in CERTIFICATES.items():
        authority.sign(name, **how)
        ports[name] = free_port()
    (folder / "large").write_bytes(b"x" * 1_000_000 + b"the end")
    plain = free_port()
    secure = [SECURE.format(port=port, file=folder / name) for name, port in ports.items()]
    file = folder / "nginx.conf"
    file.write_text(
        WEB.format(
            user=getpass.getuser(),
            folder=folder,
            plain=plain,
            big="x" * 3_000,
            secure="".join(secure),
        )
    )
    if os.geteuid() != 0:
        file.write_text(file.read_text().replace(f"user {getpass.getuser()};", ""))
    command = (program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file))
    with server(*command, ready=lambda: all(map(listens, [plain, *ports.values()]))):
        yield Web(folder, str(authority.file), plain, ports)


def test_tcp(web: Web) -> None:
    result = asked("tcp", web.plain)
    assert (result.passed, result.word) == (True, "ok")
    assert result.why == f"tcp 127.0.0.1:{web.plain} connected"


def test_tcp_refused() -> None:
    port = free_port()
    result = asked("tcp", port)
    assert (result.passed, result.word, result.silent) == (False, "refused", False)
    assert result.why == f"tcp 127.0.0.1:{port} connection refused"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"path": "/healthz"}, "ok"),
        ({"path": "/broken"}, "status-503"),
        ({"path": "/broken", "expect": ((200, 299), (503, 503))}, "ok"),
        ({"path": "/healthz", "expect": ((204, 204),)}, "status-200"),
        ({"path": "/nowhere"}, "status-404"),
        ({"path": "/healthz", "host": "other"}, "status-404"),
        ({"path": "/moved"}, "ok"),
        ({"path": "/moved", "expect": ((200, 299),)}, "status-302"),
        ({"path": "/moved", "expect": ((200, 299),), "follow-redirects": True}, "ok"),
        ({"path": "/elsewhere", "follow-redirects": True}, "redirect"),
        ({"path": "/healthz", "body": ("contains", "is well")}, "ok"),
        ({"path": "/healthz", "body": ("contains", "is ill")}, "body"),
        ({"path": "/healthz", "body": ("matches", r"^all .* \d+ clients$")}, "ok"),
        ({"path": "/healthz", "body": ("matches", r"^\d")}, "body"),
        ({"path": "/moved", "body": ("contains", "is well"), "follow-redirects": True}, "ok"),
        ({"path": "/large", "body": ("contains", "xxx")}, "ok"),
        ({"path": "/large", "body": ("contains", "the end")}, "body"),
        ({"path": "/large"}, "ok"),
        ({"path": "/big-headers", "expect": ((204, 204),)}, "ok"),
        ({"path": "/healthz", "method": "HEAD"}, "ok"),
        ({"path": "/healthz", "method": "PUT"}, "ok"),
    ],
)
def test_http(web: Web, options: dict[str, Any], word: str) -> None:
    result = asked("http", web.plain, **options)
    assert (result.word, result.passed) == (word, word == "ok"), result


def test_the_request_is_what_was_asked_for(web: Web) -> None:
    header = (("X-Check", "ünï"), ("X-Other", ""))
    result = asked("http", web.plain, path="/a?b=c", host="x.org", method="POST", header=header)
    assert result.word == "status-404"
    assert r"POST /a?b=c x.org \xC3\xBCn\xC3\xAF" in (web.folder / "told").read_text()


@pytest.mark.parametrize(
    ("which", "options", "word"),
    [
        ("good", {"server_name": "www.example.org"}, "ok"),
        ("good", {}, "ok"),
        ("good", {"server_name": "other.example.com"}, "certificate"),
        ("other", {"server_name": "www.example.org"}, "certificate"),
        ("other", {"server_name": "www.example.org", "verify": "off"}, "ok"),
        ("expired", {}, "certificate"),
        ("expired", {"verify": "off"}, "ok"),
        ("early", {}, "certificate"),
        ("self-signed", {}, "certificate"),
        ("self-signed", {"verify": "off"}, "ok"),
        ("soon", {}, "ok"),
    ],
)
@pytest.mark.parametrize("kind", ["tls", "https"])
def test_tls(web: Web, kind: str, which: str, options: dict[str, Any], word: str) -> None:
    result = asked(kind, web.ports[which], ca=web.ca, **options)
    assert (result.word, result.passed) == (word, word == "ok"), result


def test_without_its_authority_a_certificate_is_not_trusted(web: Web) -> None:
    result = asked("tls", web.ports["good"])
    assert (result.passed, result.word) == (False, "certificate")
    assert result.why.endswith("certificate: unable to get local issuer certificate")


def test_https_asks_for_the_name_of_its_host(web: Web) -> None:
    options = {"ca": web.ca, "host": "www.example.org:8443"}
    assert asked("https", web.ports["good"], body=("contains", "www.example.org"), **options).passed


@pytest.mark.parametrize(
    ("which", "options", "warning"),
    [
        ("good", {}, None),
        ("good", {"expires_within": 400 * 86_400_000}, "certificate expires in 364 days"),
        ("soon", {}, "certificate expires in 6 days"),
        ("soon", {"verify": "off"}, "certificate expires in 6 days"),
        ("soon", {"expires_within": 86_400_000}, None),
        ("expired", {"verify": "off"}, "certificate expired 2 days ago"),
    ],
)
@pytest.mark.parametrize("kind", ["tls", "https"])
def test_a_certificate_about_to_expire(
    web: Web, kind: str, which: str, options: dict[str, Any], warning: str | None
) -> None:
    result = asked(kind, web.ports[which], ca=web.ca, **options)
    assert (result.passed, result.warning) == (True, warning)


def test_tls_with_who_speaks_none(web: Web) -> None:
    result = asked("tls", web.plain, verify="off")
    assert (result.passed, result.word) == (False, "tls")


@pytest.mark.parametrize("file", ["/nowhere/ca.pem", __file__])
def test_authorities_that_are_none(web: Web, file: str) -> None:
    result = asked("tls", web.ports["good"], ca=file)
    assert (result.passed, result.word, result.silent) == (False, "ca-file", True)
    assert file in result.why


def test_the_end_of_a_certificate_is_read_from_its_bytes(tmp_path: Path) -> None:
    """Before and after 2050, where the form of the time changes."""
    authority = Authority(tmp_path)
    for years in (1, 20, 40):
        made = authority.sign("any", end=years * 365 * DAY)
        wanted = int((NOW + years * 365 * DAY).timestamp())
        assert certificate.not_after(der(made)) == wanted


@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 255))
def test_bytes_that_are_no_certificate_are_told(start: bytes, place: int, byte: int) -> None:
    whole = bytearray(_SOME)
    whole[place % len(whole)] = byte
    for data in (start, bytes(whole), bytes(whole[:place])):
        told = certificate.warning(data, 10)
        assert told is None or told.startswith("certificate ")


def _some() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return der(Authority(Path(folder)).sign("any"))


_SOME = _some()
