"""From a path to the statements of a file and of all that it includes."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nftlbc.diagnostics import Also, error
from nftlbc.language import syntax, unseen, values
from nftlbc.language.shapes import Statement
from nftlbc.language.values import Context
from nftlbc.source import Location, Place, Source, TextSource

LARGEST_FILE = 256 << 20
"""Bytes of one file; more is no farms file."""
MOST_FILES = 10_000
DEEPEST = 100
"""Files that include files."""


@dataclass
class File:
    """A file's statements, and the file that includes it."""

    path: Path | None
    """None: standard input."""
    name: str
    statements: list[Statement]
    tokens: Sequence[str] = ()
    parent: File | None = None
    included: Place | None = None
    """The ``include`` that brought it."""
    defaults: Statement | None = None
    farms: list[Statement] = field(default_factory=list)

    @property
    def above(self) -> list[File]:
        """The file that includes it, the one that includes that, and so on."""
        found = []
        file = self.parent
        while file is not None:
            found.append(file)
            file = file.parent
        return found


def load(name: str, context: Context) -> list[File]:
    """The file ``name`` (``-``: standard input) and those it includes, each before its own.

    Mistakes of reading, of syntax and of including are put into the context.
    """
    files: list[File] = []
    seen: dict[tuple[int, int], File] = {}
    path = None if name == "-" else Path(name)
    _load(context, File(path, name, []), files, seen)
    return files


def one(name: str, context: Context) -> tuple[str, Source | None]:
    """The text and the tokens of one file, what it includes left aside; None after a mistake."""
    try:
        data, _ = _read(None if name == "-" else Path(name))
    except (OSError, ValueError) as problem:
        reason = _reason(problem)
        _missing(context, f"can't be read: {reason}", Location(name, None, 1, "", 0))
        return "", None
    source = _source(context, name, data)
    return data.decode("utf-8", "replace"), source


def _load(
    context: Context, file: File, files: list[File], seen: dict[tuple[int, int], File]
) -> None:
    """Read a file and those it includes; they are added to ``files`` and to ``seen``."""
    name, path = file.name, file.path
    place: Place | Location = file.included or Location(name, None, 1, "", 0)
    if len(files) >= MOST_FILES:
        _missing(context, f"more than {MOST_FILES} files", place)
        return
    if len(file.above) > DEEPEST:
        _missing(context, f"files that include files, more than {DEEPEST} deep", place)
        return
    try:
        data, identity = _read(path, included=file.included is not None)
    except (OSError, ValueError) as problem:
        reason = _reason(problem)
        help = None
        if isinstance(problem, IsADirectoryError) and file.included:
            help = f'all its files are: include "{name}/*.lb"'
        message = f"can't read {name}: {reason}" if file.included else f"can't be read: {reason}"
        _missing(context, message, place, help)
        return
    if identity in seen:
        _twice(context, file, seen[identity])
        return
    seen[identity] = file
    files.append(file)
    source = _source(context, name, data)
    if source is None:
        context.files_missing = True
        return
    file.tokens = source.tokens
    file.statements, diagnostics = syntax.parse(source)
    context.diagnostics += diagnostics
    for statement in file.statements:
        if statement.rule == "include":
            for each in _included(context, statement, path):
                below = File(each, str(each), [], (), file, statement.place())
                _load(context, below, files, seen)


def _reason(problem: OSError | ValueError) -> str:
    reason = getattr(problem, "strerror", None) or str(problem)
    return reason[:1].lower() + reason[1:]


def _missing(
    context: Context, message: str, place: Place | Location, help: str | None = None
) -> None:
    context.files_missing = True
    context.diagnostics.append(error(message, place, help))


def _read(path: Path | None, *, included: bool = False) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a file, and what tells it from other files.

    The file that the command names may be a pipe, and is waited for; an included one may not.
    """
    if path is None:
        data = sys.stdin.buffer.read(LARGEST_FILE + 1) if sys.stdin else b""
        identity = (-1, -1)
    else:
        if included and stat.S_ISFIFO(path.stat().st_mode):
            raise OSError(0, "is no ordinary file")
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(0, "is a directory")
            if included and not stat.S_ISREG(status.st_mode):
                raise OSError(0, "is no ordinary file")
            data = stream.read(LARGEST_FILE + 1)
            identity = (status.st_dev, status.st_ino)
    if len(data) > LARGEST_FILE:
        raise OSError(0, f"it is larger than {LARGEST_FILE >> 20} MiB")
    return data, identity


def _source(context: Context, name: str, data: bytes) -> Source | None:
    """The tokens, or None where the bytes are no text."""
    shown = "(standard input)" if name == "-" else name
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        start = data.rfind(b"\n", 0, problem.start) + 1
        column = len(data[start : problem.start].decode("utf-8", "replace")) + 1
        shown_line = data[start : start + 200].split(b"\n")[0].decode("utf-8", "replace")
        location = Location(shown, line, column, shown_line, 1)
        message = f"byte 0x{data[problem.start]:02x} is not UTF-8"
        context.diagnostics.append(error(message, location, "save the file as UTF-8"))
        return None
    # Standard input has no name to tell by; no .lb file begins with a brace.
    if name.endswith(".json") or (name == "-" and text.lstrip("\ufeff \t\r\n")[:1] == "{"):
        from nftlbc.language import json_form

        return json_form.source(context, shown, text)
    source = TextSource(shown, text)
    unseen.check(context, source)
    return source


def _twice(context: Context, file: File, first: File) -> None:
    above = file.above
    if first in above:
        between = [each.name for each in reversed(above[: above.index(first)])]
        way = f" by way of {' and '.join(between)}" if between else ""
        help = "take this include away"
        if file.included and re.search(r"[*?\[]", file.included.source.tokens[file.included.last]):
            help = "the pattern matches this file too"
        context.error(f"{first.name} includes itself{way}", file.included, help)
        return
    also = Also("first here", first.included) if first.included else None
    help = "what a file defines is known in all files: include it once"
    context.error(f"{file.name} is included twice", file.included, help, also)


def _included(context: Context, statement: Statement, path: Path | None) -> Iterable[Path]:
    """The files that an ``include`` names, sorted by name."""
    node = statement.shape.node.children[0]
    item = values.Item(node.rule, statement.text(node), statement.place(node))
    pattern = values.string(context, item, "include")
    if not pattern:
        context.files_missing = True
        if pattern is not None:
            context.error("include of nothing", item.place, 'write include "FILES"')
        return []
    folder = path.parent if path else Path()
    if "\x00" in pattern:
        context.error("a file's name has no zero byte", item.place)
        return []
    if not re.search(r"[*?\[]", pattern):
        return [folder / pattern]
    import glob

    # Not Path.glob: that one refuses absolute patterns and takes ** for any depth.
    found = sorted(glob.glob(str(folder / pattern)))  # noqa: PTH207
    if not found and not folder.joinpath(pattern).parent.is_dir():
        context.warn(f"no file matches {pattern}: there is no such folder", item.place)
    return [Path(each) for each in found]
