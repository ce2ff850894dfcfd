"""Which part of the JSON document each comment of a farms file stands by."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from nftlbc.language.fmt import comment, stream
from nftlbc.language.json_form.notes import pointer, text_of
from nftlbc.language.json_form.structure import Path, order
from nftlbc.source import TextSource

_BETWEEN = ("\n", ";", ",")
_RANK: Mapping[str, tuple[int, int]] = {
    "above": (-1, 0),
    "beside": (-1, 1),
    "end": (1 << 62, 0),
    "after": (1 << 62, 1),
}
"""Where the comments of a part come among those of the parts in it."""


class Anchors:
    """The parts of a document by the tokens they were made of."""

    def __init__(self, source: TextSource) -> None:
        self.tokens: Sequence[str] = source.tokens
        self.lines: list[int] = []
        """The comments by the newline that ends each, as a number of a token."""
        self.texts: list[str] = []
        self.above: dict[int, Path] = {}
        """By first token."""
        self.beside: dict[int, tuple[Path, str]] = {}
        """By last token, and by opening brace: the part, and the place."""
        self.end: dict[int, Path] = {}
        """By closing brace."""
        self.first = next((at for at, token in enumerate(self.tokens) if token not in _BETWEEN), -1)
        """The first token of the first statement."""
        number = 0
        for item in stream(source.text):
            if item[0] == "#":
                self.lines.append(number)
                self.texts.append(comment(item))
            else:
                number += 1

    def has_comments(self, first: int, last: int) -> bool:
        """Between two tokens."""
        return bisect.bisect(self.lines, first) < bisect.bisect(self.lines, last)

    def statement(self, first: int, last: int, path: Path) -> None:
        self.above[first] = path
        self.beside[last] = path, "beside"

    def block(self, first: int, opener: int, closer: int, path: Path) -> None:
        self.statement(first, opener, path)
        self.braces(opener, closer, path)
        self.beside[closer] = path, "after"

    def braces(self, opener: int, closer: int, path: Path) -> None:
        self.beside[opener] = path, "beside"
        self.end[closer] = path

    def comments(self, document: Any) -> list[dict[str, str]]:
        """The ``comments`` of the document, in its order."""
        found: dict[tuple[Path, str], list[str]] = {}
        below = self._below()
        for line, text in zip(self.lines, self.texts, strict=True):
            found.setdefault(self._beside(line) or below[line], []).append(text)
        positions: dict[int, dict[str, int]] = {}

        def where(place: tuple[Path, str]) -> tuple[tuple[int, int], ...]:
            steps = order(document, place[0], positions)
            return (*((step, 0) for step in steps), _RANK[place[1]])

        ordered = sorted(found, key=where)
        return [
            {"at": pointer(path), "place": place, "text": text_of(found[path, place])}
            for path, place in ordered
        ]

    def _beside(self, line: int) -> tuple[Path, str] | None:
        """By what stands on its line, if there is something."""
        before = line - 1
        while before >= 0 and self.tokens[before] in ";,":
            before -= 1
        return self.beside.get(before)

    def _below(self) -> dict[int, tuple[Path, str]]:
        """By what comes next, for each comment."""
        found: dict[int, tuple[Path, str]] = {}
        next_line, after, blank = -1, 0, False
        for line in reversed(self.lines):
            at, blank_here = line + 1, False
            while at != next_line and at < len(self.tokens) and self.tokens[at] in _BETWEEN:
                blank_here = blank_here or self.tokens[at] == "\n"
                at += 1
            if at == next_line:
                blank = blank or blank_here
            else:
                after, blank = at, blank_here
            next_line = line
            found[line] = self._above(after, blank)
        return found

    def _above(self, after: int, blank: bool) -> tuple[Path, str]:
        """Above a token, with a blank line somewhere between or not."""
        if after in self.end:
            return self.end[after], "end"
        if after not in self.above:
            return (), "end"
        if blank and after == self.first:
            return (), "above"  # the head of the file
        return self.above[after], "above"
