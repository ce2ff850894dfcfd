"""A text and the places in it.

Tokens are plain strings and a place is a pair of token numbers: what line and column that
is gets worked out only when somebody is shown it, so that a file without mistakes pays nothing.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, Protocol

TOKEN = re.compile(
    r"""[ \t]*(?:\#[^\n]*)?            # blanks and a comment belong to nobody
        ( \n | [{};,=]
        | "(?:[^"\\\n]|\\[^\n])*"?     # a string; without its end it stops at the line's
        | [^ \t\n{};,="#]+ )           # anything else up to the next blank or sign
    """,
    re.VERBOSE,
)


class Location(NamedTuple):
    """What a person is shown of a place."""

    name: str
    """The file's name as it was given, or the file's name and a JSON path."""
    line: int | None
    """From 1; None where the source has no lines to show (a JSON document)."""
    column: int
    """From 1, in characters."""
    text: str
    """The line itself."""
    width: int
    """How many characters of the line are meant; 0 for a point between two."""


class Source(Protocol):
    """Where tokens come from."""

    @property
    def name(self) -> str: ...

    @property
    def tokens(self) -> Sequence[str]: ...

    def locate(self, first: int, last: int) -> Location: ...


class Place(NamedTuple):
    """The tokens ``first`` to ``last`` (both included) of a source."""

    source: Source
    first: int
    last: int

    def location(self) -> Location:
        return self.source.locate(self.first, self.last)


@dataclass(eq=False)
class TextSource:
    """A farms file's text, cut into tokens (newlines among them)."""

    name: str
    text: str
    tokens: list[str] = field(init=False, repr=False)
    _last_line: tuple[int, str] = field(default=(-1, ""), init=False, repr=False)

    def __post_init__(self) -> None:
        text = self.text.removeprefix("\ufeff")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        self.text = text if text.endswith("\n") else text + "\n"
        self.tokens = TOKEN.findall(self.text)

    @functools.cached_property
    def _starts(self) -> list[int]:
        """Offset of each token; made once, for the first mistake."""
        return [match.start(1) for match in TOKEN.finditer(self.text)]

    @functools.cached_property
    def _lines(self) -> list[int]:
        """Offset of each line."""
        return [0, *accumulate(len(line) + 1 for line in self.text.split("\n"))]

    def _line(self, number: int) -> str:
        """The line from 0; kept for the next place, which is often in the same one (and a
        damaged file may be one line of megabytes)."""
        if self._last_line[0] != number:
            text = self.text[self._lines[number] : self._lines[number + 1]]
            self._last_line = number, text.rstrip("\n")
        return self._last_line[1]

    def locate(self, first: int, last: int) -> Location:
        if not self._starts:
            return Location(self.name, 1, 1, "", 0)
        start = self._starts[min(first, len(self._starts) - 1)]
        end_token = min(last, len(self._starts) - 1)
        end = self._starts[end_token] + len(self.tokens[end_token].rstrip("\n"))
        return self._at(start, end)

    def locate_offset(self, offset: int) -> Location:
        """The place of one character of the text."""
        return self._at(offset, offset + 1)

    def _at(self, start: int, end: int) -> Location:
        line = min(bisect.bisect_right(self._lines, start), len(self._lines) - 1) - 1
        text = self._line(line)
        column = start - self._lines[line]
        width = min(end, self._lines[line] + len(text)) - start
        return Location(self.name, line + 1, column + 1, text, max(width, 0))
