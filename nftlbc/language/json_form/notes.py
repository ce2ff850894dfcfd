"""The comments of a farms file, beside a JSON document: each at a pointer and a place.

A pointer may come from a hand that was not careful, or be left over from an edit. Its comment
is then kept by the nearest thing around that can have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nftlbc.language.json_form.structure import Path
from nftlbc.language.schema import PLACES

_INSTEAD: Mapping[str, tuple[str, ...]] = {
    "above": ("above",),
    "beside": ("beside", "above"),
    "end": ("end", "above"),
    "after": ("after", "beside", "above"),
}
"""Places in the order that is tried where something has not the one that is meant."""


class Notes:
    """Comments that are waiting to be written, and the places that were asked for."""

    def __init__(self) -> None:
        self.asked: set[tuple[Path, str]] = set()
        self.given: dict[tuple[Path, str], list[str]] = {}

    def take(self, path: Path, place: str) -> list[str]:
        """The comments of a place, each a token that begins with ``#``."""
        self.asked.add((path, place))
        return self.given.get((path, place), [])

    def place(self, comments: Iterable[Mapping[str, Any]], document: Any) -> Notes:
        """New notes with these comments, each at a place that was asked for."""
        found = Notes()
        for comment in comments:
            place = comment["place"] if comment["place"] in PLACES else "above"
            path = _path(str(comment["at"]), document)
            at = self._nearest(path, place) if comment["at"] or place != "above" else (path, place)
            found.given.setdefault(at, []).extend(_lines(str(comment["text"])))
        return found

    def _nearest(self, path: Path, place: str) -> tuple[Path, str]:
        for size in range(len(path), 0, -1):
            for each in _INSTEAD[place]:
                if (path[:size], each) in self.asked:
                    return path[:size], each
        return (), "end"


def _lines(text: str) -> list[str]:
    return [
        line if line.startswith("#") else f"# {line}".rstrip(" \t") for line in text.split("\n")
    ]


def text_of(comments: Iterable[str]) -> str:
    """The ``text`` that becomes these comments again: without ``# `` where they have it."""
    return "\n".join(
        comment[2:] if re.match(r"# (?!#)", comment) else comment[comment == "#" :]
        for comment in comments
    )


def pointer(path: Path) -> str:
    """The JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _path(text: str, document: Any) -> Path:
    """The path of a pointer as far as the document has it."""
    found: list[str | int] = []
    for step in text.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
            found.append(name)
        elif isinstance(document, list) and re.fullmatch("[0-9]{1,9}", name):
            if int(name) >= len(document):
                break
            document = document[int(name)]
            found.append(int(name))
        else:
            break
    return tuple(found)
