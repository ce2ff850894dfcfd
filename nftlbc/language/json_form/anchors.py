"""Which part of the JSON document each comment of a farms file stands by."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from nftlbc.language.fmt import comment, stream
from nftlbc.language.json_form.notes import pointer, text_of
from nftlbc.language.json_form.structure import Path
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
        for line, text in zip(self.lines, self.texts, strict=True):
            place = self._place(line)
            if place in found and place[1] == "beside":
                place = self._below(line)
            found.setdefault(place, []).append(text)
        ordered = sorted(found, key=lambda place: (*_order(document, place[0]), _RANK[place[1]]))
        return [
            {"at": pointer(path), "place": place, "text": text_of(found[path, place])}
            for path, place in ordered
        ]

    def _place(self, line: int) -> tuple[Path, str]:
        before = line - 1
        while before >= 0 and self.tokens[before] in ";,":
            before -= 1
        if before >= 0 and before in self.beside:
            return self.beside[before]
        return self._below(line)

    def _below(self, line: int) -> tuple[Path, str]:
        """By what comes next."""
        after, blank = line + 1, False
        while after < len(self.tokens) and self.tokens[after] in _BETWEEN:
            blank = blank or (self.tokens[after] == "\n" and not self._is_comment(after))
            after += 1
        if after in self.end:
            return self.end[after], "end"
        if after not in self.above:
            return (), "end"
        if blank and after == min(self.above):
            return (), "above"  # the head of the file, with a blank line below it
        return self.above[after], "above"

    def _is_comment(self, line: int) -> bool:
        at = bisect.bisect_left(self.lines, line)
        return at < len(self.lines) and self.lines[at] == line


def _order(value: Any, path: Path) -> tuple[tuple[int, int], ...]:
    order = []
    for step in path:
        if isinstance(step, int):
            order.append((step, 0))
            value = value[step]
        else:
            order.append((list(value).index(step), 0))
            value = value[step]
    return tuple(order)
