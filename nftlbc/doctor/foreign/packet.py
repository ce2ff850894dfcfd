"""A packet as far as it is known, field by field.

A field that is absent here may have any value; NOTHING is a field that the packet does not have,
as the IPv4 address of an IPv6 packet. Fields are named as in nft: ``ip daddr``, ``th dport``,
``iifname``, ``ct state``, ``ct original ip daddr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from nftlbc.farms import Address, Protocol
from nftlbc.table.model import OURS

ALL: Final = 0xFFFF_FFFF


class Bits(NamedTuple):
    """A 32-bit number of which some bits are known."""

    value: int
    known: int = ALL


class Flags(NamedTuple):
    """A set of flags: those that are surely set, and whether others may be."""

    names: frozenset[str]
    others: bool = False


class Outside(NamedTuple):
    """An address of which is known only that it is not in a network."""

    network: str


class Between(NamedTuple):
    """A number of which is known only where it lies, both ends included."""

    first: int
    last: int


class Nothing:
    """The packet has no such field."""


NOTHING: Final = Nothing()

Value = str | int | Bits | Flags | Outside | Between | Nothing
Packet = Mapping[str, Value]

OUR_MARK: Final = Bits(OURS, OURS)
"""The mark of any connection of ours: its bit 31 is set, the others may be anything."""
NO_MARK: Final = Bits(0)
_CLIENTS_PORT: Final = Between(1024, 65535)
"""Clients ask from ports like these; what is meant for port 53 is not meant for them."""

_UNTRACKED: Final[dict[str, Value]] = {
    "ct state": Flags(frozenset({"invalid"})),
    "ct mark": NOTHING,
    "ct status": NOTHING,
    "ct direction": NOTHING,
}
"""Before a connection is looked up the kernel calls its packets invalid, and knows no more."""


class Path(NamedTuple):
    """One way of connections through this machine, as far as it is known; see ``packets``."""

    family: Literal[4, 6]
    protocol: Protocol | None = None
    listener: Address | None = None
    port: int | None = None
    backend: Address | None = None
    backend_port: int | None = None
    arrives: str | None = None
    """The interface by which clients come in."""
    leaves: str | None = None
    """The interface that leads to the backend."""
    here: bool | None = None
    """The listener's address is this machine's own."""
    inside: str | None = None
    """The network that the backend is in, and no client is."""


def arriving(path: Path, *, tracked: bool) -> Packet:
    """A client's first packet before its address is translated."""
    fields = _common(path, path.arrives)
    _add(fields, f"{_ip(path)} saddr", _client(path))
    _add(fields, f"{_ip(path)} daddr", path.listener)
    fields["th sport"] = _CLIENTS_PORT
    _add(fields, "th dport", path.port)
    if path.here is not None:
        fields["fib daddr type"] = "local" if path.here else "unicast"
    if not tracked:
        return fields | _UNTRACKED
    fields["ct state"] = Flags(frozenset({"new"}))
    fields["ct mark"] = NO_MARK
    fields["ct status"] = Flags(frozenset())
    fields["ct direction"] = "original"
    return fields


def translated(path: Path, state: str = "new", *, routed: bool = True) -> Packet:
    """A client's packet on its way to the backend: the first, or with ``established`` a later
    one. ``routed``: the interface by which it leaves is known already.
    """
    fields = _common(path, path.arrives)
    _add(fields, f"{_ip(path)} saddr", _client(path))
    _add(fields, f"{_ip(path)} daddr", path.backend)
    fields["th sport"] = _CLIENTS_PORT
    _add(fields, "th dport", path.backend_port)
    if routed:
        _add(fields, "oifname", path.leaves)
    fields["fib daddr type"] = "unicast"
    return fields | _connection(path, state, "original")


def answering(path: Path, *, routed: bool = True, tracked: bool = True) -> Packet:
    """A backend's packet on its way to the client."""
    fields = _common(path, path.leaves)
    _add(fields, f"{_ip(path)} saddr", path.backend)
    _add(fields, f"{_ip(path)} daddr", _client(path))
    _add(fields, "th sport", path.backend_port)
    fields["th dport"] = _CLIENTS_PORT
    if routed:
        _add(fields, "oifname", path.arrives)
    return fields | (_connection(path, "established", "reply") if tracked else _UNTRACKED)


def _connection(path: Path, state: str, direction: str) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "ct state": Flags(frozenset({state})),
        "ct status": Flags(frozenset({"dnat"}), others=True),
        "ct direction": direction,
        "ct mark": OUR_MARK,
    }
    _add(fields, f"ct original {_ip(path)} daddr", path.listener)
    _add(fields, "ct original proto-dst", path.port)
    return fields


def _common(path: Path, device: str | None) -> dict[str, Value]:
    other = "ip" if path.family == 6 else "ip6"
    fields: dict[str, Value] = {
        "nfproto": "ipv6" if path.family == 6 else "ipv4",
        f"{other} saddr": NOTHING,
        f"{other} daddr": NOTHING,
    }
    _add(fields, "l4proto", path.protocol)
    _add(fields, "iifname", device)
    return fields


def _add(fields: dict[str, Value], name: str, value: Value | None) -> None:
    if value is not None:
        fields[name] = value


def _client(path: Path) -> Outside | None:
    return None if path.inside is None else Outside(path.inside)


def _ip(path: Path) -> str:
    return "ip6" if path.family == 6 else "ip"
