"""Walks a table as the kernel would, for the first packet of a connection.

What it follows of nft's ways: a rule ends where a lookup finds nothing, and the next one goes
on; ``jump`` comes back to the rule after it, ``goto`` does not; translating an address ends the
hook; ``update`` never overwrites what a map holds. What it does not model: that time passes
(entries given to it are alive), and other tables.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final, Literal, cast

from nftlbc.explain.outcome import (
    Delivered,
    Drew,
    Ended,
    Entered,
    Event,
    Forgot,
    Hashed,
    Looked,
    NotOurs,
    Outcome,
    Packet,
    Refused,
    Remembered,
    Share,
    Spread,
    Step,
    Sticky,
    Sure,
    Walk,
)
from nftlbc.explain.registers import Missing, hashed, packet_field
from nftlbc.table.model import (
    NO_PRIORITY,
    AddToMark,
    Chain,
    Counter,
    Destination,
    Dnat,
    ElementData,
    ElementKey,
    Field,
    Forget,
    Goto,
    Hash,
    Jump,
    Key,
    KeyPart,
    Lookup,
    Map,
    Masquerade,
    MatchMark,
    MatchProtocol,
    MatchSet,
    MatchTranslated,
    Reject,
    Remember,
    SetMark,
    SetPriority,
    Snat,
    Statement,
    Table,
    VerdictMap,
)

Draw = Callable[[Counter], int]
"""The number in ``[0, modulus)`` that a ``numgen`` gives now."""

_DEEPEST: Final = 16
"""Jumps within jumps that the kernel allows."""
_NOTHING: Final[Mapping[ElementKey, int]] = {}


class InterpreterError(Exception):
    """The table holds what the kernel would have refused, or what is not known here."""


def walk(
    table: Table, packet: Packet, *, sticky: Sticky | None = None, draw: Draw | None = None
) -> Walk:
    """One packet's way through a table; see Interpreter.walk."""
    return Interpreter(table).walk(packet, sticky=sticky, draw=draw)


def in_turn() -> Draw:
    """Counts for each ``numgen inc`` as the kernel does after loading: from 0, round and round."""
    counts: dict[Counter, int] = {}

    def draw(counter: Counter) -> int:
        number = counts.get(counter, 0)
        counts[counter] = (number + 1) % counter.modulus
        return number

    return draw
