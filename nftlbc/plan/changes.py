"""What differs between two views of a table, farm by farm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from nftlbc.farms import FAMILIES, Family
from nftlbc.plan.live import Live
from nftlbc.plan.view import Farm, Pool, Server


class Change(NamedTuple):
    """One thing that changes."""

    kind: str
    """``farm-added``, ``farm-removed``, ``listener-added``, ``listener-removed``,
    ``listener-port``, ``settings``, ``backend-added``, ``backend-removed``, ``backend-renamed``,
    ``backend-down``, ``backend-up``, ``share``, ``weight``, ``slots``, ``source``, ``persist``;
    ``program`` for rules and maps; ``drift`` for what was not nftlbc's doing."""
    farm: str
    """Empty: the table is meant."""
    subject: str
    """The listener, the backend, the map or the chain; empty where all is meant."""
    text: str
    """The change in words, without the farm."""


def between(old: Mapping[str, Farm], new: Mapping[str, Farm], live: Live) -> list[Change]:
    """The changes from one view to the other, by farm."""
    found: list[Change] = []
    for name in sorted({*old, *new}):
        if name not in new:
            found.append(_removed(name, old[name], live))
        elif name not in old:
            farm = new[name]
            text = f"added: {_count(len(farm.listeners), 'listener')}, {_backends(farm)}"
            found.append(Change("farm-added", name, "", text))
        elif old[name] != new[name]:
            found += _listeners(name, old[name], new[name])
            found += _settings(name, old[name], new[name])
            for family in FAMILIES:
                pools = old[name].pools[family], new[name].pools[family]
                found += _servers(name, *pools, live)
                found += _slots(name, *pools)
                found += _source(name, *pools)
                found += _persistence(name, family, old[name], new[name], live)
    return found


def _removed(name: str, farm: Farm, live: Live) -> Change:
    what = f"{_count(len(farm.listeners), 'listener')}, {_backends(farm)}"
    stakes = ", ".join(live.of(farm.marks))
    return Change("farm-removed", name, "", f"removed: {what}{stakes and '; ' + stakes}")


def _backends(farm: Farm) -> str:
    return _count(len(farm.marks), "backend")


def _listeners(name: str, old: Farm, new: Farm) -> Iterator[Change]:
    for listener in old.listeners:
        if listener not in new.listeners:
            yield Change("listener-removed", name, listener, f"no longer listens on {listener}")
    for listener, port in new.listeners.items():
        if listener not in old.listeners:
            own = f", to port {port}" if port else ""
            yield Change("listener-added", name, listener, f"listens on {listener}{own}")
        elif old.listeners[listener] != port:
            ports = [each or "the backends' own" for each in (old.listeners[listener], port)]
            text = f"{listener} goes to port {ports[0]} -> {ports[1]}"
            yield Change("listener-port", name, listener, text)


def _settings(name: str, old: Farm, new: Farm) -> Iterator[Change]:
    """Statements that changed, but for those that are told by what comes of them."""
    before, after = _by_keyword(old.settings), _by_keyword(new.settings)
    for keyword in sorted({*before, *after}):
        if before.get(keyword) != after.get(keyword) and keyword not in ("persist", "forward"):
            was, is_ = (
                each.get(keyword) or _DEFAULTS.get(keyword, "none") for each in (before, after)
            )
            yield Change("settings", name, keyword, f"{keyword}: {was} -> {is_}")


_DEFAULTS = {
    "balance": "round-robin",
    "quorum": "1",
    "hairpin": "no",
    "on-down": "keep",
    "when-all-down": "refuse",
    "slow-start": "none",
    "count": "connections only",
}


def _by_keyword(settings: str) -> dict[str, str]:
    """The statements without their keywords; the value of one that is only a keyword is yes."""
    found = {}
    for statement in settings.split("; ") if settings else ():
        keyword, _, value = statement.partition(" ")
        found[keyword] = value or "yes"
    return found


def _servers(name: str, old: Pool, new: Pool, live: Live) -> Iterator[Change]:
    for mark, server in old.servers.items():
        if mark not in new.servers:
            text = f"backend {server.name} ({server}) removed{_leaves(old, mark, live)}"
            yield Change("backend-removed", name, server.name, text)
    for mark, server in new.servers.items():
        before = old.servers.get(mark)
        if before is None:
            text = f"backend {server.name} ({server}) added{_gets(new, server)}"
            yield Change("backend-added", name, server.name, text)
            continue
        if before.name != server.name:
            text = f"backend {before.name} is renamed {server.name}; nothing moves"
            yield Change("backend-renamed", name, server.name, text)
        if before.down != server.down:
            text = f"backend {server.name} up -> down{_leaves(old, mark, live)}"
            if before.down:
                text = f"backend {server.name} down -> up{_gets(new, server)}"
            yield Change("backend-down" if server.down else "backend-up", name, server.name, text)
        elif _share(old, before) != _share(new, server):
            yield _share_change(name, old, before, new, server)
        elif before.weight is not None and before.weight != server.weight:
            text = f"backend {server.name}: weight {before.weight} -> {server.weight}"
            yield Change("weight", name, server.name, f"{text}; no share changes now")


def _share_change(name: str, old: Pool, before: Server, new: Pool, server: Server) -> Change:
    shares = f"share {_share_text(old, before)} -> {_share_text(new, server)}"
    text = f"backend {server.name}: {shares}"
    if before.weight is not None and before.weight != server.weight:
        weights = f"weight {before.weight} -> {server.weight}"
        text = f"backend {server.name}: {weights}; its {shares}"
    if server.slots == 0:
        text += "; it takes no new clients"
    return Change("share", name, server.name, text)


def _leaves(pool: Pool, mark: int, live: Live) -> str:
    server = pool.servers[mark]
    if server.down:
        text = "; it was down"
    elif server.slots:
        text = f"; its {_share_text(pool, server)} goes to others"
    else:
        text = "; it took no new clients"
    stakes = live.of([mark])
    return f"{text}; {', '.join(stakes)}" if stakes else text


def _gets(pool: Pool, server: Server) -> str:
    if server.down:
        return ", down"
    return f"; it gets {_share_text(pool, server)}" if server.slots else "; it takes no new clients"


def _slots(name: str, old: Pool, new: Pool) -> Iterator[Change]:
    if old.slots == new.slots or not old.slots or not new.slots:
        return
    if len(old.slots) != len(new.slots):
        text = f"{len(old.slots)} -> {len(new.slots)} slots"
    else:
        moved = sum(old.slots[slot] != mark for slot, mark in new.slots.items())
        text = f"{moved} of {len(new.slots)} slots move"
    yield Change("slots", name, "", text)


def _source(name: str, old: Pool, new: Pool) -> Iterator[Change]:
    if old.source != new.source and new.servers:
        text = f"connections no longer come from {old.source}"
        if new.source:
            text = (
                f"connections come from {new.source}{f', before {old.source}' * bool(old.source)}"
            )
        yield Change("source", name, "", text)


def _persistence(name: str, family: Family, old: Farm, new: Farm, live: Live) -> Iterator[Change]:
    before, after = old.pools[family], new.pools[family]
    if (before.sticky, before.known_by) == (after.sticky, after.known_by) or not after.servers:
        return
    kept = before.known_by == after.known_by
    if after.sticky is None:
        # A pool without living backends looks for nobody; its map stays.
        if all(server.down for server in after.servers.values()):
            return
        text = "are no longer known again"
    elif before.sticky is None:
        if all(server.down for server in before.servers.values()):
            return
        text = f"are known again by {_persisting(new, after.sticky)}"
    else:
        was, is_ = _persisting(old, before.sticky), _persisting(new, after.sticky)
        text = f"are known again by {was} -> {is_}"
    known = live.of_sticky(before.servers)
    if known:
        one = known.startswith("1 ")
        fate = (
            ("stays known" if one else "stay known")
            if kept
            else f"{'is' if one else 'are'} forgotten"
        )
        text += f"; {known} {fate}"
    yield Change("persist", name, "", f"IPv{family} clients {text}")


def _persisting(farm: Farm, map: str) -> str:
    """``source-ip, source-port for 300s size 4096``; where a hand took the farm's record away,
    as the name of its sticky map has it."""
    written = _by_keyword(farm.settings).get("persist")
    if written:
        return written
    parts = map.split("_")
    keys, time = parts[1].replace(".", ", "), parts[2]
    own = f" size {parts[3]}" if len(parts) > 4 else ""
    return f"{keys} for {time}{own}"


def _share(pool: Pool, server: Server) -> Fraction:
    return Fraction(server.slots, len(pool.slots)) if pool.slots else Fraction(0)


def _share_text(pool: Pool, server: Server) -> str:
    return f"{float(_share(pool, server)) * 100:.4g} %"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
