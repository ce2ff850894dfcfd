"""What foreign chains do to the farms' packets, chain by chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from nftlbc.doctor.foreign.model import Chain, Table
from nftlbc.doctor.foreign.packet import Packet, Path, answering, arriving, translated
from nftlbc.doctor.foreign.walking import Effect, Outcome, Walk
from nftlbc.doctor.situation import Situation
from nftlbc.farms import FAMILIES, Farm

TRACKING: Final = -200
"""The priority of connection tracking; what stands before it sees packets as they are."""
OURS: Final = -100
_VISITS: Final = 150_000
"""Visits of rules for one check, about half a second; what has not been tried by then is not."""


class Standing(NamedTuple):
    """A chain that stands in the way, and the rule that does it."""

    table: Table
    chain: Chain
    outcome: Outcome
    farm: Farm | None
    """None where no farm was asked for."""
    path: Path
    answer: bool
    """It is the backend's answer."""
    lone: bool = False
    """Nothing in the chain decides what becomes of the packet: it may as well be left."""

    @property
    def where(self) -> tuple[str, str]:
        return str(self.table), self.chain.name

    @property
    def rule(self) -> str:
        """``chain forward, handle 7``, ``chain FORWARD, its policy``."""
        if self.outcome.rule is None:
            return f"chain {self.outcome.chain}, its policy"
        label = self.outcome.rule.label
        return label if label.startswith("-A ") else f"chain {self.outcome.chain}, {label}"


class Inspection:
    """Walks through the foreign chains, as many as there is time for."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._left = _VISITS
        self.tried = 0
        """Paths."""
        self.complete = True
        """All paths were tried."""

    @property
    def spent(self) -> bool:
        """There is no time for more."""
        return self._left <= 0

    def paths(self) -> Iterator[tuple[Farm, Path]]:
        for farm, path in self._situation.paths():
            if self.spent:
                self.complete = False
                return
            self.tried += 1
            yield farm, path

    def tables(self, path: Path) -> Iterator[Table]:
        for table in self._situation.ruleset.tables:
            if table.sees(path.family):
                yield table

    def walk(self, table: Table, chain: Chain, packet: Packet) -> Walk:
        walk = Walk(table, packet).run(chain)
        self._left -= walk.visits + 1
        return walk

    def blocking(self, farm: Farm, path: Path) -> Iterator[Standing]:
        """The chains that drop a client's first packet or the backend's answer, whatever of it
        is not known."""
        for table in self.tables(path):
            for chain, packet, answer in _filtered(table, path):
                walk = self.walk(table, chain, packet)
                if walk.blocked():
                    yield Standing(table, chain, walk.ends[-1], farm, path, answer)

    def dropping_all(self) -> Iterator[Standing]:
        """The forward chains that drop any connection of any farm, or all answers."""
        for family in FAMILIES:
            path = Path(family)
            for table in self.tables(path):
                for chain in table.hooked("forward"):
                    for answer, packet in enumerate((translated(path), answering(path))):
                        walk = self.walk(table, chain, packet)
                        if walk.blocked():
                            yield Standing(table, chain, walk.ends[-1], None, path, bool(answer))

    def marking(self, farm: Farm | None, path: Path) -> Iterator[Standing]:
        """The chains that set the connection's mark once it is ours, or copy it."""
        for table in self.tables(path):
            for chain in table.hooked("prerouting", "forward", "postrouting"):
                for answer, packet in _marked(chain, path):
                    walk = self.walk(table, chain, packet)
                    lone = all(
                        each.effect is Effect.ACCEPT and each.rule is None for each in walk.ends
                    )
                    for event in walk.events:
                        if event.effect in (Effect.SAVE_MARK, Effect.RESTORE_MARK):
                            yield Standing(table, chain, event, farm, path, answer, lone)

    def translating(self, farm: Farm, path: Path) -> Iterator[Standing]:
        """The chains that give a listener's connections to somebody else, before ours can."""
        for table in self.tables(path):
            for chain in table.hooked("prerouting"):
                if chain.hook and chain.hook.kind == "nat" and chain.hook.priority <= OURS:
                    walk = self.walk(table, chain, arriving(path, tracked=True))
                    for end in walk.ends:
                        if end.effect is Effect.TRANSLATE:
                            yield Standing(table, chain, end, farm, path, False)
                            break

    def untracking(self, farm: Farm, path: Path) -> Iterator[Standing]:
        """The chains that keep a listener's packets, or a backend's answers, from being tracked:
        what is not tracked is not translated."""
        for table in self.tables(path):
            for chain in table.hooked("prerouting"):
                if chain.hook is None or chain.hook.priority >= TRACKING:
                    continue
                packets = (arriving(path, tracked=False), answering(path, tracked=False))
                for answer, packet in enumerate(packets):
                    for event in self.walk(table, chain, packet).events:
                        if event.effect is Effect.UNTRACK:
                            yield Standing(table, chain, event, farm, path, bool(answer))
                            break

    def replacing(self, farm: Farm, path: Path) -> Iterator[Standing]:
        """The chains that surely replace the clients' addresses."""
        for table in self.tables(path):
            for chain in table.hooked("postrouting"):
                if chain.hook and chain.hook.kind == "nat":
                    walk = self.walk(table, chain, translated(path))
                    for end in walk.ends:
                        if end.effect is Effect.SOURCE and end.certain:
                            yield Standing(table, chain, end, farm, path, False)
                            break


def _filtered(table: Table, path: Path) -> Iterator[tuple[Chain, Packet, bool]]:
    """Each chain that may drop, and the packet as it comes by there."""
    middle = "forward" if path.leaves is not None else "input"
    for chain in table.hooked("ingress", "prerouting", middle, "postrouting"):
        hook = chain.hook
        if hook is None or (hook.kind == "nat" and hook.name != "prerouting"):
            continue
        if hook.name == "ingress":
            for device, packet, answer in (
                (path.arrives, arriving(path, tracked=False), False),
                (path.leaves, answering(path, tracked=False), True),
            ):
                if device is not None and device in (hook.devices or ()):
                    yield chain, packet, answer
        elif hook.name == "prerouting":
            if hook.priority <= OURS:
                yield chain, arriving(path, tracked=hook.priority >= TRACKING), False
            elif hook.kind != "nat":
                yield chain, translated(path, routed=False), False
            if hook.kind != "nat":
                tracked = hook.priority >= TRACKING
                yield chain, answering(path, routed=False, tracked=tracked), True
        else:
            yield chain, translated(path), False
            if middle == "forward":
                yield chain, answering(path), True


def _marked(chain: Chain, path: Path) -> Iterator[tuple[bool, Packet]]:
    """A connection's packets as they come by a chain, once they bear our mark."""
    hook = chain.hook
    if hook is None or hook.priority < TRACKING:
        return
    routed = hook.name != "prerouting"
    if routed or hook.priority > OURS:
        yield False, translated(path, routed=routed)
    if hook.kind != "nat":
        yield False, translated(path, "established", routed=routed)
        yield True, answering(path, routed=routed)
