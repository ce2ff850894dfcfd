"""The farms file of a loop: read again when it, or a file that it includes, has changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nftlbc.farms import Farm

_Stamp = tuple[int, int, int] | None


class Mistaken(Exception):
    """The file is not to be used: what is wrong, and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class FarmsFile:
    def __init__(self, name: str) -> None:
        self._name = name
        self._farms: tuple[Farm, ...] = ()
        self._stamps: dict[Path, _Stamp] = {}

    def farms(self) -> tuple[Farm, ...]:
        """As they were when the file was last without a mistake."""
        return self._farms

    def changed(self) -> bool:
        """Whether one of the files is another one than when it was read, or a folder from which
        files are included. Standard input never changes."""
        return any(_stamp(path) != stamp for path, stamp in self._stamps.items())

    def read(self) -> None:
        """Reads it. Raises Mistaken, and keeps what was read last, where it has mistakes."""
        from nftlbc import pipeline
        from nftlbc.diagnostics import Severity, has_errors, located, position
        from nftlbc.language.load import load
        from nftlbc.language.values import Context

        if waited_for(self._name):  # a service would wait for whoever writes there, for ever
            raise Mistaken(f"{self._name} is no ordinary file", "name a farms file")
        paths = {each.path for each in load(self._name, Context()) if each.path is not None}
        folders = {path.parent for path in paths - {Path(self._name)}}
        self._stamps = {path: _stamp(path) for path in (*paths, *folders)}
        farms, diagnostics = pipeline.read(self._name)
        if has_errors(diagnostics):
            first = next(each for each in diagnostics if each.severity is Severity.ERROR)
            at = located(first.place)
            where = position(at) if at is not None else self._name
            raise Mistaken(f"{where}: {first.message}", f"nftlbc check {self._name}")
        self._farms = farms


def waited_for(name: str) -> bool:
    """Whether it is a pipe or the like: reading waits for its writer, and can't be repeated."""
    try:
        kind = stat.S_IFMT(os.stat(name).st_mode) if name != "-" else stat.S_IFIFO  # noqa: PTH116
    except (OSError, ValueError):
        return False  # reading it tells what is wrong
    return kind not in (stat.S_IFREG, stat.S_IFDIR)


def _stamp(path: Path) -> _Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
