"""``check http`` and ``check https``: an answer with a status that is expected, and a body."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import h11

from nftlbc.farms import CheckValue
from nftlbc.probe.attempt import Attempt
from nftlbc.probe.checks.connection import Connection, connected
from nftlbc.probe.checks.tls import secure
from nftlbc.probe.result import Failure, Finding
from nftlbc.probe.target import Target

MOST_HEADERS: Final = 64 * 1024
MOST_BODY: Final = 64 * 1024
"""Bytes; what is behind them is not looked at."""
MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_EXPECTED: Final = ((200, 399),)
_EXPECTED_BEHIND_REDIRECTS: Final = ((200, 299),)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    location: str | None
    body: Finding | None
    """What is wrong with the body."""


async def check(target: Target, attempt: Attempt) -> Finding:
    options = dict(target.check.options)
    follow = "follow-redirects" in options
    host, path = _host(target, options), str(options.get("path", "/"))
    warning = None
    for _ in range(1 + MOST_REDIRECTS):
        async with connected(target, attempt) as connection:
            if target.check.kind == "https":
                warning = await secure(connection, target, attempt)
            attempt.step = "no status"
            answer = await _ask(connection, attempt, _request(options, host, path), options)
        if not (follow and answer.status in _REDIRECTS and answer.location is not None):
            return _judged(answer, options, follow, warning)
        host, path = _next(target, host, path, answer.location)
    raise Failure("redirects", f"more than {MOST_REDIRECTS} redirects")


def _judged(
    answer: _Answer, options: dict[str, CheckValue], follow: bool, warning: str | None
) -> Finding:
    expected: Any = options.get("expect") or (_EXPECTED_BEHIND_REDIRECTS if follow else _EXPECTED)
    if not any(first <= answer.status <= last for first, last in expected):
        text, word = f"status {answer.status}", f"status-{answer.status}"
        return Finding(text, word, passed=False, warning=warning)
    return answer.body or Finding(f"status {answer.status}", warning=warning)


def _host(target: Target, options: dict[str, CheckValue]) -> str:
    if (given := options.get("host")) is not None:
        return str(given)
    address = f"[{target.address}]" if ":" in target.address else target.address
    usual = 443 if target.check.kind == "https" else 80
    return address if target.port == usual else f"{address}:{target.port}"


def _request(options: dict[str, CheckValue], host: str, path: str) -> h11.Request:
    method = str(options.get("method", "GET"))
    given: Any = options.get("header", ())
    headers = [("Host", host)]
    if not any(name.lower() == "user-agent" for name, _ in given):
        headers.append(("User-Agent", "nftlbc"))
    headers += [(name, value.encode()) for name, value in given]
    headers.append(("Connection", "close"))
    if method in ("POST", "PUT"):
        headers.append(("Content-Length", "0"))
    return h11.Request(method=method, target=path, headers=headers)


async def _ask(
    connection: Connection, attempt: Attempt, request: h11.Request, options: dict[str, CheckValue]
) -> _Answer:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEADERS)
    wanted: Any = options.get("body")
    try:
        await connection.send((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        while not isinstance(event := await _event(connection, http), h11.Response):
            pass
        location = next((value for name, value in event.headers if name == b"location"), None)
        where = None if location is None else location.decode("latin-1")
        if where is not None and "follow-redirects" in options and event.status_code in _REDIRECTS:
            return _Answer(event.status_code, where, None)
        attempt.step = "no end of the body"
        body = await _body(connection, http, attempt, *wanted) if wanted else None
        return _Answer(event.status_code, where, body)
    except h11.RemoteProtocolError as problem:
        raise Failure("no-http", f"no HTTP: {_short(problem)}") from None


def _short(problem: h11.RemoteProtocolError) -> str:
    """What is wrong, without the bytes that the server sent."""
    return str(problem).partition("(")[0].partition(":")[0].strip()[:60]


async def _event(connection: Connection, http: h11.Connection) -> Any:
    while (event := http.next_event()) is h11.NEED_DATA:
        data = await connection.receive()
        if not data and http.their_state is h11.SEND_RESPONSE:
            raise Failure("closed", "connection closed before a status")
        http.receive_data(data)
    return event


async def _body(
    connection: Connection, http: h11.Connection, attempt: Attempt, how: str, text: str
) -> Finding | None:
    """What is wrong with the body; a text is found as soon as it has come."""
    found = bytearray()
    ended = "not in the body"
    try:
        while len(found) < MOST_BODY:
            event = await _event(connection, http)
            if not isinstance(event, h11.Data):
                break
            begin = max(0, len(found) - len(text.encode()))
            found += event.data
            if how == "contains" and found.find(text.encode(), begin) >= 0:
                return None
    except (h11.RemoteProtocolError, ConnectionError):
        ended = "not in the body, which ended early"
    if how == "matches":
        if ended == "not in the body" and await _matches(text, bytes(found[:MOST_BODY]), attempt):
            return None
        ended = ended.replace("not in", "no match in")
    return Finding(f"{text!r} {ended}"[:120], "body", passed=False)


async def _matches(pattern: str, body: bytes, attempt: Attempt) -> bool:
    """Whether the expression is found.

    An expression can take for ever, and Python's own ``re`` can't be stopped and lets nothing else
    run meanwhile. ``regex`` knows the same language, stops at a time and lets others run.
    """
    import regex

    attempt.step = "the expression is not done"
    try:
        search = functools.partial(
            _compiled(pattern).search,
            body.decode("utf-8", "replace"),
            timeout=attempt.left,
            concurrent=True,
        )
        return await asyncio.get_running_loop().run_in_executor(None, search) is not None
    except TimeoutError:
        raise Failure("timeout", attempt.overdue().text) from None
    except (regex.error, MemoryError):
        raise Failure("expression", "the expression can't be used") from None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    import regex

    return regex.compile(pattern)


def _next(target: Target, host: str, path: str, location: str) -> tuple[str, str]:
    """Where a redirect leads: always to the same backend, which alone is asked."""
    scheme = target.check.kind
    try:
        where = urlsplit(urljoin(f"{scheme}://{host}{path}", location))
        wanted = where.path or "/"
        if where.query:
            wanted += f"?{where.query}"
        name = where.netloc.rpartition("@")[2]
    except ValueError:
        raise Failure("redirect", "a redirect to nowhere") from None
    if where.scheme != scheme:
        raise Failure("redirect", f"a redirect to {where.scheme[:10]}, which is another check")
    if not (name + wanted).isascii() or not (name + wanted).isprintable() or " " in name + wanted:
        raise Failure("redirect", "a redirect to nowhere")
    return name, wanted
