"""Walking a foreign chain with a packet that is partly known: what may become of it there."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from nftlbc.doctor.foreign.matching import Truth, any_of, element_is, matches, value_of
from nftlbc.doctor.foreign.model import Chain, Rule, Table
from nftlbc.doctor.foreign.packet import Nothing, Packet

_DEEPEST: Final = 16
"""Jumps, as in the kernel."""
_RULES: Final = 20_000
"""Visits of rules in one walk; an end that is never reached is a maybe."""


class Effect(enum.Enum):
    """What a chain does to a packet. The first five end its way through the chain."""

    ACCEPT = "accepts"
    DROP = "drops"
    REJECT = "rejects"
    TRANSLATE = "translates"
    """Its destination: dnat, redirect, tproxy."""
    SOURCE = "replaces the source of"
    """snat, masquerade."""
    QUEUE = "hands to a program"
    UNTRACK = "leaves untracked"
    SAVE_MARK = "sets the connection mark of"
    RESTORE_MARK = "copies the connection mark to the mark of"


_ENDS: Final = {
    "accept": Effect.ACCEPT,
    "drop": Effect.DROP,
    "reject": Effect.REJECT,
    "dnat": Effect.TRANSLATE,
    "redirect": Effect.TRANSLATE,
    "tproxy": Effect.TRANSLATE,
    "snat": Effect.SOURCE,
    "masquerade": Effect.SOURCE,
    "queue": Effect.QUEUE,
    "synproxy": Effect.QUEUE,
    "fwd": Effect.QUEUE,
}
_ANSWERS: Final = {
    "icmp": ("nfproto", "ipv4"),
    "icmpv6": ("nfproto", "ipv6"),
    "tcp reset": ("l4proto", "tcp"),
}
"""Kinds of ``reject``, and the packets that they are for."""
_TARGETS: Final = {
    "DNAT": Effect.TRANSLATE,
    "REDIRECT": Effect.TRANSLATE,
    "TPROXY": Effect.TRANSLATE,
    "NETMAP": Effect.TRANSLATE,
    "SNAT": Effect.SOURCE,
    "MASQUERADE": Effect.SOURCE,
    "REJECT": Effect.REJECT,
    "NFQUEUE": Effect.QUEUE,
    "CT": Effect.UNTRACK,
    "NOTRACK": Effect.UNTRACK,
    "CONNMARK": Effect.SAVE_MARK,
}
"""Targets of iptables-nft, of which nft tells the name alone: what they may do."""


class Outcome(NamedTuple):
    effect: Effect
    certain: bool
    """It happens to every such packet; else to some perhaps."""
    chain: str
    rule: Rule | None
    """None: the chain's policy."""


@dataclass
class Walk:
    """A walk through one base chain."""

    table: Table
    packet: Packet
    ends: list[Outcome] = field(default_factory=list)
    """What may become of the packet; one that is certain is the only one."""
    events: list[Outcome] = field(default_factory=list)
    """What happens on the way."""
    visits: int = 0

    def blocked(self) -> bool:
        """Whatever is not known, the packet does not come through."""
        return bool(self.ends) and all(
            each.effect in (Effect.DROP, Effect.REJECT) for each in self.ends
        )

    def run(self, chain: Chain) -> Walk:
        if self._rules(chain, True, 0) and chain.hook is not None:
            effect = Effect.DROP if chain.hook.policy == "drop" else Effect.ACCEPT
            self.ends.append(Outcome(effect, not self.ends, chain.name, None))
        return self

    def _rules(self, chain: Chain, certain: bool, depth: int) -> bool:
        """Walks a chain that is reached for sure or not; whether it may come back."""
        may_return = False
        for rule in chain.rules:
            self.visits += 1
            if self.visits > _RULES:
                self.ends.append(Outcome(Effect.ACCEPT, False, chain.name, None))
                return True
            step = self._rule(_Spot(chain.name, rule), certain, depth)
            may_return = may_return or step.may_return
            if step.over:
                return may_return
            certain = certain and step.certain
        return True

    def _rule(self, spot: _Spot, certain: bool, depth: int) -> _Step:
        truth = Truth.YES
        may_return = False
        for statement in spot.rule.statements:
            holds = self._holds(statement)
            if holds is Truth.NO:
                break
            if holds is not None:
                truth = Truth.MAYBE if holds is Truth.MAYBE else truth
                continue
            for verdict, chance in self._verdicts(statement):
                sure = truth is Truth.YES and chance is Truth.YES
                step = self._verdict(spot, verdict, certain and sure, depth)
                may_return = may_return or step.may_return
                if step.over and sure:
                    return _Step(True, may_return)
                # Perhaps nothing comes this far any more.
                certain = certain and step.certain and not step.over
        return _Step(False, may_return, certain)

    def _verdict(self, spot: _Spot, verdict: Any, certain: bool, depth: int) -> _Step:
        """What one statement does to the packet."""
        if not isinstance(verdict, dict) or not verdict:
            return _Step(False, False)
        effect = _effect(verdict)
        if effect is not None:
            if "xt" in verdict:
                certain = False
            outcome = Outcome(effect, certain, spot.chain, spot.rule)
            if effect in _ENDING:
                self.ends.append(outcome)
                return _Step(True, False)
            self.events.append(outcome)
            return _Step(False, False)
        if "return" in verdict:
            return _Step(True, True)
        for kind in ("jump", "goto"):
            if kind in verdict:
                return self._jump(str(verdict[kind]["target"]), kind, certain, depth)
        return _Step(False, False)

    def _jump(self, target: str, kind: str, certain: bool, depth: int) -> _Step:
        chain = self.table.chains.get(target)
        before = len(self.ends)
        comes_back = chain is None or depth == _DEEPEST
        if chain is not None and not comes_back:
            comes_back = self._rules(chain, certain, depth + 1)
        if kind == "goto":
            return _Step(True, comes_back)
        return _Step(not comes_back, False, len(self.ends) == before)

    def _holds(self, statement: Any) -> Truth | None:
        """Whether a statement lets the rule go on; None: it is no condition."""
        if not isinstance(statement, dict) or len(statement) != 1:
            return Truth.MAYBE  # nft 1.0.6 gives some statements as bare text
        ((kind, body),) = statement.items()
        if kind == "match":
            return matches(body, self.packet, self.table.sets)
        if kind == "any":
            return any_of(matches(each, self.packet, self.table.sets) for each in body)
        if kind in ("limit", "quota", "ct count"):
            return Truth.MAYBE
        if kind == "xt":
            if isinstance(body, dict) and body.get("type") == "target":
                return None
            return Truth.MAYBE
        return None

    def _verdicts(self, statement: Any) -> Iterator[tuple[Any, Truth]]:
        """What a statement does; a verdict map may do several things."""
        if "reject" in statement:
            chance = self._rejected(statement["reject"])
            if chance is not Truth.NO:
                yield statement, chance
            return
        body = statement.get("vmap")
        if body is None:
            yield statement, Truth.YES
            return
        value = value_of(body["key"], self.packet)
        if isinstance(value, Nothing):
            return
        data = body["data"]
        if isinstance(data, str):
            elements: Any = self.table.sets.get(data.removeprefix("@"), ())
        else:
            elements = data["set"]
        for element in elements:
            key, verdict = element[0], element[1]
            chance = Truth.MAYBE if value is None else element_is(value, key)
            if chance is not Truth.NO:
                yield verdict, chance

    def _rejected(self, body: Any) -> Truth:
        """Whether a reject means the packet: nft leaves out of its listing the condition that
        follows from the answer (``meta nfproto ipv6 reject with icmpv6 ...``)."""
        kind = body.get("type") if isinstance(body, dict) else None
        if kind not in _ANSWERS:
            return Truth.YES
        field, only = _ANSWERS[kind]
        known = self.packet.get(field)
        return Truth.MAYBE if known is None else Truth.YES if known == only else Truth.NO


class _Spot(NamedTuple):
    chain: str
    rule: Rule


class _Step(NamedTuple):
    """After a statement or a rule."""

    over: bool
    """The chain goes no further."""
    may_return: bool
    """The calling chain may go on."""
    certain: bool = True
    """What follows in the chain is reached, if it is not over."""


_ENDING: Final = frozenset(_ENDS.values())


def _effect(verdict: dict[str, Any]) -> Effect | None:
    kind, body = next(iter(verdict.items()))
    if kind in _ENDS:
        return _ENDS[kind]
    if kind == "notrack":
        return Effect.UNTRACK
    if kind == "xt":
        name = str(body.get("name")) if isinstance(body, dict) else ""
        return _TARGETS.get(name)
    if kind == "mangle":
        key = body.get("key")
        if key == {"ct": {"key": "mark"}}:
            return Effect.SAVE_MARK
        if key == {"meta": {"key": "mark"}} and _reads_mark(body.get("value")):
            return Effect.RESTORE_MARK
    return None


def _reads_mark(value: Any) -> bool:
    """An expression in which the connection's mark occurs."""
    if isinstance(value, dict):
        if value.get("ct") == {"key": "mark"}:
            return True
        return any(map(_reads_mark, value.values()))
    return isinstance(value, list) and any(map(_reads_mark, value))
