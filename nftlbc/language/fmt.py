"""The one canonical layout of a farms file.

A file is a stream of tokens, newlines and comments among them; ``layout`` lays any such stream
out anew and looks at nothing but it, so what it writes means what it read. Blocks stand over
lines, four blanks deeper each; a list in braces stands on one line where it fits, else each of
its values has a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from nftlbc.language.shapes import BLOCKS

WIDTH = 100
"""Columns of a line, its comment not counted; only a bare list or a long string goes beyond."""
_INDENT = "    "
_ITEM = re.compile(
    r"""[ \t]*
        ( \n | \#[^\n]* | [{};,=]
        | "(?:[^"\\\n]|\\[^\n])*"?
        | [^ \t\n{};,="#]+ )
    """,
    re.VERBOSE,
)
"""As ``nftlbc.source.TOKEN``, but a comment is a token too."""


def format_source(text: str) -> str:
    """The text in the canonical layout, comments kept; of a file without mistakes of syntax.

    Formatting twice is formatting once. Takes time linear in the text.
    """
    return layout(stream(text.removeprefix("\ufeff").replace("\r\n", "\n")))


def stream(text: str) -> list[str]:
    """The tokens, newlines and comments of a text."""
    return _ITEM.findall(text)


def comment(text: str) -> str:
    """A comment in its canonical form: a blank behind its ``#`` unless it is ``#!`` or ``##``."""
    text = text.rstrip(" \t")
    return text if text[1:2] in ("", " ", "\t", "!", "#") else f"# {text[1:]}"


def listed(values: Sequence[str]) -> str:
    """A list in braces on one line."""
    return "{ " + ", ".join(values) + " }"


@dataclass
class _Value:
    """A value of a list in braces, or its end (then without a token)."""

    token: str = ""
    above: list[str] = field(default_factory=list)
    """Its comments, and an empty text for a blank line."""
    beside: str = ""


@dataclass
class _List:
    opening: str = ""
    """The comment beside the opening brace."""
    values: list[_Value] = field(default_factory=list)
    end: _Value = field(default_factory=_Value)

    @property
    def has_comments(self) -> bool:
        return bool(self.opening) or any(
            value.beside or any(value.above) for value in (*self.values, self.end)
        )


def layout(items: Sequence[str]) -> str:
    """The canonical text of a stream: tokens of a farms file, ``"\\n"`` and ``"# comments"``."""
    return _Layout(items).text()


class _Layout:
    def __init__(self, items: Sequence[str]) -> None:
        self.items = items
        self.at = 0
        self.lines: list[str] = []
        self.indent = ""
        self.newlines = 2
        """Since the last line that was written."""
        self.fresh = True
        """A file or a block has just begun: no blank line."""
        self.group: int | None = None
        """The first line of the comments that stand directly above what comes next."""

    def text(self) -> str:
        items, size = self.items, len(self.items)
        while self.at < size:
            item = items[self.at]
            if item == "\n":
                self.newlines += 1
                self.at += 1
            elif item == ";":
                self.at += 1
            elif item[0] == "#":
                self._comment(comment(item))
                self.at += 1
            elif item == "}":
                self.indent = self.indent[: -len(_INDENT)]
                self.fresh = True
                self._line("}")
                if not self.indent:
                    # A block of the file is followed by a blank line, whatever comes.
                    self.newlines = 2
                    self._beside_after_block()
                self.at += 1
            else:
                self._statement()
        return "\n".join(self.lines) + "\n" if self.lines else ""

    def _line(self, text: str) -> None:
        if self.newlines > 1 and not self.fresh:
            self.lines.append("")
            self.group = None
        self.lines.append(self.indent + text)
        self.newlines = 0
        self.fresh = False

    def _comment(self, text: str) -> None:
        if self.newlines == 0:
            self.lines[-1] += f"  {text}"
            self.group = None
            return
        blank = self.newlines > 1
        self._line(text)
        if self.group is None or blank:
            self.group = len(self.lines) - 1

    def _beside_after_block(self) -> None:
        """A comment behind a closing brace, before the blank line is."""
        following = self.at + 1
        while following < len(self.items) and self.items[following] == ";":
            following += 1
        if following < len(self.items) and self.items[following][0] == "#":
            self.lines[-1] += f"  {comment(self.items[following])}"
            self.at = following

    def _statement(self) -> None:
        items, start = self.items, self.at
        end = start
        while end < len(items) and items[end] not in _STOPS and items[end][0] != "#":
            end += 1
        tokens = items[start:end]
        if end == len(items) or items[end] != "{":
            self.at = end
            self._line(_joined(tokens))
        elif items[start] in BLOCKS:
            self.at = end + 1
            if not self.indent:
                self._blank_above()
            self._line(_joined(tokens) + " {")
            self.indent += _INDENT
            self.fresh = True
        else:
            self._with_lists()
        self.group = None

    def _blank_above(self) -> None:
        """A blank line above a block of the file and the comments that belong to it."""
        if self.newlines > 1 or self.group is None:
            self.newlines = 2
        elif self.group and self.lines[self.group - 1]:
            self.lines.insert(self.group, "")

    def _with_lists(self) -> None:
        """A statement with lists in braces; the next one is looked at only up to its brace."""
        items = self.items
        parts: list[list[str] | _List] = [[]]
        while self.at < len(items):
            item = items[self.at]
            if item == "{":
                parts += [self._list(), []]
                continue
            if item in _STOPS or item[0] == "#":
                break
            last = parts[-1]
            assert isinstance(last, list)
            last.append(item)
            self.at += 1
        written: list[str] = []
        line = ""
        for number, part in enumerate(parts):
            if isinstance(part, list):
                line += (" " if line and part else "") + _joined(part)
                continue
            following = parts[number + 1]
            assert isinstance(following, list)
            rest = len(_joined(following)) + (2 if number + 2 < len(parts) else 0)
            short = f"{line} {listed([value.token for value in part.values])}"
            width = len(self.indent) + len(short) + rest + bool(rest)
            if width <= WIDTH and not part.has_comments:
                line = short
            else:
                written += [f"{line} {{" + _beside(part.opening), *_expanded(part)]
                line = "}"
        written.append(line)
        self._line(written[0])
        self.lines += [self.indent + each if each else "" for each in written[1:]]

    def _list(self) -> _List:
        """The list whose brace is next; ``at`` goes behind its end."""
        found = _List()
        above: list[str] = []
        newlines = 0
        self.at += 1
        while self.at < len(self.items) and (item := self.items[self.at]) != "}":
            self.at += 1
            if item == "\n":
                newlines += 1
            elif item[0] == "#":
                text = comment(item)
                if newlines == 0 and not found.values and not found.opening:
                    found.opening = text
                elif newlines == 0 and found.values and not above and not found.values[-1].beside:
                    found.values[-1].beside = text
                else:
                    above += [""] * (newlines > 1) + [text]
                newlines = 0
            elif item != ",":
                found.values.append(_Value(item, above + [""] * (newlines > 1)))
                above, newlines = [], 0
        self.at += 1
        found.end.above = above
        return found


_STOPS = frozenset("\n;{}")


def _joined(tokens: Sequence[str]) -> str:
    if "," not in tokens:
        return " ".join(tokens)
    return "".join(["," if token == "," else f" {token}" for token in tokens])[1:]


def _beside(text: str) -> str:
    return f"  {text}" if text else ""


def _expanded(found: _List) -> list[str]:
    """The lines between the braces."""
    lines: list[str] = []
    for value in (*found.values, found.end):
        lines += [_INDENT + each if each else "" for each in value.above]
        if value.token:
            lines.append(f"{_INDENT}{value.token}," + _beside(value.beside))
    while lines and not lines[0]:
        del lines[0]
    return lines
