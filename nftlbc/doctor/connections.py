"""The connections that the kernel tracks: do backends answer where nobody can know it else?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple

from nftlbc.doctor.finding import Unseen
from nftlbc.doctor.machine import Machine
from nftlbc.farms import Address

_MOST: Final = 32 * 1024 * 1024
"""Bytes that are read: some 180 000 connections."""


class Connection(NamedTuple):
    client: Address
    listener: Address
    """Where the client sent it."""
    backend: Address
    """Where it went."""
    answered: bool


def read_connections(machine: Machine) -> tuple[Connection, ...]:
    """The connections whose destination is translated. Raises Unseen."""
    text = machine.read("proc/net/nf_conntrack", _MOST)
    if text is None:
        raise Unseen("the kernel does not list its connections")
    found = []
    for line in text.split("\n"):
        if "src=" in line:
            connection = _connection(line)
            if connection is not None:
                found.append(connection)
    return tuple(found)


def _connection(line: str) -> Connection | None:
    """Both directions have a src= and a dst=; who answers is the source of the second."""
    sources, targets = [], []
    for word in line.split():
        if word.startswith("src="):
            sources.append(word[4:])
        elif word.startswith("dst="):
            targets.append(word[4:])
    if len(sources) != 2 or not targets or sources[1] == targets[0]:
        return None
    try:
        client, listener, backend = (
            str(ip_address(each)) for each in (sources[0], targets[0], sources[1])
        )
    except ValueError:
        return None
    return Connection(client, listener, backend, "[UNREPLIED]" not in line)
