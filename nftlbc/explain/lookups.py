"""What statements read: the packet's fields, keys made of them, and what maps hold there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from nftlbc.explain.loaded import InterpreterError, Loaded
from nftlbc.explain.outcome import Looked, Sticky
from nftlbc.explain.registers import Missing, packet_field
from nftlbc.explain.state import State
from nftlbc.table.model import ElementData, ElementKey, Field, Key, KeyPart

MARK: Final = Field("ct mark")
_NOTHING: Final[Mapping[ElementKey, int]] = MappingProxyType({})


class Lookups:
    """In a table, and in what the kernel remembers beside it."""

    def __init__(self, loaded: Loaded, sticky: Sticky) -> None:
        self._loaded = loaded
        self._sticky = sticky

    def field(self, state: State, field: Field) -> KeyPart | Missing:
        if field.name == "meta priority":
            return state.priority
        if field.name == "ct mark":
            return number(state.mark)
        return packet_field(state.packet, field)

    def fields(self, state: State, key: Key) -> tuple[KeyPart, ...] | Missing:
        parts = [self.field(state, field) for field in key]
        for reason in (Missing.ABSENT, Missing.UNKNOWN):
            if reason in parts:
                return reason
        return tuple(cast("list[KeyPart]", parts))

    def key(self, state: State, key: Key) -> ElementKey | Missing:
        parts = self.fields(state, key)
        return parts if isinstance(parts, Missing) or len(parts) > 1 else parts[0]

    def find(self, state: State, map: str, key: ElementKey) -> tuple[bool, ElementData]:
        if not self._loaded.map(map).dynamic:
            return self._loaded.element(map, key)
        mark = self.entry(state, map, key)
        return mark is not None, mark

    def entry(self, state: State, map: str, key: ElementKey) -> int | None:
        """An element of a dynamic map, as this packet has left it."""
        before = self._sticky.get(map, _NOTHING)
        return state.remembered.get((map, key), before.get(key))

    def look(self, state: State, map: str, fields: Key) -> tuple[bool, ElementData]:
        """A lookup, and its step."""
        key = self.key(state, fields)
        if key is Missing.ABSENT:
            return False, None
        if isinstance(key, Missing):
            if not self._loaded.map(map).dynamic:
                raise InterpreterError(f"{map} is looked up by the client's port")
            state.note(Looked(map, None, False))
            return False, None
        found, data = self.find(state, map, key)
        state.note(Looked(map, key, found, data))
        return found, data

    def count(self, state: State, map: str) -> int:
        before = self._sticky.get(map, _NOTHING)
        changes = [(key, mark) for (its, key), mark in state.remembered.items() if its == map]
        return len(before) + sum((mark is not None) - (key in before) for key, mark in changes)


def number(value: object) -> int:
    """A value that the table must have as a number."""
    if not isinstance(value, int):
        raise InterpreterError(f"{value!r} is no number")
    return value
