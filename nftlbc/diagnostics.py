"""Mistakes as values, and drawing them.

A pass returns its result and the diagnostics it found; a user's mistake never travels as an
exception, so that all of them are told at once.
"""

from __future__ import annotations

import difflib
import enum
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nftlbc.source import Location, Place

_WIDEST = 120
"""Characters of a line that are shown; a longer one is shown around the place."""


class Severity(enum.Enum):
    ERROR = "error"
    WARNING = "warning"


class Also(NamedTuple):
    """A second place, and what is there."""

    message: str
    place: Place | Location


@dataclass(frozen=True, slots=True)
class Diagnostic:
    severity: Severity
    message: str
    place: Place | Location | None
    help: str | None = None
    also: Also | None = None


def error(
    message: str,
    place: Place | Location | None,
    help: str | None = None,
    also: Also | None = None,
) -> Diagnostic:
    return Diagnostic(Severity.ERROR, message, place, help, also)


def warning(
    message: str,
    place: Place | Location | None,
    help: str | None = None,
    also: Also | None = None,
) -> Diagnostic:
    return Diagnostic(Severity.WARNING, message, place, help, also)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)


def near(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A help line with the near word, or None."""
    meant = near(word, known)
    return f"did you mean {meant!r}?" if meant else None


def in_words(options: Sequence[str]) -> str:
    """``a, b or c``."""
    if len(options) < 2:
        return "".join(options)
    return f"{', '.join(options[:-1])} or {options[-1]}"


def printable(text: str) -> str:
    """The text without anything that could steer a terminal; one character stays one."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else (" " if c == "\t" else "\ufffd") for c in text)


def located(place: Place | Location | None) -> Location | None:
    return place.location() if isinstance(place, Place) else place


def position(location: Location) -> str:
    """``file:line:column``, or the file and the JSON path."""
    name = printable(location.name)
    return name if location.line is None else f"{name}:{location.line}:{location.column}"


def ordered(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By file (in the order they were met), line and column."""
    files: dict[str, int] = {}

    def where(diagnostic: Diagnostic) -> tuple[int, int, int]:
        location = located(diagnostic.place)
        if location is None:
            return (-1, 0, 0)
        file = files.setdefault(location.name, len(files))
        return (file, location.line or 0, location.column)

    return sorted(diagnostics, key=where)


def draw(diagnostics: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """The diagnostics as a person reads them, in the order of the files."""
    return "".join(_draw_one(diagnostic, colour) for diagnostic in ordered(diagnostics))


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _draw_one(diagnostic: Diagnostic, colour: bool) -> str:
    code = "1;31" if diagnostic.severity is Severity.ERROR else "1;33"
    word = _paint(f"{diagnostic.severity.value}:", code, colour)
    location = located(diagnostic.place)
    where = f"{position(location)}: " if location else ""
    lines = [f"{where}{word} {printable(diagnostic.message)}"]
    if location:
        lines += _excerpt(location, code, colour)
    if diagnostic.also:
        second = located(diagnostic.also.place)
        if second:
            message = printable(diagnostic.also.message)
            lines += [f"   {position(second)}: {message}", *_excerpt(second, "1;36", colour)]
    if diagnostic.help:
        lines.append(f"   {_paint('help:', '1;36', colour)} {printable(diagnostic.help)}")
    return "\n".join(lines) + "\n"


def _excerpt(location: Location, code: str, colour: bool) -> list[str]:
    if location.line is None:
        return []
    column = location.column - 1
    most = max(0, len(location.text) - _WIDEST)
    first = min(max(0, column - 40), most)
    text = printable(location.text[first : first + _WIDEST])
    gutter = f"{location.line:5} | "
    mark = "^" * max(1, min(location.width, _WIDEST - (column - first)))
    under = " " * 5 + " | " + " " * (column - first) + _paint(mark, code, colour)
    return [gutter + text, under]


def as_json(diagnostics: Iterable[Diagnostic]) -> str:
    """One JSON array: severity, message, file, line, column, width, help, also."""

    def place(location: Location | None) -> dict[str, object]:
        if location is None:
            return {}
        return {
            "file": location.name,
            "line": location.line,
            "column": location.column if location.line is not None else None,
            "width": location.width if location.line is not None else None,
        }

    rows = []
    for diagnostic in ordered(diagnostics):
        row: dict[str, object] = {
            "severity": diagnostic.severity.value,
            "message": diagnostic.message,
            **place(located(diagnostic.place)),
        }
        if diagnostic.help:
            row["help"] = diagnostic.help
        if diagnostic.also:
            also = {"message": diagnostic.also.message, **place(located(diagnostic.also.place))}
            row["also"] = also
        rows.append(row)
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def as_github(diagnostics: Iterable[Diagnostic]) -> str:
    """Workflow commands, which GitHub shows beside the changed lines."""

    def escaped(text: str, extra: str = "") -> str:
        for char in "%\r\n" + extra:
            text = text.replace(char, f"%{ord(char):02X}")
        return text

    lines = []
    for diagnostic in ordered(diagnostics):
        location = located(diagnostic.place)
        message = diagnostic.message + (f" ({diagnostic.help})" if diagnostic.help else "")
        where = ""
        if location:
            where = f" file={escaped(location.name, ':,')}"
            if location.line is not None:
                where += f",line={location.line},col={location.column}"
        lines.append(f"::{diagnostic.severity.value}{where}::{escaped(message)}\n")
    return "".join(lines)
