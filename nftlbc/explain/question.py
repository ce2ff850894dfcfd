"""Reading what is asked: FROM is ``address[:port]``, TO is ``address:port[/protocol]``."""

from __future__ import annotations

from typing import cast, get_args

from nftlbc.diagnostics import Diagnostic, did_you_mean, error, in_words
from nftlbc.explain.outcome import EntryHook, Packet
from nftlbc.farms import Address, Protocol, family_of

_FROM = "FROM is ADDRESS or ADDRESS:PORT: 198.51.100.7, 198.51.100.7:40000, [2001:db8::7]:40000"
_TO = "TO is ADDRESS:PORT/PROTOCOL: 203.0.113.10:443, 203.0.113.10:53/udp, [2001:db8::10]:443/tcp"
_PROTOCOLS: tuple[str, ...] = get_args(Protocol)


class _Mistake(Exception):
    def __init__(self, message: str, help: str | None) -> None:
        super().__init__(message)
        self.diagnostic = error(message, None, help)


def packet(source: str, target: str) -> tuple[Packet | None, list[Diagnostic]]:
    """The first packet from FROM to TO, or what is wrong with them.

    A packet from a loopback address or from TO's own is one of the balancer's own processes.
    """
    mistakes: list[Diagnostic] = []
    try:
        address, source_port = _endpoint(source, _FROM)
    except _Mistake as mistake:
        mistakes.append(mistake.diagnostic)
    try:
        destination, port, protocol = _target(target)
    except _Mistake as mistake:
        mistakes.append(mistake.diagnostic)
    if mistakes:
        return None, mistakes
    if family_of(address) != family_of(destination):
        families = [f"{each} is IPv{family_of(each)}" for each in (address, destination)]
        return None, [error(f"{' and '.join(families)}: no connection is both", None)]
    own = address == destination or address == "::1" or address.startswith("127.")
    hook: EntryHook = "output" if own else "prerouting"
    return Packet(address, source_port, destination, port, protocol, hook), []


def _target(text: str) -> tuple[Address, int, Protocol]:
    where, slash, protocol = text.partition("/")
    address, port = _endpoint(where, _TO)
    if port is None:
        raise _Mistake(f"{text} has no port", _TO)
    protocol = protocol if slash else "tcp"
    if protocol not in _PROTOCOLS:
        near = did_you_mean(protocol, _PROTOCOLS)
        raise _Mistake(f"{protocol!r} is none of {in_words(_PROTOCOLS)}", near or _TO)
    return address, port, cast(Protocol, protocol)


def _endpoint(text: str, help: str) -> tuple[Address, int | None]:
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _Mistake(f"{text!r} is not [ADDRESS]:PORT", help)
        colon, port = rest[:1], rest[1:]
    elif text.count(":") > 1:
        address, colon, port = text, "", ""
    else:
        address, colon, port = text.partition(":")
    return _address(address, help), _port(port, help) if colon else None


def _address(text: str, help: str) -> Address:
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _Mistake(f"{text!r} is not an address", help) from None
    if "%" in text:
        raise _Mistake(f"{text!r} names an interface, which is not looked at", help)
    return str(address)


def _port(text: str, help: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise _Mistake(f"{text!r} is not a port", help)
    port = int(text[:6])
    if not 1 <= port <= 65535:
        raise _Mistake(f"port {text} is not between 1 and 65535", help)
    return port
