"""Whether a JSON document has the structure of a farms file, by ``schema.structure``.

The structure looks at names, types and kinds of checks, never at other values. So parts of a
document with the same names and types are judged alike, and ``jsonschema`` sees one of them: for
10 000 farms of 10 backends it would take 5 s, and all of reading them takes 2 s.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nftlbc.diagnostics import Diagnostic, did_you_mean, error, in_words
from nftlbc.language.schema import Schema, structure
from nftlbc.source import Location

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

Path = tuple[str | int, ...]
"""The members and indices that lead to a part of a document."""

DEEPEST = 12
"""Lists and objects in one another; a farms file has no more than seven."""
MOST_MISTAKES = 200
"""Mistakes that are told of one document."""
_STATEMENT_LISTS = ("listen", "backends", "check")


class TooDeep(Exception):
    """More lists and objects in one another than ``DEEPEST``."""


def shapes(document: Any) -> list[Hashable]:
    """What each of the document's farms looks like to its structure; raises TooDeep."""
    farms = document.get("farms") if isinstance(document, dict) else None
    if not isinstance(farms, list):
        _shape(document, 0)
        return []
    _shape({**document, "farms": None}, 0)
    return [_shape(farm, 2) for farm in farms]


def _shape(value: Any, depth: int) -> Hashable:
    kind: type = type(value)
    if kind is str or kind is int:
        return kind
    if isinstance(value, dict):
        if depth == DEEPEST:
            raise TooDeep
        found = tuple(
            [
                (name, type(each) if type(each) in (str, int) else _shape(each, depth + 1))
                for name, each in value.items()
            ]
        )
        check = value.get("kind")
        return (found, check) if isinstance(check, str) else found
    if isinstance(value, list):
        if depth == DEEPEST:
            raise TooDeep
        return frozenset([_shape(each, depth + 1) for each in value])
    if isinstance(value, float):
        return int
    return value  # type: ignore[no-any-return]  # True, False and None


def _reduced(value: Any) -> Any:
    """The value with one of each shape left in its lists."""
    if isinstance(value, dict):
        return {name: _reduced(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_reduced(each) for each in {_shape(each, 0): each for each in value}.values()]
    return value


def mistakes(
    name: str, document: dict[str, Any], shapes: Sequence[Hashable]
) -> tuple[frozenset[Path] | None, list[Diagnostic]]:
    """The statements of it that are none, and what is wrong with them.

    ``name`` is the file's. None: there is so much wrong that not all of it was looked at.
    """
    found: list[_Mistake] = []
    farms = document.get("farms")
    rest = {**document, "farms": []} if isinstance(farms, list) else document
    whole, one_farm = _validators()
    if not whole.is_valid(_reduced(rest)):
        found += _found(whole, rest, ())
    sound: dict[Hashable, bool] = {}
    for number, shape in enumerate(shapes):
        if len(found) > MOST_MISTAKES:
            break
        farm = document["farms"][number]
        if shape not in sound:
            sound[shape] = one_farm.is_valid(_reduced(farm))
        if not sound[shape]:
            found += _found(one_farm, farm, ("farms", number))
    positions: dict[int, dict[str, int]] = {}
    found.sort(key=lambda mistake: order(document, mistake.path, positions))
    diagnostics = [
        error(mistake.message, located(name, mistake.path), _help(mistake))
        for mistake in found[:MOST_MISTAKES]
    ]
    if len(found) > MOST_MISTAKES:
        diagnostics.append(error("and there are more mistakes", located(name, ())))
        return None, diagnostics
    return frozenset(_statement(mistake.path) for mistake in found), diagnostics


@functools.cache
def _validators() -> tuple[Draft202012Validator, Draft202012Validator]:
    """Of a document and of one farm."""
    from jsonschema import Draft202012Validator

    whole = structure()
    farm: Schema = {"$schema": whole["$schema"], "$defs": whole["$defs"], "$ref": "#/$defs/farm"}
    return Draft202012Validator(whole), Draft202012Validator(farm)


class _Mistake(NamedTuple):
    path: Path
    message: str
    known: tuple[str, ...] = ()
    """The members that could have been meant."""


def _found(validator: Draft202012Validator, value: Any, base: Path) -> list[_Mistake]:
    found: dict[tuple[Path, str], _Mistake] = {}
    for problem in validator.iter_errors(value):
        for mistake in _explained(problem, (*base, *problem.absolute_path)):
            found.setdefault((mistake.path, mistake.message), mistake)
    return list(found.values())


def _explained(problem: ValidationError, path: Path) -> Iterator[_Mistake]:
    rule, value = problem.validator, problem.instance
    schema: Schema = problem.schema if isinstance(problem.schema, dict) else {}
    title = schema.get("title", "something else")
    if rule == "additionalProperties":
        known: Schema = schema["properties"]
        for member in value if isinstance(value, dict) else ():
            if member not in known:
                others = tuple(name for name in known if name[0] != "$")
                yield _Mistake((*path, member), f"{title} has no {member[:80]!r}", others)
        return
    if rule == "required":
        given = value if isinstance(value, dict) else {}
        missing = [repr(member) for member in schema["required"] if member not in given]
        message = f"{title} needs {' and '.join(missing)}"
    elif rule == "anyOf":
        several = [repr(member) for each in schema["anyOf"] for member in each["required"]]
        message = f"{title} needs {in_words(several)}"
    elif rule == "minItems":
        message = "an empty list"
    elif rule == "maxItems":
        message = f"a list of more than {schema['maxItems']}"
    else:
        message = f"expected {title}, found {found_words(value)}"
    yield _Mistake(path, message)


def _help(mistake: _Mistake) -> str | None:
    if not mistake.known:
        return None
    member = str(mistake.path[-1])
    return did_you_mean(member, mistake.known) or f"it has {in_words(mistake.known)}"


def found_words(value: Any) -> str:
    """A JSON value in a few words."""
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _statement(path: Path) -> Path:
    """The statement of the language that a part of the document belongs to."""
    if path[:1] == ("define",):
        return path[:2]
    if path[:1] == ("farms",) and path[2:] == ("name",):
        return path[:2]
    if path[:1] not in (("farms",), ("defaults",)):
        return path[:1]
    body = 2 if path[0] == "farms" else 1
    if len(path) > body + 1 and path[body] in _STATEMENT_LISTS:
        return path[: body + 2] if isinstance(path[body + 1], int) else path[: body + 1]
    return path[: body + 1]


def order(value: Any, path: Path, positions: dict[int, dict[str, int]]) -> list[int]:
    """Where in the document a part is, for sorting; ``positions`` is of the objects met."""
    found = []
    for step in path:
        if isinstance(step, int):
            found.append(step)
        else:
            if id(value) not in positions:
                positions[id(value)] = {member: at for at, member in enumerate(value)}
            found.append(positions[id(value)][step])
        value = value[step]
    return found


def path_text(path: Path) -> str:
    """``$.farms[0].port``; a member that is no plain word is ``["on-down"]``."""
    steps = "".join(
        f"[{step}]"
        if isinstance(step, int)
        else f".{step}"
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", step)
        else f"[{json.dumps(step[:80])}]"
        for step in path
    )
    return "$" + steps


def located(name: str, path: Path) -> Location:
    """The place of a part of the document in the file ``name``."""
    return Location(f"{name}: {path_text(path)}", None, 1, "", 0)
