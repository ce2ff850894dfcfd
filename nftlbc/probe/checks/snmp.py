"""``check snmp``: how busy the CPUs are, by SNMP version 2c or 3.

The mean of hrProcessorLoad (HOST-RESOURCES-MIB, RFC 2790), or where there is none laLoad.1
(UCD-SNMP-MIB: the load average of a minute) over the number of CPUs.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final

import pysnmp.hlapi.v3arch.asyncio as hlapi
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance, NoSuchObject

from nftlbc.farms import Address, CheckValue
from nftlbc.probe.attempt import Attempt, Shared
from nftlbc.probe.checks import secret
from nftlbc.probe.result import Failure, Finding
from nftlbc.probe.target import Target

PROCESSOR_LOAD: Final = (1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2)
DEVICE_TYPE: Final = (1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 2)
PROCESSOR: Final = (1, 3, 6, 1, 2, 1, 25, 3, 1, 3)
LOAD_AVERAGE: Final = (1, 3, 6, 1, 4, 1, 2021, 10, 1, 3, 1)
_AT_ONCE: Final = 16
"""Rows asked for in a message: what is behind the last CPU costs its reading, too."""
_AGENTS: Final = 32
MOST_ROWS: Final = 1024
_ABSENT: Final = (NoSuchObject, NoSuchInstance, EndOfMibView)
_AUTH: Final = {
    "md5": hlapi.usmHMACMD5AuthProtocol,
    "sha": hlapi.usmHMACSHAAuthProtocol,
    "sha256": hlapi.usmHMAC192SHA256AuthProtocol,
    "sha512": hlapi.usmHMAC384SHA512AuthProtocol,
}
_PRIVACY: Final = {
    "des": hlapi.usmDESPrivProtocol,
    "aes": hlapi.usmAesCfb128Protocol,
    "aes256": hlapi.usmAesBlumenthalCfb256Protocol,
}


async def check(target: Target, attempt: Attempt) -> Finding:
    session = await _Session.to(target, attempt)
    if loads := [float(value) for value in await session.column(PROCESSOR_LOAD)]:
        figure = sum(loads) / len(loads) / 100
        return Finding(f"{figure:.0%} of {len(loads)} CPUs busy", figure=figure)
    average = await session.value(LOAD_AVERAGE)
    if average is None:
        raise Failure("snmp", "tells neither hrProcessorLoad nor laLoad")
    cpus = sum(1 for value in await session.column(DEVICE_TYPE) if tuple(value) == PROCESSOR)
    try:
        figure = float(bytes(average)) / max(cpus, 1)
    except ValueError:
        raise Failure("snmp", "laLoad is no number") from None
    return Finding(f"load {figure:.2f} for each of {max(cpus, 1)} CPUs", figure=figure)


class _Engines:
    """Engines for agents that are asked in the same way, each for so many.

    An engine looks through all that it knows for each answer: with 1 000 agents one took 11 ms,
    with 32 it takes 8.
    """

    def __init__(self, user: Any, shared: Shared) -> None:
        self.user = user
        self._shared = shared
        self._known: dict[tuple[Address, int], Any] = {}
        self._last: Any = None

    def of(self, agent: tuple[Address, int]) -> Any:
        if agent not in self._known:
            if len(self._known) % _AGENTS == 0:
                _hush(asyncio.get_running_loop())
                self._last = hlapi.SnmpEngine()
                self._shared.at_end(self._last.close_dispatcher)
            self._known[agent] = self._last
        return self._known[agent]


def _hush(loop: asyncio.AbstractEventLoop) -> None:
    """Keeps what an agent makes the library stumble over (garbage; an answer that comes when the
    engine is closed) from being printed as a traceback: it happens in a callback of its own, where
    nobody can catch it, and the check that waits for an answer is late all the same."""
    before = loop.get_exception_handler()
    if before is not None and getattr(before, "func", None) is _unless_theirs:
        return
    loop.set_exception_handler(functools.partial(_unless_theirs, before))


def _unless_theirs(
    before: Callable[..., object] | None, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    trace = getattr(context.get("exception"), "__traceback__", None)
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("pysnmp."):
            return
        trace = trace.tb_next
    if before is not None:
        before(loop, context)
    else:
        loop.default_exception_handler(context)


class _Session:
    """One agent."""

    def __init__(self, engine: Any, user: Any, where: Any, attempt: Attempt) -> None:
        self._to = engine, user, where, hlapi.ContextData()
        self._attempt = attempt

    @classmethod
    async def to(cls, target: Target, attempt: Attempt) -> _Session:
        options = dict(target.check.options)
        six = ":" in target.address
        # An engine has one socket for each family, and one set of keys for each name of a user.
        key = ("snmp", target.check.source, six, target.check.options)
        engines = attempt.shared.get(key, lambda: _Engines(_user(options), attempt.shared))
        engine, user = engines.of((target.address, target.port)), engines.user
        # What it sends once is enough: who is asked again is up to `fall`.
        kind = hlapi.Udp6TransportTarget if six else hlapi.UdpTransportTarget
        place = (target.address, target.port)
        where = await kind.create(place, timeout=attempt.limit, retries=0)
        source = target.check.source
        if source is not None and (":" in source) == six:
            where.set_local_address((source, 0))
        return cls(engine, user, where, attempt)

    async def value(self, name: tuple[int, ...]) -> Any | None:
        asked = hlapi.ObjectType(hlapi.ObjectIdentity(name))
        found = self._judged(await hlapi.get_cmd(*self._to, asked, lookupMib=False))
        value = found[0][1] if found else None
        return None if isinstance(value, _ABSENT) else value

    async def column(self, name: tuple[int, ...]) -> list[Any]:
        """The values of a column of a table, up to MOST_ROWS."""
        found: list[Any] = []
        last = name
        while len(found) < MOST_ROWS:
            asked = hlapi.ObjectType(hlapi.ObjectIdentity(last))
            answer = await hlapi.bulk_cmd(*self._to, 0, _AT_ONCE, asked, lookupMib=False)
            rows = self._judged(answer)
            for row, value in rows:
                here = tuple(row)
                if here[: len(name)] != name or here <= last or isinstance(value, _ABSENT):
                    return found
                found.append(value)
                last = here
            if not rows:
                break
        return found

    def _judged(self, answer: Any) -> Any:
        problem, status, _, rows = answer
        if problem:
            kind = type(problem).__name__
            if kind == "RequestTimedOut":
                overdue = self._attempt.overdue()
                raise Failure(overdue.word, overdue.text, silent=overdue.silent)
            self._attempt.heard = True
            raise Failure("snmp", _PROBLEMS.get(kind, "the agent's answer can't be used"))
        self._attempt.heard = True
        if status:
            raise Failure("snmp", f"the agent refuses: {status.prettyPrint()}")
        return rows


_PROBLEMS: Final = {
    "UnknownUserName": "the agent does not know the user",
    "WrongDigest": "the agent refuses the auth-key",
    "AuthenticationFailure": "the agent refuses the auth-key",
    "DecryptionError": "the agent refuses the privacy-key",
    "UnsupportedSecurityLevel": "the agent wants other auth or privacy",
    "UnsupportedSecLevel": "the agent wants other auth or privacy",
}
"""Never the library's own words, which may hold what it was given."""


def _user(options: dict[str, CheckValue]) -> Any:
    if options.get("version") != "3":
        return hlapi.CommunityData(secret.read(options["community"]), mpModel=1)
    keys: dict[str, Any] = {}
    if "auth" in options:
        keys["authProtocol"] = _AUTH[str(options["auth"])]
        keys["authKey"] = _passphrase(options["auth-key"])
    if "privacy" in options:
        keys["privProtocol"] = _PRIVACY[str(options["privacy"])]
        keys["privKey"] = _passphrase(options["privacy-key"])
    return hlapi.UsmUserData(str(options["user"]), **keys)


def _passphrase(option: Any) -> str:
    text = secret.read(option)
    if len(text) < 8:
        # RFC 3414, 11.2.
        raise Failure("secret", "a key of SNMP has 8 characters or more", silent=True)
    return text
