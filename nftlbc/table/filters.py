"""What every packet of a connection passes, where that is asked for: counting (``count traffic``)
and the end of connections to backends that are cut off. Without either there are no such chains,
and established packets pay nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple

from nftlbc.farms import Milliseconds
from nftlbc.table.model import (
    BACKEND_BITS,
    Chain,
    ElementKey,
    Elements,
    Goto,
    Hook,
    Map,
    MatchArrived,
    MatchDirection,
    MatchMarkIn,
    MatchNoReset,
    Reject,
    Rule,
    Statement,
)
from nftlbc.table.numbers import room_for

_BEFORE_FIREWALLS: Final = -10
"""Firewalls have priority 0: what they drop has arrived all the same, and whom they would drop
can still be told."""
_HOOKS: Final[tuple[Literal["forward", "input", "output"], ...]] = ("forward", "input", "output")
"""Backends elsewhere; backends on this machine; this machine as a client, and what its backends
answer."""


_SILENT: Final[Milliseconds] = 5 * 86_400_000
"""nf_conntrack_tcp_timeout_established, unless its owner changed it."""
_REMOVED: Final = "-"
"""Stands among the names of farms, and is none."""


class Watched(NamedTuple):
    chains: tuple[Chain, ...]
    maps: tuple[Map, ...]


def chains(
    traffic: Mapping[str, Elements],
    cut: Mapping[str, Elements],
    ending: Collection[int],
    sizes: Mapping[str, int],
) -> Watched:
    """The chains and sets for the backends whose traffic is counted, and for those cut off.

    ending: marks of removed backends whose connections are ended. They stay among those cut off
    for as long as the kernel remembers a connection that says nothing.
    """
    maps: list[Map] = []
    rules: list[Rule] = []
    if traffic:
        room = room_for(sum(map(len, traffic.values())))
        for name, direction in _COUNTED:
            size = sizes.get(name, room)
            counting = Map(f"{name}_{size}", "type mark", None, size, (), True, traffic)
            maps.append(counting)
            rules.append((MatchDirection(direction), MatchMarkIn(counting.name, BACKEND_BITS)))
    shared: list[Chain] = []
    if cut or ending:
        sections = dict(cut)
        if ending:
            sections[_REMOVED] = dict.fromkeys(sorted(ending))
        size = sizes.get("cut") or room_for(sum(map(len, sections.values())))
        leased: dict[ElementKey, Milliseconds] = dict.fromkeys(sorted(ending), _SILENT)
        flags = ("timeout",)
        ended = Map(f"cut_{size}", "type mark", None, size, flags, False, sections, leased)
        maps.append(ended)
        rules.append(
            (MatchDirection("original"), MatchMarkIn(ended.name, BACKEND_BITS), Goto("end"))
        )
        shared.append(_end())
    if rules:
        shared += [_base(hook, rules) for hook in _HOOKS]
    return Watched(tuple(shared), tuple(maps))


_COUNTED: Final[tuple[tuple[str, Literal["original", "reply"]], ...]] = (
    ("traffic-in", "original"),
    ("traffic-out", "reply"),
)


def _end() -> Chain:
    """A client's reset goes on to the backend. So do the backend's packets to the client: who
    only listens acknowledges them, and that is answered with a reset."""
    about = ("Connections of backends that are cut off end with their client's next packet.",)
    return Chain("end", ((MatchNoReset(), Reject(tcp_reset=True)),), about=about)


def _base(hook: Literal["forward", "input", "output"], rules: list[Rule]) -> Chain:
    # A connection of this machine to itself passes output and input; it counts once.
    first: tuple[Statement, ...] = (MatchArrived(),) if hook == "input" else ()
    priority = Hook(hook, _BEFORE_FIREWALLS, "filter")
    return Chain(f"filter-{hook}", tuple((*first, *rule) for rule in rules), priority)
