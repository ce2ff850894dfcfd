"""Damaged files: mistakes are told, in every format; nothing breaks, hangs or grows faster than
the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import pytest
from generate import farms_texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nftlbc import rules
from nftlbc.diagnostics import Diagnostic, Severity, as_github, as_json, draw
from nftlbc.language import read
from nftlbc.source import TextSource

ROOT = Path(__file__).parent.parent.parent
SEEDS = [
    file.read_bytes()
    for file in sorted([*ROOT.glob("examples/*.lb"), *ROOT.glob("tests/golden/**/*.lb")])
]
# A folder that lasts for all examples of a test; each writes its file anew.
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def told(file: Path) -> list[Diagnostic]:
    farms, diagnostics = read(file.name)
    return [*diagnostics, *rules.check(farms)]


def tell(file: Path, data: bytes) -> None:
    """What every file must bear."""
    file.write_bytes(data)
    diagnostics = told(file)
    lines = data.count(b"\n") + 1
    for each in diagnostics:
        assert each.message
        assert each.message.isprintable() or each.place is not None
    drawn = draw(diagnostics)
    assert drawn.replace("\n", "").isprintable(), "nothing of the file may steer a terminal"
    assert drawn.count("error: ") >= sum(each.severity is Severity.ERROR for each in diagnostics)
    rows = json.loads(as_json(diagnostics))
    assert len(rows) == len(as_github(diagnostics).splitlines()) == len(diagnostics)
    for row in rows:
        if row["file"] == file.name and row["line"] is not None:
            assert 1 <= row["line"] <= lines
            assert row["column"] >= 1
    assert draw(told(file)) == drawn, "the same file, told otherwise"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("farms.lb")


Edit = tuple[str, float, float, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "insert", "repeat", "move", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 0.1),
        st.binary(min_size=1, max_size=4)
        | st.sampled_from([b"{", b"}", b'"', b";", b"\n", b",", b"$", b"\\", b"\0", b"\r", b"#"]),
    ),
    min_size=1,
    max_size=5,
)


def damaged(data: bytes, edits: Sequence[Edit]) -> bytes:
    for what, where, share, new in edits:
        at = int(where * len(data))
        end = min(len(data), at + 1 + int(share * len(data)))
        if what == "flip":
            data = data[:at] + bytes(byte ^ new[0] for byte in data[at : at + 1]) + data[at + 1 :]
        elif what == "delete":
            data = data[:at] + data[end:]
        elif what == "insert":
            data = data[:at] + new + data[at:]
        elif what == "repeat":
            data = data[:end] + data[at:]
        elif what == "move":
            data = data[:at] + data[end:] + data[at:end]
        else:
            data = data[:at]
    return data


@settings(in_a_folder, max_examples=400)
@given(st.sampled_from(SEEDS), EDITS)
def test_damaged_files(file: Path, data: bytes, edits: Sequence[Edit]) -> None:
    tell(file, damaged(data, edits))


@settings(in_a_folder, max_examples=100)
@given(farms_texts(), EDITS)
def test_damaged_generated_files(file: Path, text: str, edits: Sequence[Edit]) -> None:
    tell(file, damaged(text.encode(), edits))


@settings(in_a_folder, max_examples=150)
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
)
def test_random_bytes(file: Path, data: bytes) -> None:
    tell(file, data)


WORDS = (
    *(
        "farm",
        "check",
        "listen",
        "backend",
        "define",
        "include",
        "persist",
        "port",
        "weight",
        "tcp",
    ),
    *(
        "{",
        "}",
        ",",
        "=",
        ";",
        "\n",
        "\n",
        "80",
        "5s",
        "10.0.0.1",
        "::1",
        "$x",
        "x",
        '"x"',
        '"',
        "@",
    ),
)


@settings(in_a_folder, max_examples=300)
@given(st.lists(st.sampled_from(WORDS), max_size=60))
def test_random_words(file: Path, words: list[str]) -> None:
    tell(file, " ".join(words).encode())


# Growth.

LISTEN = "listen 10.0.0.1 tcp port 80\n"
GROWING: dict[str, Callable[[int], str]] = {
    "open braces": lambda n: "{ " * n,
    "open braces on lines": lambda n: "{\n" * n,
    "closing braces": lambda n: "}" * n,
    "unclosed farms": lambda n: "farm a {\n" * n,
    "unclosed farms with defines in them": lambda n: "farm a {\ndefine x = 1\n" * n,
    "farms in one line": lambda n: "farm a { } " * n,
    "checks in checks": lambda n: "check tcp {\n" * n,
    "unknown blocks": lambda n: "x {\n" * n,
    "unclosed lists": lambda n: "define x = {\n" * n,
    "unclosed lists of values": lambda n: "define x = { a,\n" * n,
    "one unclosed list": lambda n: "listen { 10.0.0.1,\n" + "10.0.0.2,\n" * n,
    "lists in lists": lambda n: "define x = { " + "{ " * n,
    "semicolons in lists": lambda n: "define a = { b; \n" * n,
    "a list of keywords": lambda n: "define x = {" + "\n farm," * n,
    "quotes": lambda n: '"' * n,
    "quotes on lines": lambda n: '"\n' * n,
    "escapes": lambda n: '"\\' * n,
    "one long line": lambda n: "listen " * n,
    "commas": lambda n: ", " * n,
    "one long word": lambda n: "a" * n,
    "control characters": lambda n: "\0" * n,
    "lines of control characters": lambda n: "\0\n" * n,
    "blanks that are none": lambda n: "\u00a0\n" * n,
    "a brace far below": lambda n: "farm a" + "\n" * n + "{",
    "farms without braces": lambda n: "farm a\n\n" * n,
    "unknown statements": lambda n: "".join(f"lisen{number} x\n" for number in range(n)),
    "repeated farms": lambda n: f"farm a {{\n{LISTEN}backend a 10.0.0.1\n}}\n" * n,
    "repeated backends": lambda n: f"farm a {{\n{LISTEN}{'backend a 10.0.0.1' + chr(10)}" * n + "}",
    "overlapping listeners": lambda n: f"farm a {{\n{LISTEN * n}backend a 10.0.0.1\n}}\n",
    "options again": lambda n: "farm a {\nbackend a 10.0.0.1 " + "port 80 " * n + "\n}",
    "settings again": lambda n: "farm a {" + "quorum 0;" * n + "}",
    "keys": lambda n: "farm a {\n persist " + "source-ip, " * n + "source-ip\n}",
    "values": lambda n: "define x = { " + "10.0.0.1, " * n + " }\nfarm a { listen $x tcp port 80 }",
    "defines": lambda n: "".join(f"define x{number} = 1\n" for number in range(n)),
    "defines in defines": lambda n: "define x0 = 1\n" + "".join(f"define x{m + 1} = $x{m}\n" for m in range(n)),
    "strays": lambda n: "backend a 10.0.0.1\n" * n,
}  # fmt: skip


def steps(file: Path, text: str) -> int:
    """How many calls it takes to tell what is wrong with a text."""
    file.write_text(text, "utf-8")
    count = 0

    def step(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(step)
    try:
        draw(told(file))
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", GROWING)
def test_time_grows_as_the_file_does(file: Path, name: str) -> None:
    grown = GROWING[name]
    steps(file, grown(400))  # fills the caches
    few, many = steps(file, grown(100)), steps(file, grown(400))
    assert many <= 4.4 * few + 200


# A regular expression that goes back and forth takes hours here; nobody notices a minute.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        *('"', '"\\', '"\n', "{ ", "a", "@ ", ", ", "listen ", "backend a ", "\0", " ", "\t", "#"),
        *("# x\n", "\n", ";", "10.", "1s", "::", "farm ", "include \\", "source-ip/"),
    ],
)
def test_a_megabyte_of_the_same(file: Path, text: str) -> None:
    count = 1_000_000 // len(text) // (20 if "\n" in text else 1)
    file.write_text(text * count + "~", "utf-8")
    told(file)


def test_a_long_line_is_not_copied_for_each_of_its_mistakes() -> None:
    source = TextSource("farms.lb", "quorum 0; " * 1000)
    assert source.locate(1, 1).text is source.locate(900, 900).text
