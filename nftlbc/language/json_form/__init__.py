"""The JSON form of a farms file: reading it, and converting both ways.

A document says what the statements of a ``.lb`` file say, at the level of what is written:
includes, defines, defaults and references are in it, and the comments of the other form. It is
read as the tokens of that form, so that the two can't mean different things.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nftlbc.diagnostics import Diagnostic, error
from nftlbc.language import fmt, syntax
from nftlbc.language.json_form import document, statements
from nftlbc.language.json_form.anchors import Anchors
from nftlbc.language.json_form.builder import Builder
from nftlbc.language.json_form.document import Document
from nftlbc.language.json_form.notes import Notes
from nftlbc.language.json_form.structure import Path, located
from nftlbc.language.json_form.tokens import Chain, Tokens, path_of
from nftlbc.language.lexicon import lexicon
from nftlbc.language.shapes import Statement
from nftlbc.language.values import Context
from nftlbc.source import Location, Place, Source, TextSource

__all__ = ["JsonSource", "source", "to_json", "to_lb"]

_OPEN = {"define": 1, "defaults": 1, "farms": 2, "comments": 1}
"""How deep a member of the document stands over lines even if it is short."""


@dataclass(eq=False)
class JsonSource:
    """A JSON document as the tokens of the language; its places are JSON paths."""

    name: str
    document: Document
    tokens: list[str] = field(init=False, repr=False)
    _chains: list[Chain] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        written = Tokens(self.document.bad)
        statements.write(written, self.document.value)
        self.tokens, self._chains = written.tokens, written.chains

    def locate(self, first: int, last: int) -> Location:
        """The part of the document that all these tokens come from."""
        most = len(self._chains) - 1
        ends = path_of(self._chains[min(first, most)]), path_of(self._chains[min(last, most)])
        path: Path = ()
        for step, other in zip(*ends, strict=False):
            if step != other:
                break
            path = (*path, step)
        return located(self.name, path)


def source(context: Context, name: str, text: str) -> JsonSource | None:
    """The source of a JSON text; None where nothing of it can be read.

    What is wrong with its syntax and structure is put into the context.
    """
    found, diagnostics = document.read(name, text)
    context.diagnostics += diagnostics
    if found is None:
        return None
    for path in found.bad:
        # Told better than a parser can.
        context.unseen.add(located(name, path)[:2])
        context.files_missing = context.files_missing or len(path) == 1
    return JsonSource(name, found)


def to_json(source: TextSource, statements: Sequence[Statement]) -> tuple[str, list[Diagnostic]]:
    """The JSON form of one file that was parsed without mistakes; and what it has no place for.

    Defines, references and includes stay as they are. With diagnostics (an option that is given
    twice, say), the text is not all that the file says.
    """
    context = Context(diagnostics=_no_values(source))
    anchors = Anchors(source) if "#" in source.text else None
    members = Builder(context, anchors).file(statements)
    if anchors is not None:
        comments = anchors.comments(members)
        if comments:
            members["comments"] = comments
    return _written(members, "", _OPEN) + "\n", context.diagnostics


def to_lb(source: JsonSource) -> tuple[str, list[Diagnostic]]:
    """The canonical ``.lb`` text of a document that was read without mistakes.

    With diagnostics (something in it can't stand in a file), there is no text.
    """
    _, diagnostics = syntax.parse(source)
    diagnostics += _no_values(source)
    if diagnostics:
        return "", diagnostics
    members, bad = source.document
    notes = Notes()
    comments = members.get("comments", [])
    if comments:
        # Once to learn where comments can stand.
        statements.write(Tokens(bad, notes), members)
        notes = notes.place(comments, members)
    written = Tokens(bad, notes)
    statements.write(written, members)
    return fmt.layout(written.tokens), []


def _no_values(source: Source) -> list[Diagnostic]:
    """Words that are no value anywhere. In the other form they could become something else."""
    words = lexicon()
    wrong = {words.kind("WORD"), words.kind("UNCLOSED")}
    return [
        error(f"{token!r} is no value", Place(source, number, number))
        for number, token in enumerate(source.tokens)
        if words[token] in wrong
    ]


def _written(value: Any, indent: str, opened: Any = 0, before: int = 0) -> str:
    """JSON text: what fits on a line is on one, but for the levels that are ``opened``.

    ``before`` is what stands before it on its line, in characters.
    """
    text = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value:
        return text
    if not opened and before + len(text) + len(",") <= fmt.WIDTH:
        return text
    inner = indent + "  "
    if isinstance(value, dict):
        lines = []
        for name, each in value.items():
            start = f"{inner}{json.dumps(name, ensure_ascii=False)}: "
            deeper = opened.get(name, 0) if isinstance(opened, dict) else max(opened - 1, 0)
            lines.append(start + _written(each, inner, deeper, len(start)))
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    lines = [inner + _written(each, inner, max(opened - 1, 0), len(inner)) for each in value]
    return "[\n" + ",\n".join(lines) + f"\n{indent}]"
