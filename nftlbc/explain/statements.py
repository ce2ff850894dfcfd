"""What each statement of a rule does to a packet and to its connection."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final

from nftlbc.explain.loaded import InterpreterError, Loaded
from nftlbc.explain.lookups import MARK, Lookups, number
from nftlbc.explain.outcome import (
    Delivered,
    Drew,
    Ended,
    Forgot,
    Hashed,
    Looked,
    Refused,
    Remembered,
    Sticky,
)
from nftlbc.explain.registers import Missing, hashed
from nftlbc.explain.state import State
from nftlbc.table.model import (
    AddToMark,
    Counter,
    Destination,
    Dnat,
    Drop,
    ElementData,
    Forget,
    Goto,
    Hash,
    Jump,
    Lookup,
    Masquerade,
    MatchMark,
    MatchNew,
    MatchProtocol,
    MatchSet,
    MatchTranslated,
    Reject,
    Remember,
    Rule,
    SetMark,
    SetPriority,
    Snat,
    VerdictMap,
)

Draw = Callable[[Counter], int]
"""The number in ``[0, modulus)`` that a ``numgen`` gives now."""


class Ends(enum.Enum):
    RULE = "nothing found: the next rule goes on"
    HOOK = "a verdict"


Effect = Ends | Jump | Goto | list[State] | None
"""None: the next statement; several states: it can go on in as many ways."""


class Machine:
    """Runs rules on states. Raises InterpreterError for statements that it does not know."""

    def __init__(self, loaded: Loaded, sticky: Sticky, draw: Draw | None) -> None:
        self._loaded = loaded
        self._lookups = Lookups(loaded, sticky)
        self._draw = draw

    def run_rule(self, state: State, rule: Rule) -> Effect:
        """From the state's statement to the end of its rule, or to what ends it before."""
        while state.statement < len(rule):
            statement = rule[state.statement]
            run = _RUNNERS.get(type(statement))
            if run is None:
                raise InterpreterError(f"{type(statement).__name__} is not known here")
            if not isinstance(state.mark, int) and _reads_mark(statement):
                return self._decide(state, state.mark, statement)
            state.statement += 1
            effect = run(self, state, statement)
            if effect is not None:
                return effect
        return Ends.RULE

    def _decide(self, state: State, marks: Sequence[int], statement: object) -> list[State]:
        """A state for each mark that it may have; all slots of a backend are one state."""
        match statement:
            case SetMark(Lookup(map, key)) if key == (MARK,):
                pass
            case _:
                return [state.fork(mark, Fraction(1, len(marks))) for mark in marks]
        groups: dict[ElementData, list[int]] = {}
        for mark in marks:
            found, data = self._lookups.find(state, map, mark)
            groups.setdefault(data if found else None, []).append(mark)
        forks = []
        for data, group in groups.items():
            fork = state.fork(group, Fraction(len(group), len(marks)))
            fork.note(Looked(map, None, data is not None, data))
            if data is None:
                fork.rule, fork.statement = fork.rule + 1, 0
            else:
                fork.mark, fork.statement = number(data), fork.statement + 1
            forks.append(fork)
        return forks

    def set_priority(self, state: State, statement: SetPriority) -> Effect:
        value = statement.value
        if isinstance(value, int):
            state.priority = value
            return None
        parts = self._lookups.fields(state, value.fields)
        if parts is Missing.ABSENT:
            return Ends.RULE
        if isinstance(parts, Missing):
            state.priority = parts
        else:
            state.priority = hashed(value, parts) + value.offset
        return None

    def set_mark(self, state: State, statement: SetMark) -> Effect:
        value = statement.value
        if isinstance(value, Lookup):
            found, data = self._lookups.look(state, value.map, value.key)
            if not found:
                return Ends.RULE
            state.mark = number(data)
            return None
        if isinstance(value, Hash):
            return self._hash_mark(state, value)
        drawn = None if self._draw is None else self._draw(value)
        state.note(Drew(value.kind, value.modulus, drawn))
        self._take_slot(state, value, drawn)
        return None

    def _hash_mark(self, state: State, value: Hash) -> Effect:
        parts = self._lookups.fields(state, value.fields)
        if parts is Missing.ABSENT:
            return Ends.RULE
        slot = None
        if isinstance(parts, Missing):
            state.note(Drew("source port", value.modulus, None))
        else:
            slot = hashed(value, parts)
            names = (field.name for field in value.fields)
            pairs = tuple(zip(names, parts, strict=True))
            state.note(Hashed(pairs, slot, value.modulus))
        self._take_slot(state, value, slot)
        return None

    def _take_slot(self, state: State, value: Counter | Hash, slot: int | None) -> None:
        if slot is None:
            state.mark = range(value.offset, value.offset + value.modulus)
        else:
            state.mark = value.offset + slot

    def add_to_mark(self, state: State, statement: AddToMark) -> Effect:
        state.mark = number(state.mark) | statement.bits
        return None

    def match_mark(self, state: State, statement: MatchMark) -> Effect:
        matches = number(state.mark) & statement.mask == statement.value
        return None if matches else Ends.RULE

    def match_new(self, _: State, __: MatchNew) -> Effect:
        return None  # a walk is that of a first packet

    def match_translated(self, state: State, _: MatchTranslated) -> Effect:
        return None if state.delivered is not None else Ends.RULE

    def match_protocol(self, state: State, statement: MatchProtocol) -> Effect:
        return None if state.packet.protocol in statement.protocols else Ends.RULE

    def match_set(self, state: State, statement: MatchSet) -> Effect:
        found, _ = self._lookups.look(state, statement.set, statement.key)
        return None if found else Ends.RULE

    def move(self, _: State, statement: Jump | Goto) -> Effect:
        return statement

    def verdict_map(self, state: State, statement: VerdictMap) -> Effect:
        found, chain = self._lookups.look(state, statement.map, statement.key)
        return Goto(str(chain)) if found else Ends.RULE

    def remember(self, state: State, statement: Remember) -> Effect:
        """Refreshes what is there whatever its data; a full map ends the rule."""
        map, mark = statement.map, number(state.mark)
        key = self._lookups.key(state, statement.key)
        if key is Missing.ABSENT:
            return Ends.RULE
        if isinstance(key, Missing):
            state.note(Remembered(map, None, mark, "new"))
            return None
        if self._lookups.entry(state, map, key) is not None:
            state.note(Remembered(map, key, mark, "refreshed"))
            return None
        size = self._loaded.map(map).size
        if size is not None and self._lookups.count(state, map) >= size:
            state.note(Remembered(map, key, mark, "map full"))
            return Ends.RULE
        state.note(Remembered(map, key, mark, "new"))
        state.remembered[map, key] = mark
        return None

    def forget(self, state: State, statement: Forget) -> Effect:
        """Goes on whether there was something or not."""
        key = self._lookups.key(state, statement.key)
        if key is Missing.ABSENT:
            return Ends.RULE
        if isinstance(key, Missing):
            state.note(Forgot(statement.map, None, None))
            return None
        mark = self._lookups.entry(state, statement.map, key)
        state.note(Forgot(statement.map, key, mark))
        if mark is not None:
            state.remembered[statement.map, key] = None
        return None

    def dnat(self, state: State, statement: Dnat) -> Effect:
        mark = number(state.mark)
        key = mark if statement.mask is None else mark & statement.mask
        found, data = self._loaded.element(statement.map, key)
        state.note(Looked(statement.map, key, found, data))
        if not found:
            return Ends.RULE
        if not isinstance(data, Destination):
            raise InterpreterError(f"{statement.map} holds {data!r}, which is no destination")
        port: int | None = state.packet.port
        port_of: Any = "client"
        if statement.with_port:
            port, port_of = data.port, "backend"
        elif statement.port is not None:
            found, own = self._lookups.look(state, statement.port.map, statement.port.key)
            if not found:
                return Ends.RULE
            port, port_of = number(own), "listener"
        if statement.family != state.packet.family:
            return Ends.RULE
        state.note(Ended("dnat"))
        state.delivered = Delivered(data.name, mark, data.address, number(port), port_of)
        return Ends.HOOK

    def snat(self, state: State, statement: Snat) -> Effect:
        mark = number(state.mark) & statement.mask
        found, address = self._loaded.element(statement.map, mark)
        state.note(Looked(statement.map, mark, found, address))
        if not found or statement.family != state.packet.family:
            return Ends.RULE
        return self._replace_source(state, str(address), Ended("snat"))

    def masquerade(self, state: State, _: Masquerade) -> Effect:
        return self._replace_source(state, "masqueraded", Ended("masquerade"))

    def _replace_source(self, state: State, source: str, end: Ended) -> Effect:
        state.note(end)
        state.replace_source(source)
        return Ends.HOOK

    def reject(self, state: State, statement: Reject) -> Effect:
        if statement.tcp_reset and state.packet.protocol != "tcp":
            return Ends.RULE
        state.note(Ended("reject"))
        state.outcome = Refused("tcp reset" if statement.tcp_reset else "icmp")
        return Ends.HOOK

    def drop(self, state: State, _: Drop) -> Effect:
        state.note(Ended("drop"))
        state.outcome = Refused("silence")
        return Ends.HOOK


def _reads_mark(statement: object) -> bool:
    match statement:
        case AddToMark() | MatchMark() | Remember() | Dnat() | Snat():
            return True
        case SetMark(Lookup(_, key)) | MatchSet(_, key) | VerdictMap(_, key) | Forget(_, key):
            return MARK in key
        case SetMark(Hash(fields)) | SetPriority(Hash(fields)):
            return MARK in fields
        case _:
            return False


_RUNNERS: Final[dict[type, Callable[[Machine, State, Any], Effect]]] = {
    SetPriority: Machine.set_priority,
    SetMark: Machine.set_mark,
    AddToMark: Machine.add_to_mark,
    MatchMark: Machine.match_mark,
    MatchNew: Machine.match_new,
    MatchTranslated: Machine.match_translated,
    MatchProtocol: Machine.match_protocol,
    MatchSet: Machine.match_set,
    Jump: Machine.move,
    Goto: Machine.move,
    VerdictMap: Machine.verdict_map,
    Remember: Machine.remember,
    Forget: Machine.forget,
    Dnat: Machine.dnat,
    Snat: Machine.snat,
    Masquerade: Machine.masquerade,
    Reject: Machine.reject,
    Drop: Machine.drop,
}
