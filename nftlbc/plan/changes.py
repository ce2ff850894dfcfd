"""What differs between two views of a table, farm by farm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from nftlbc.farms import FAMILIES
from nftlbc.plan.view import Farm, Pool, Server


class Change(NamedTuple):
    """One thing that changes in a farm."""

    kind: str
    """``farm-added``, ``farm-removed``, ``listener-added``, ``listener-removed``,
    ``listener-port``, ``backend-added``, ``backend-removed``, ``backend-renamed``, ``share``,
    ``slots``, ``program``."""
    farm: str
    subject: str
    """The listener or the backend; empty where the farm is meant."""
    text: str
    """The change in words, without the farm."""


def between(old: Mapping[str, Farm], new: Mapping[str, Farm]) -> list[Change]:
    """The changes from one view to the other, by farm."""
    found: list[Change] = []
    for name in sorted({*old, *new}):
        if name not in new:
            found.append(_whole(name, old[name], "removed"))
        elif name not in old:
            found.append(_whole(name, new[name], "added"))
        elif old[name] != new[name]:
            found += _listeners(name, old[name], new[name])
            for family in FAMILIES:
                found += _pool(name, old[name].pools[family], new[name].pools[family])
    return found


def _whole(name: str, farm: Farm, word: str) -> Change:
    servers = sum(len(pool.servers) for pool in farm.pools.values())
    text = f"{word}: {_count(len(farm.listeners), 'listener')}, {_count(servers, 'backend')}"
    return Change(f"farm-{word}", name, "", text)


def _listeners(name: str, old: Farm, new: Farm) -> Iterator[Change]:
    for listener in old.listeners:
        if listener not in new.listeners:
            yield Change("listener-removed", name, listener, f"no longer listens on {listener}")
    for listener, port in new.listeners.items():
        if listener not in old.listeners:
            own = f", to port {port}" if port else ""
            yield Change("listener-added", name, listener, f"listens on {listener}{own}")
        elif old.listeners[listener] != port:
            before, after = (each or "the backends' own" for each in (old.listeners[listener], port))
            text = f"{listener} goes to port {before} -> {after}"
            yield Change("listener-port", name, listener, text)


def _pool(name: str, old: Pool, new: Pool) -> Iterator[Change]:
    for mark, server in old.servers.items():
        if mark not in new.servers:
            text = f"backend {server.name} ({server}) removed or down; {_share_text(old, server)} goes to others"
            yield Change("backend-removed", name, server.name, text)
    for mark, server in new.servers.items():
        before = old.servers.get(mark)
        if before is None:
            text = f"backend {server.name} ({server}) added or up; it gets {_share_text(new, server)}"
            yield Change("backend-added", name, server.name, text)
            continue
        if before.name != server.name:
            text = f"backend {before.name} is renamed {server.name}; nothing moves"
            yield Change("backend-renamed", name, server.name, text)
        if _share(old, before) != _share(new, server):
            text = f"backend {server.name}: share {_share_text(old, before)} -> {_share_text(new, server)}"
            if server.slots == 0:
                text += "; it takes no new clients"
            yield Change("share", name, server.name, text)
    yield from _slots(name, old, new)


def _slots(name: str, old: Pool, new: Pool) -> Iterator[Change]:
    if old.slots == new.slots or not old.slots or not new.slots:
        return
    if len(old.slots) != len(new.slots):
        text = f"{len(old.slots)} -> {len(new.slots)} slots; the round robin starts anew"
    else:
        moved = sum(old.slots[slot] != mark for slot, mark in new.slots.items())
        text = f"{moved} of {len(new.slots)} slots move"
    yield Change("slots", name, "", text)


def _share(pool: Pool, server: Server) -> Fraction:
    return Fraction(server.slots, len(pool.slots)) if pool.slots else Fraction(0)


def _share_text(pool: Pool, server: Server) -> str:
    return f"{float(_share(pool, server)) * 100:.4g} %"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
