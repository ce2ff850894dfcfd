"""Values: from a token, or from the define that stands for it, to what the model holds.

Each reader of a value gives None where it is no such value, and has then said so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nftlbc.diagnostics import Also, Diagnostic, error, near, warning
from nftlbc.farms import Milliseconds
from nftlbc.language.shapes import Node, Statement
from nftlbc.source import Place

_UNITS: Mapping[str, int] = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST: Milliseconds = 30 * _UNITS["d"]
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
LONGEST_NAME = 32
MOST_VALUES = 65_536
"""Of one list, those of its defines counted: they can double with every define."""
DEEPEST = 100
"""Defines in defines."""
MOST_GUESSES = 200_000
"""Comparisons of names that are nowhere with names that are, in search of the one meant."""


class Item(NamedTuple):
    """One value as it was written."""

    kind: str
    """The grammar's terminal."""
    text: str
    place: Place
    used: Place | None = None
    """Where the define that it comes from is used."""

    @property
    def also(self) -> Also | None:
        return Also("used here", self.used) if self.used else None


@dataclass
class Define:
    name: str
    place: Place
    statement: Statement
    values: Sequence[Node]
    used: bool = False
    items: tuple[Item, ...] | None = None
    """What it stands for, defines in it resolved; None until it is asked for."""
    open: bool = False
    """It is being resolved: met again, it contains itself."""


@dataclass
class Context:
    """What reading needs beside the file: the defines of all files, and a place for mistakes."""

    defines: dict[str, Define] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    files_missing: bool = False
    """A file could not be read, which has been told; who knows what it defines."""
    unseen: set[tuple[str, int | None]] = field(default_factory=set)
    """Files and lines with a character that nobody sees: what else is wrong there follows."""
    guesses: int = 0
    depth: int = 0
    """How many defines are being resolved, each in the one before."""

    def error(
        self, message: str, place: Place | None, help: str | None = None, also: Also | None = None
    ) -> None:
        self.diagnostics.append(error(message, place, help, also))

    def warn(
        self, message: str, place: Place | None, help: str | None = None, also: Also | None = None
    ) -> None:
        self.diagnostics.append(warning(message, place, help, also))

    def wrong(self, item: Item, message: str, help: str | None = None) -> None:
        """A mistake in a value, told where the value is written and where it is used."""
        self.error(message, item.place, help, item.also)


def items(context: Context, statement: Statement, nodes: Iterable[Node]) -> list[Item]:
    """The values of a list, those of its defines in their place; none after a mistake."""
    found: list[Item] = []
    for node in nodes:
        while node.children:  # a rule of one terminal
            node = node.children[0]
        text = statement.text(node)
        if node.rule == "REFERENCE":
            place = statement.place(node)
            found += [item._replace(used=place) for item in _resolve(context, text[1:], place)]
        else:
            found.append(Item(node.rule, text, statement.place(node)))
        if len(found) > MOST_VALUES:
            message = f"a list of more than {MOST_VALUES} values"
            context.error(message, statement.place(), None, _definition(context, text))
            return []
    return found


def _definition(context: Context, text: str) -> Also | None:
    """Where the define of a reference stands."""
    define = context.defines.get(text[1:]) if text[:1] == "$" else None
    return Also(f"{text} is defined here", define.place) if define else None


def single(context: Context, statement: Statement, node: Node, what: str) -> Item | None:
    """The one value of a place where no list may stand."""
    found = items(context, statement, (node,))
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        text = statement.text(node)
        context.error(
            f"{text} is a list of {len(found)} values, and {what} is one",
            statement.place(node),
            None,
            _definition(context, text),
        )
    return None


def _resolve(context: Context, name: str, place: Place) -> tuple[Item, ...]:
    define = context.defines.get(name)
    if define is None:
        context.guesses += len(context.defines)
        meant = near(name, context.defines) if context.guesses < MOST_GUESSES else None
        if meant or not context.files_missing:
            help = f"did you mean ${meant}?" if meant else f"write: define {name} = ..."
            context.error(f"${name} is not defined", place, help)
        return ()
    define.used = True
    if define.items is None:
        if define.open:
            also = Also("it is defined here", define.place)
            context.error(f"${name} contains itself", place, None, also)
            return ()
        if context.depth == DEEPEST:
            context.error(f"defines in defines, more than {DEEPEST} deep", place)
            return ()
        define.open = True
        context.depth += 1
        define.items = tuple(items(context, define.statement, define.values))
        context.depth -= 1
        define.open = False
    return define.items


def integer(context: Context, item: Item, what: str, low: int, high: int) -> int | None:
    if item.kind != "INT":
        context.wrong(item, f"{what} is a number from {low} to {high}, not {item.text!r}")
        return None
    value = int(item.text) if len(item.text) <= 12 else high + 1
    if not low <= value <= high:
        context.wrong(item, f"{what} {item.text[:20]} is not between {low} and {high}")
        return None
    return value


def port(context: Context, item: Item, what: str = "port") -> int | None:
    if item.kind == "INT":
        return integer(context, item, what, 1, 65535)
    help = (
        "a range stands for ports asked for, not for one to go to" if item.kind == "RANGE" else None
    )
    context.wrong(item, f"{item.text!r} is not a {what}: a number from 1 to 65535", help)
    return None


def port_range(context: Context, item: Item) -> tuple[int, int] | None:
    """A port or a range of ports, as (first, last)."""
    if item.kind == "INT":
        value = integer(context, item, "port", 1, 65535)
        return None if value is None else (value, value)
    if item.kind != "RANGE":
        help = "ports are numbers: 443, or a range 8000-8099"
        context.wrong(item, f"{item.text!r} is not a port", help)
        return None
    texts = item.text.split("-")
    first, last = (int(text) if len(text) <= 12 else 65536 for text in texts)
    for value, text in zip((first, last), texts, strict=True):
        if not 1 <= value <= 65535:
            context.wrong(item, f"port {text[:20]} is not between 1 and 65535")
            return None
    if first > last:
        context.wrong(
            item, f"the range {item.text} ends before it begins", f"did you mean {last}-{first}?"
        )
        return None
    return first, last


def duration(
    context: Context, item: Item, what: str, high: Milliseconds = LONGEST
) -> Milliseconds | None:
    """A time such as 500ms, 5s, 1m30s, 2h, 1d; never zero."""
    if item.kind != "DURATION":
        if item.kind == "INT":
            message, help = f"the time {item.text!r} has no unit", f"did you mean {item.text}s?"
        else:
            message, help = f"{item.text!r} is not a time", "times are 500ms, 5s, 1m30s, 2h or 1d"
        context.wrong(item, message, help)
        return None
    parts = re.findall(r"([0-9]+)(ms|[smhd])", item.text)
    value = sum(min(int(number[:15]), 10**15) * _UNITS[unit] for number, unit in parts)
    if value == 0:
        context.wrong(item, f"{what} can't be zero")
        return None
    if value > high:
        most = f"{high // _UNITS['d']}d" if high >= _UNITS["d"] else f"{high // _UNITS['m']}m"
        context.wrong(item, f"{what} of {item.text[:30]} is longer than {most}")
        return None
    return value


def name(context: Context, item: Item, what: str) -> str | None:
    if not _NAME.match(item.text):
        context.wrong(
            item,
            f"{item.text!r} can't be the name of a {what}",
            "names are a letter, then letters, digits, - and _",
        )
        return None
    if len(item.text) > LONGEST_NAME:
        context.wrong(
            item,
            f"the name of this {what} has {len(item.text)} characters, "
            f"and {LONGEST_NAME} is the most",
        )
        return None
    return item.text


@functools.lru_cache(maxsize=65536)
def number(text: str) -> int:
    """The number of an INT token; the same few ports and weights stand in file after file."""
    return int(text) if len(text) <= 12 else 10**12


def string(context: Context, item: Item, what: str) -> str | None:
    """The text of a string, its escapes (\\" \\\\ \\n \\r \\t \\xHH) undone."""
    if item.kind != "STRING":
        bare = item.text.strip("'“”„")
        context.wrong(item, f'{what} is a "string", not {item.text!r}', f'write "{bare}"')
        return None

    def unescaped(match: re.Match[str]) -> str:
        escape = match.group(1)
        if escape[0] == "x" and len(escape) == 3:
            return chr(int(escape[1:], 16))
        if escape == "x":
            context.wrong(item, r"\x takes two hexadecimal digits", r"as in \x0a")
        elif escape not in _ESCAPES:
            context.wrong(item, f"\\{escape} is no escape", r"there are \" \\ \n \r \t and \xHH")
        return _ESCAPES.get(escape, "")

    return re.sub(r"\\(x[0-9A-Fa-f]{2}|.)", unescaped, item.text[1:-1])


def quoted(text: str) -> str:
    """The string token that ``string`` reads as this text."""

    def escaped(match: re.Match[str]) -> str:
        char = match.group()
        for letter, meant in _ESCAPES.items():
            if char == meant:
                return "\\" + letter
        return f"\\x{ord(char):02x}"

    return '"' + re.sub(r'["\\\x00-\x1f\x7f-\x9f]', escaped, text) + '"'
