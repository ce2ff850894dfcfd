"""Every mistake is told: where it is, what was expected, what was probably meant, all at once.

A case is a farms file in tests/golden/mistakes, NAME.lb (or a folder NAME with farms.lb and what
it includes), beside NAME.txt, which holds what a person reads. Files that an editor or git would
not leave as they are stand here.
"""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

import nftlbc
from nftlbc import rules
from nftlbc.diagnostics import Diagnostic, as_github, as_json, draw, has_errors
from nftlbc.farms import Farm
from nftlbc.language import read

Golden = Callable[[Path, str], None]

load = sys.modules["nftlbc.language.load"]
FOLDER = Path(__file__).parent.parent / "golden" / "mistakes"
FILES = sorted([*FOLDER.glob("*.lb"), *FOLDER.glob("*/farms.lb")])
FARM = "farm web {\n    listen 203.0.113.1 tcp port 80\n    backend app1 10.0.0.11\n}\n"


def with_backends(count: int) -> str:
    lines = (f"backend b{n} 10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(1, count + 1))
    return FARM.replace("backend app1 10.0.0.11", "\n    ".join(lines))


BYTES = {
    "bytes-utf8": FARM.replace("web", "caf\u00e9").encode(),
    "bytes-latin1": f"# not this: caf\u00e9\n{FARM}".encode("latin-1"),
    "bytes-utf16": FARM.encode("utf-16"),
    "bytes-control": FARM.replace("web", "we\x00b").replace("tcp", "\x1b[31mtcp").encode(),
    "bytes-control-in-comment": f"# a bell: \a\n{FARM}# \x7f \x85".encode(),
    "bytes-many-controls": (b"\x01" * 50 + b"\n" + FARM.encode()),
    "bytes-old-mac": FARM.replace("\n", "\r").encode(),
    "bytes-blanks": FARM.replace("listen 203", "listen\u00a0203").replace("b {", "b\u200b {").encode(),
    "bytes-quotes": FARM.replace("}", "    check http { path \u201c/\u201d }\n}").encode(),
    "bytes-bom-crlf": b"\xef\xbb\xbf" + FARM.replace("80", "80800").replace("\n", "\r\n").encode(),
    "bytes-no-last-newline": FARM.rstrip("}\n").encode(),
    "bytes-tabs": FARM.replace("    ", "\t").replace("tcp", "\ttpc").encode(),
    "bytes-long-line": b"define x = { " + b"10.0.0.1, " * 3000 + b"10.0.0.300 }\n" + FARM.replace("10.0.0.11", "$x").encode(),
    "many-backends": with_backends(16_385).encode(),
    "many-listeners": b"define x = { " + b", ".join(b"%d" % n for n in range(1, 40_000)) + b" }\n" + FARM.replace("tcp port 80", "tcp, udp port $x").encode(),
    "many-values": "".join(f"define x{n} = {{ $x{n - 1}, $x{n - 1} }}\n" for n in range(1, 40)).replace("$x0", "80").encode() + FARM.replace("80", "$x39").encode(),
    "many-defines": "".join(f"define x{n} = $x{n - 1}\n" for n in range(1, 200)).replace("$x0", "80").encode() + FARM.replace("80", "$x199").encode(),
}  # fmt: skip


def case_name(file: Path) -> str:
    return file.stem if file.parent == FOLDER else file.parent.name


def told(name: str) -> list[Diagnostic]:
    farms, diagnostics = read(name)
    return [*diagnostics, *rules.check(farms)]


@pytest.mark.parametrize("file", FILES, ids=case_name)
def test_mistakes_of_a_file(file: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    drawn = draw(told(file.name))
    golden(FOLDER / f"{case_name(file)}.txt", drawn)
    assert drawn, "a case without a mistake"


@pytest.mark.parametrize("name", BYTES)
def test_mistakes_of_bytes(
    name: str, golden: Golden, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("farms.lb").write_bytes(BYTES[name])
    golden(FOLDER / f"{name}.txt", draw(told("farms.lb")))


def test_no_golden_file_is_left_over() -> None:
    cases = {case_name(file) for file in FILES} | set(BYTES)
    assert {file.stem for file in FOLDER.glob("*.txt")} == cases


@pytest.mark.parametrize("file", FILES, ids=case_name)
def test_other_formats_tell_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    diagnostics = told(file.name)
    rows: list[dict[str, Any]] = json.loads(as_json(diagnostics))
    assert sorted(row["message"] for row in rows) == sorted(each.message for each in diagnostics)
    lines = as_github(diagnostics).splitlines()
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        where = f"file={row['file']},line={row['line']},col={row['column']}::"
        assert line.startswith(f"::{row['severity']} {where}")


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_line_ends_a_mark_and_comments_are_fine(begin: str, end: str, tmp_path: Path) -> None:
    text = f"{begin}# caf\u00e9 \u2028 \U0001f40c\n{FARM}".replace("\n", end).replace("    ", "\t")
    file = tmp_path / "farms.lb"
    file.write_bytes(text.encode())
    assert told(str(file)) == []


def test_a_file_of_nothing_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "farms.lb"
    file.write_bytes(b"")
    assert read(str(file)) == ((), [])


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    assert draw(told(str(tmp_path / "none.lb"))) == (
        f"{tmp_path}/none.lb: error: can't be read: no such file or directory\n"
    )
    assert draw(told(str(tmp_path))) == f"{tmp_path}: error: can't be read: is a directory\n"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SimpleNamespace(buffer=io.BytesIO(FARM.replace("80", "0").encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert draw(told("-")).startswith("(standard input):2:33: error: port 0 is not between")


def test_limits_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = tmp_path / "farms.lb"
    main.write_text('include "*.inc"\n')
    for number in range(5):
        (tmp_path / f"{number}.inc").write_text("# nothing\n")
    monkeypatch.setattr(load, "MOST_FILES", 4)
    assert [each.message for each in told(str(main))] == ["more than 4 files"]
    monkeypatch.setattr(load, "LARGEST_FILE", 8)
    assert "it is larger than" in told(str(main))[0].message


def test_files_that_include_files_for_ever(tmp_path: Path) -> None:
    for number in range(2_000):
        (tmp_path / f"{number}.lb").write_text(f'include "{number + 1}.lb"\n')
    [found] = told(str(tmp_path / "0.lb"))
    assert found.message == f"files that include files, more than {load.DEEPEST} deep"


# Every mistake that the code can tell is told in some case.

PACKAGE = Path(nftlbc.__file__).parent
NOT_THESE = {
    # The JSON form has tests of its own.
    *PACKAGE.glob("language/json_*.py"),
    *PACKAGE.glob("language/schema*.py"),
}
TELLING = {"error", "warn", "warning", "wrong"}


def tellings(file: Path) -> Iterator[tuple[int, int]]:
    """First and last line of each statement that tells a mistake."""
    tree = ast.parse(file.read_text("utf-8"))
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.stmt) or hasattr(statement, "body"):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
                if name in TELLING:
                    yield statement.lineno, statement.end_lineno or statement.lineno
                    break


def test_every_mistake_has_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {*PACKAGE.glob("language/*.py"), *PACKAGE.glob("rules/*.py")} - NOT_THESE
    names = {str(file) for file in files}
    ran: dict[str, set[int]] = {name: set() for name in names}

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        lines = ran.get(frame.f_code.co_filename)
        if lines is None:
            return None
        lines.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for file in FILES:
            monkeypatch.chdir(file.parent)
            told(file.name)
        monkeypatch.chdir(tmp_path)
        for data in BYTES.values():
            Path("farms.lb").write_bytes(data)
            told("farms.lb")
    finally:
        sys.settrace(before)
    never = [
        f"{file.relative_to(PACKAGE)}:{first}"
        for file in sorted(files)
        for first, last in tellings(file)
        if ran[str(file)].isdisjoint(range(first, last + 1))
    ]
    assert never == [], "\n".join(never)


def test_farms_with_mistakes_are_marked(tmp_path: Path) -> None:
    """Nobody takes such a farm for what was written."""
    file = tmp_path / "farms.lb"
    file.write_text(FARM.replace("80", "80 to 0") + "farm good" + FARM.removeprefix("farm web"))
    farms: tuple[Farm, ...]
    farms, diagnostics = read(str(file))
    assert has_errors(diagnostics)
    assert {farm.name: farm.mistaken for farm in farms} == {"good": frozenset(), "web": {"listen"}}
