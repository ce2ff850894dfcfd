"""The documents say what the program does: their examples are read, their mistakes are made.

Fenced blocks with these words behind the fence are held against the program:

``farms``            a whole farms file, without mistakes
``farms-part``       statements of a farm; what a farm needs beside them is put around them
``json farms``       a whole farms file in its JSON form
``mistake``          statements of a farm with the mistakes that they are told
``mistake-file``     the same for a whole file
``mistake-json``     the same for the JSON form
``mistake-printed``  what is printed, to the letter, for the ``mistake-file`` before it

In a ``mistake`` block each case stands alone, blank lines between. In all of them, below a line
stand, further in, the mistakes at that line (``error: ...``, ``warning: ...``), each with its
``help: ...`` where it has one. They are all there are. In JSON they stand at the end of a case,
each with the path in front of it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from nftlbc import farms, pipeline
from nftlbc.diagnostics import Diagnostic, draw, has_errors, located, ordered, position
from nftlbc.language import settings
from nftlbc.language.backend import HEAVIEST
from nftlbc.language.check import COMMON, KINDS, REQUIRED
from nftlbc.language.farm import MOST_LISTENERS
from nftlbc.language.lexicon import lexicon
from nftlbc.language.syntax import BLOCKS, PLAIN
from nftlbc.rules.backends import MOST_BACKENDS
from nftlbc.schedule import round_robin
from nftlbc.table.build import SHARED_STICKY_SIZE
from nftlbc.table.model import OURS, REPLACE_SOURCE

ROOT = Path(__file__).parents[1]
LANGUAGE = ROOT / "docs" / "language.md"
EXAMPLES = ROOT / "examples"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *EXAMPLES.glob("*.md")])
LAYOUT = ("Syntax", "Meaning", "Default", "Example", "Mistakes")

LISTENER = "listen 203.0.113.10 tcp port 80"
BACKENDS = ("backend app1 10.0.0.11 port 8080", "backend app2 10.0.0.12 port 8080")
"""What stands around statements of a farm that have none of their own."""


class Block(NamedTuple):
    document: Path
    line: int
    """Of the fence."""
    kind: str
    """All that stands behind the fence."""
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


class Told(NamedTuple):
    where: int | str
    """The line, or the JSON path."""
    severity: str
    message: str
    help: str | None


class Case(NamedTuple):
    """A wrong input, and what is told of it."""

    block: Block
    line: int
    text: str
    told: list[Told]

    def __str__(self) -> str:
        return f"{self.block.document.name}:{self.line}"


def blocks(document: Path) -> list[Block]:
    text = document.read_text("utf-8")
    fence = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        Block(document, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2])
        for match in fence.finditer(text)
    ]


ALL_BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in ALL_BLOCKS if block.kind in kinds]


def cases() -> list[Case]:
    return [
        case for block in of_kind("mistake", "mistake-file", "mistake-json") for case in cut(block)
    ]


def cut(block: Block) -> list[Case]:
    found = []
    line = block.line + 1
    for part in re.split(r"\n{2,}", block.text.rstrip("\n")):
        found.append(Case(block, line, *parted(part)))
        line += part.count("\n") + 2
    return found


def parted(text: str) -> tuple[str, list[Told]]:
    """What is written, and what is told of it."""
    written: list[str] = []
    told: list[Told] = []
    for line in text.rstrip("\n").split("\n"):
        match = re.match(r"\s+(?:(\S+): )?(error|warning|help): (.*)", line)
        if match is None:
            written.append(line)
        elif match[2] == "help":
            told[-1] = told[-1]._replace(help=match[3])
        else:
            told.append(Told(match[1] or len(written), match[2], match[3], None))
    return "\n".join(written) + "\n", told


def whole(part: str) -> tuple[str, int]:
    """A farms file with these statements in a farm, and how many lines stand before them."""
    around = []
    if not re.search(r"^\s*listen\b", part, re.MULTILINE):
        around.append(LISTENER)
    if not re.search(r"^\s*backend\b", part, re.MULTILINE):
        around.extend(BACKENDS)
    lines = ["farm example {", *around]
    return "\n".join(lines) + "\n" + part + "}\n", len(lines)


def read(text: str, name: str = "farms.lb") -> tuple[tuple[farms.Farm, ...], list[Diagnostic]]:
    """Reads a text as a file of the current folder."""
    Path(name).write_text(text, encoding="utf-8")
    found, diagnostics = pipeline.read(name)
    return found, ordered(diagnostics)


def told(diagnostic: Diagnostic, before: int = 0) -> Told:
    place = located(diagnostic.place)
    where: int | str
    if place is None or place.line is None:
        where = position(place).partition(": ")[2] if place else ""
    else:
        where = place.line - before
    return Told(where, diagnostic.severity.value, diagnostic.message, diagnostic.help)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, with the folder that the documents' includes name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farms.d").mkdir()
    return tmp_path


@pytest.mark.parametrize("block", of_kind("farms", "farms-part", "json farms"), ids=str)
def test_an_example_is_right(block: Block, folder: Path) -> None:
    written, warned = parted(block.text)
    text, before = whole(written) if block.kind == "farms-part" else (written, 0)
    found, diagnostics = read(text, "farms.json" if block.kind == "json farms" else "farms.lb")
    assert not has_errors(diagnostics), draw(diagnostics)
    assert [told(each, before) for each in diagnostics] == warned, draw(diagnostics)
    assert found
    assert pipeline.script(found)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_mistake_is_told_as_it_is_quoted(case: Case, folder: Path) -> None:
    text, before = whole(case.text) if case.block.kind == "mistake" else (case.text, 0)
    form = "json" if case.block.kind == "mistake-json" else "lb"
    _, diagnostics = read(text, f"farms.{form}")
    found = [told(diagnostic, before) for diagnostic in diagnostics]
    assert case.told, "a case without a mistake"
    assert found == case.told, draw(diagnostics)


@pytest.mark.parametrize("block", of_kind("mistake-printed"), ids=str)
def test_a_mistake_is_printed_as_it_is_shown(block: Block, folder: Path) -> None:
    before = [each for each in of_kind("mistake-file") if each.document == block.document]
    (case,) = cut(max((each for each in before if each.line < block.line), key=lambda b: b.line))
    _, diagnostics = read(case.text)
    assert draw(diagnostics) == block.text


def json_rows() -> list[tuple[str, str, str]]:
    """The table of the JSON form: a statement, where it stands, its member."""
    text = sections(LANGUAGE, 2)["The JSON form"]
    return re.findall(r"^\| `([^`]+)`( in a check)? \| `([^`]+)` \|$", text, re.MULTILINE)


def test_the_forms_of_a_statement_say_the_same(folder: Path) -> None:
    rows = json_rows()
    assert rows
    around = {
        "name": "example",
        "listen": [{"address": "203.0.113.10", "protocol": "tcp", "port": 80}],
        "backends": [{"name": "app1", "address": "10.0.0.11"}],
    }
    for statement, in_check, member in rows:
        value = json.loads(f"{{{member}}}")
        if in_check:
            kind = next(kind for kind, has in KINDS.items() if statement.split()[0] in has)
            statement = f"check {kind} {{ {statement} }}"
            value = {"check": {"kind": kind, **value}}
        lines = ("farm example {", LISTENER, "backend app1 10.0.0.11", statement, "}", "")
        expected, diagnostics = read("\n".join(lines))
        assert not has_errors(diagnostics), draw(diagnostics)
        document = {"farms": [{**around, **value}]}
        found, diagnostics = read(json.dumps(document), "farms.json")
        assert not has_errors(diagnostics), draw(diagnostics)
        assert found == expected


def test_the_forms_of_the_same_file_say_the_same(folder: Path) -> None:
    """The JSON example is one of the examples of the language in its other form."""
    inputs = [read(block.text)[0] for block in of_kind("farms") if block.document == LANGUAGE]
    for block in of_kind("json farms"):
        assert read(block.text, "farms.json")[0] in inputs, str(block)


@pytest.mark.parametrize("word", sorted(lexicon().keywords))
def test_the_reference_has_every_keyword(word: str) -> None:
    assert re.search(rf"`[^`\n]*(?<![\w-]){word}(?![\w-])[^`\n]*`", LANGUAGE.read_text("utf-8"))


def sections(document: Path, level: int) -> dict[str, str]:
    """From a heading of this level to the text below it, up to the next of its level or above."""
    text = re.sub(
        r"^```.*?^```$",
        lambda m: m[0].replace("\n#", "\n "),
        document.read_text("utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    parts = re.split(rf"^(#{{1,{level}}}) (.+)\n", text, flags=re.MULTILINE)
    return {parts[n + 1]: parts[n + 2] for n in range(1, len(parts), 3) if len(parts[n]) == level}


@pytest.mark.parametrize("word", [*BLOCKS, *PLAIN])
def test_every_statement_has_its_place_in_the_one_layout(word: str) -> None:
    found = sections(LANGUAGE, 3)
    assert word in found, "no section of its own"
    labels = re.findall(r"^\*\*(\w+)\.\*\*", found[word], re.MULTILINE)
    assert tuple(labels) == LAYOUT
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(#([\w-]+)\)", LANGUAGE.read_text("utf-8"), re.MULTILINE)
    assert (word, word) in rows, "not in the table of statements"


def option_rows(text: str) -> dict[str, list[str]]:
    """The cells of the rows of a table, by the word in their first cell."""
    rows = re.findall(r"^\| `([\w-]+)[^`]*` \|(.+)\|$", text, re.MULTILINE)
    return {word: [cell.strip() for cell in cells.split(" | ")] for word, cells in rows}


def test_the_reference_has_the_common_options_of_checks_with_their_defaults() -> None:
    rows = option_rows(sections(LANGUAGE, 4)["Options of all checks"])
    assert set(rows) == set(COMMON)
    check = farms.Check("tcp")
    for name in ("interval", "timeout"):
        assert rows[name][-1].startswith(f"{getattr(check, name) // 1000}s"), name
    for name in ("fall", "rise"):
        assert rows[name][-1] == str(getattr(check, name)), name


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_reference_has_every_check_and_its_options(kind: str) -> None:
    text = sections(LANGUAGE, 4)["Kinds of checks"]
    rows = option_rows(text)
    assert f"`{kind}`" in text
    for name, option in KINDS[kind].items():
        assert name in rows, name
        kinds, form, *_ = rows[name]
        assert f"`{kind}`" in kinds, f"{name} is one of {kind}"
        missing = [choice for choice in option.choices if f"`{choice}`" not in form]
        assert not missing, f"{name} may be {missing}"
        if name in REQUIRED.get(kind, ()):
            assert "required" in form, f"{name} is required"


def test_the_reference_has_the_defaults_of_the_model() -> None:
    found = {
        word: text.partition("**Default.**")[2].partition("\n\n")[0]
        for word, text in sections(LANGUAGE, 3).items()
    }
    farm = farms.Farm("example", (), ())
    assert f"`{farm.forward.kind}`" in found["forward"]
    assert f"`{farm.balance.scheduler}`" in found["balance"]
    assert f"`slots {farms.CONSISTENT_SLOTS}`" in found["balance"]
    assert f"`for {farms.PERSIST_TIMEOUT // 60_000}m`" in found["persist"]
    assert f"`quorum {farm.quorum}`" in found["quorum"]
    assert f"`on-down {farm.on_down}`" in found["on-down"]
    assert f"`when-all-down {farm.when_all_down}`" in found["when-all-down"]


def test_the_reference_has_the_limits_of_the_program() -> None:
    found = sections(LANGUAGE, 3)

    def spaced(number: int) -> str:
        return f"{number:,}".replace(",", " ")

    assert f"0 to {HEAVIEST}" in found["backend"]
    assert f"at most {spaced(MOST_BACKENDS)} backends" in found["backend"]
    assert f"a prime from 2 to {settings.MOST_SLOTS}" in found["balance"]
    assert f"reduced sums of {spaced(round_robin.PRECISION)}:" in found["balance"]
    assert f"at most {spaced(round_robin.MOST_SLOTS)}, " in found["balance"]
    assert f"a map of {spaced(SHARED_STICKY_SIZE)} entries" in found["persist"]
    assert f"1 to {spaced(settings.LARGEST_STICKY)}" in found["persist"]
    assert f"at most {spaced(MOST_LISTENERS)}" in found["listen"]
    assert OURS == 1 << 31 and REPLACE_SOURCE == 1 << 30
    marks = sections(LANGUAGE, 2)["The marks on connections"]
    assert re.findall(r"^\| (\S+(?: to \S+)?) \|", marks, re.MULTILINE)[1:] == [
        "31",
        "30",
        "29 to 0",
    ]


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives to a document's headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


def test_every_example_is_listed() -> None:
    listed = re.findall(r"\]\(([\w-]+\.lb)\)", (EXAMPLES / "README.md").read_text("utf-8"))
    assert sorted(listed) == sorted(each.name for each in EXAMPLES.glob("*.lb"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_links_lead_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (document.parent / path).resolve() if path else document
        assert other.exists(), f"{target}: there is no such file"
        assert ROOT in (other, *other.parents), f"{target} is outside of the repository"
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other), f"{target}: there is no such heading"


def test_the_reference_is_there_and_has_cases() -> None:
    """Were the blocks not found, the tests above would hold for nothing."""
    assert LANGUAGE in DOCUMENTS
    for kind in ("farms", "farms-part", "json farms", "mistake", "mistake-file", "mistake-printed"):
        assert any(block.document == LANGUAGE for block in of_kind(kind)), kind
