"""From a path to the statements of a file and of all that it includes."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nftlbc.diagnostics import Also, error
from nftlbc.language import syntax, values
from nftlbc.language.syntax import Statement
from nftlbc.language.values import Context
from nftlbc.source import Location, Place, Source, TextSource

LARGEST_FILE = 256 << 20
"""Bytes of one file; more is no farms file."""
MOST_FILES = 10_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_CONTROLS = 20
"""Control characters of a file that are reported one by one."""


@dataclass
class File:
    """A file's statements, and the file that includes it."""

    path: Path | None
    """None: standard input."""
    statements: list[Statement]
    parent: File | None = None
    included: Place | None = None
    """The ``include`` that brought it."""
    defaults: Statement | None = None
    farms: list[Statement] = field(default_factory=list)


def load(name: str, context: Context) -> list[File]:
    """The file ``name`` (``-``: standard input) and those it includes, each before its own.

    Mistakes of reading, of syntax and of including are put into the context.
    """
    files: list[File] = []
    seen: dict[tuple[int, int], File] = {}
    path = None if name == "-" else Path(name)
    _load(context, name, path, None, None, files, seen)
    return files


def _load(
    context: Context,
    name: str,
    path: Path | None,
    parent: File | None,
    included: Place | None,
    files: list[File],
    seen: dict[tuple[int, int], File],
) -> None:
    place: Place | Location = included or Location(name, None, 1, "", 0)
    if len(files) >= MOST_FILES:
        context.diagnostics.append(error(f"more than {MOST_FILES} files", place))
        return
    try:
        data, identity = _read(path)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        message = f"can't read {name}: {reason}" if included else f"can't be read: {reason}"
        context.diagnostics.append(error(message, place))
        return
    if identity in seen:
        _twice(context, name, included, seen[identity], parent)
        return
    source = _source(context, name, data)
    file = File(path, [], parent, included)
    seen[identity] = file
    files.append(file)
    if source is None:
        return
    file.statements, diagnostics = syntax.parse(source)
    context.diagnostics += diagnostics
    for statement in file.statements:
        if statement.rule == "include":
            for each in _included(context, statement, path):
                _load(context, str(each), each, file, statement.place(), files, seen)


def _read(path: Path | None) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a regular file or of a pipe, and what tells it from other files."""
    if path is None:
        data = sys.stdin.buffer.read(LARGEST_FILE + 1)
        identity = (-1, -1)
    else:
        with path.open("rb") as stream:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(0, "is a directory")
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
    if name.endswith(".json"):
        from nftlbc.language import json_form

        return json_form.source(context, shown, text)
    source = TextSource(shown, text)
    controls = _CONTROL.finditer(source.text)
    for number, match in enumerate(controls):
        if number == _MOST_CONTROLS:
            break
        message = f"a control character (0x{ord(match.group()):02x})"
        context.diagnostics.append(error(message, source.locate_offset(match.start())))
    return source


def _twice(
    context: Context, name: str, included: Place | None, first: File, parent: File | None
) -> None:
    above = parent
    while above is not None and above is not first:
        above = above.parent
    if above is first:
        context.error(f"{name} includes itself", included, "take this include away")
        return
    also = Also("first here", first.included) if first.included else None
    help = "what a file defines is known in all files: include it once"
    context.error(f"{name} is included twice", included, help, also)


def _included(context: Context, statement: Statement, path: Path | None) -> Iterable[Path]:
    """The files that an ``include`` names, sorted by name."""
    node = statement.shape.node.children[0]
    item = values.Item(node.rule, statement.text(node), statement.place(node))
    pattern = values.string(context, item, "include")
    if not pattern:
        if pattern is not None:
            context.error("include of nothing", item.place)
        return []
    folder = path.parent if path else Path()
    if "\x00" in pattern:
        context.error("a file's name has no zero byte", item.place)
        return []
    if not re.search(r"[*?\[]", pattern):
        return [folder / pattern]
    import glob

    found = sorted(glob.glob(str(folder / pattern), recursive=False))
    if not found and not folder.joinpath(pattern).parent.is_dir():
        context.warn(f"no file matches {pattern}: there is no such folder", item.place)
    return [Path(each) for each in found]
