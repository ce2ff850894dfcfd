"""From the text of a JSON file to a document that has the structure of a farms file.

Whatever the text is, the answer is a document and diagnostics: text that is no JSON by line and
column, the rest by the JSON path.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nftlbc.diagnostics import Diagnostic, did_you_mean, error
from nftlbc.language.json_form import structure
from nftlbc.language.json_form.structure import Path, TooDeep, found_words, located
from nftlbc.language.schema import PLACES
from nftlbc.source import Location, TextSource

_LONGEST_NUMBER = 4000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MESSAGES: Mapping[str, str] = {
    "Expecting value": "expected a value",
    "Expecting property name enclosed in double quotes": 'expected a "name" or }',
    "Expecting ':' delimiter": "expected ':' behind the name",
    "Expecting ',' delimiter": "expected ',' or the end of the list or object",
    "Unterminated string starting at": "this string is never closed",
    "Invalid control character at": "a control character in a string",
    "Extra data": "expected the end of the file",
}
"""From the words of Python's reader, which differ between its versions, to ours."""


class Document(NamedTuple):
    value: dict[str, Any]
    bad: frozenset[Path]
    """Statements of it that can't become tokens, which has been told."""


class _Repeats(dict[str, Any]):
    """An object with members given more than once."""

    repeated: tuple[str, ...] = ()


class _NoNumber(ValueError):
    """NaN or Infinity, which are no JSON."""


def read(name: str, text: str) -> tuple[Document | None, list[Diagnostic]]:
    """The document of a JSON text; None where nothing can be read. ``name`` is the file's."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    repeats: list[_Repeats] = []
    try:
        value = _decoder(repeats).decode(text)
        shapes = structure.shapes(value)
    except json.JSONDecodeError as problem:
        return None, [_no_json(name, text, problem)]
    except _NoNumber as problem:
        position = _outside_strings(text, re.escape(str(problem)))
        return None, [_at(name, text, position, f"{problem} is no number of JSON")]
    except (RecursionError, TooDeep):
        message = f"more than {structure.DEEPEST} lists and objects in one another"
        return None, [_at(name, text, _too_deep(text), message)]
    if not isinstance(value, dict):
        message = f"expected an object, found {found_words(value)}"
        return None, [error(message, located(name, ()))]
    if re.search(r"\\u[dD][89a-fA-F]", text):
        halves = list(_halves(name, value))
        if halves:
            return None, halves
    diagnostics = list(_repeated(name, value)) if repeats else []
    bad, found = structure.mistakes(name, value, shapes)
    diagnostics += found
    if bad is None:
        return None, diagnostics
    if ("comments",) not in bad:
        diagnostics += _comments(name, value.get("comments", []))
    return Document(value, bad), diagnostics


def _decoder(repeats: list[_Repeats]) -> json.JSONDecoder:
    """It puts objects with members given twice into ``repeats``."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        counts = Counter(name for name, _ in pairs)
        repeats.append(_Repeats(found))
        repeats[-1].repeated = tuple(name for name, count in counts.items() if count > 1)
        return repeats[-1]

    def number(digits: str) -> int:
        # Python's int() takes quadratic time, and refuses more than 4300 digits. What is left
        # of a longer number is out of every range still.
        return int(digits[:_LONGEST_NUMBER])

    def refused(word: str) -> Any:
        raise _NoNumber(word)

    return json.JSONDecoder(object_pairs_hook=members, parse_int=number, parse_constant=refused)


def _no_json(name: str, text: str, problem: json.JSONDecodeError) -> Diagnostic:
    message = _MESSAGES.get(problem.msg, problem.msg[:1].lower() + problem.msg[1:])
    position = problem.pos
    # A comma too many: Python 3.13 tells where it is, older ones where the bracket behind it is.
    before = text[:position].rstrip(" \t\n\r")
    if before.endswith(",") and text[position : position + 1] in ("]", "}"):
        message, position = "a ',' before the end", len(before) - 1
    elif problem.msg.startswith("Illegal trailing comma"):
        message = "a ',' before the end"
    return _at(name, text, position, f"this is no JSON: {message}")


def _at(name: str, text: str, position: int, message: str) -> Diagnostic:
    source = TextSource(name, text)
    location = source.locate_offset(min(position, len(text)))
    if position >= len(text):
        location = Location(name, location.line, location.column, location.text, 0)
    return error(message, location)


def _outside_strings(text: str, pattern: str) -> int:
    for match in re.finditer(rf'"(?:[^"\\]|\\.)*"|({pattern})', text):
        if match.group(1):
            return match.start(1)
    return 0


def _too_deep(text: str) -> int:
    """Where one list or object too many begins."""
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[][{}]', text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match.group(), 0)
        if depth > structure.DEEPEST:
            return match.start()
    return 0


def _parts(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    yield path, value
    if isinstance(value, dict):
        for member, each in value.items():
            yield from _parts(each, (*path, member))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _parts(each, (*path, number))


def _repeated(name: str, document: Any) -> Iterator[Diagnostic]:
    for path, part in _parts(document, ()):
        if isinstance(part, _Repeats):
            for member in part.repeated:
                yield error(f"{member!r} is given twice", located(name, (*path, member)))


def _halves(name: str, document: Any) -> Iterator[Diagnostic]:
    """Texts that are no Unicode, and so can't be written anywhere."""
    for path, part in _parts(document, ()):
        texts = part if isinstance(part, dict) else [part] if isinstance(part, str) else []
        if any(_SURROGATE.search(text) for text in texts):
            yield error("half of a pair of surrogates is no character", located(name, path))


def _comments(name: str, comments: list[Any]) -> Iterator[Diagnostic]:
    """Comments have no readers in the language."""
    for number, comment in enumerate(comments):
        path: Path = ("comments", number)
        if not isinstance(comment, dict):
            continue
        place, text, at = comment.get("place"), comment.get("text"), comment.get("at")
        if place not in PLACES:
            message = f"{place!r} is no place of a comment"
            yield error(message, located(name, (*path, "place")), did_you_mean(str(place), PLACES))
        if isinstance(text, str) and _CONTROL.search(text):
            yield error("a control character", located(name, (*path, "text")))
        if isinstance(at, str) and at and not at.startswith("/"):
            help = "a JSON pointer reads /farms/0/backends/2"
            yield error(f"{at!r} is no JSON pointer", located(name, (*path, "at")), help)
