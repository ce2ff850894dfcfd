"""Statement by statement or all at once: the parser gives what Lark gives for the whole file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from generate import farms_texts
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken
from lark.lexer import PatternStr

import nftlbc
from nftlbc.language.lexicon import lexicon
from nftlbc.language.shapes import BLOCKS, PLAIN, TOP, Node, Shape, Shapes, Statement
from nftlbc.language.syntax import parse
from nftlbc.source import TextSource

ROOT = Path(__file__).parent.parent.parent
GRAMMAR = (Path(nftlbc.__file__).parent / "grammar" / "farms.lark").read_text("utf-8")
FILES = sorted([*ROOT.glob("examples/**/*.lb"), *ROOT.glob("tests/golden/**/*.lb")])
Simple = tuple[Any, ...]
"""A tree as nested tuples: a rule and its parts, or a terminal and its token."""


# The whole file by Lark.


def without_list_newlines(tokens: Sequence[str]) -> Iterator[str]:
    """The grammar's own words: a newline inside the braces of a list is a blank."""
    first: str | None = None  # token of the statement that is going on
    in_list = False
    for token in tokens:
        if in_list:
            in_list = token != "}"
            if token == "\n":
                continue
        elif token in ("\n", ";", "}") or (token == "{" and first in BLOCKS):
            first = None
        elif token == "{":
            in_list = True
        elif first is None:
            first = token
        yield token


def whole(source: TextSource) -> Tree[Token] | None:
    """Lark's tree of a file, or None where it finds no way to read it."""
    words = lexicon()
    parser: Any = words.lark.parse_interactive(start="file")
    try:
        for token in without_list_newlines(source.tokens):
            parser.feed_token(Token(words.terminal[words[token]], token))
        tree: Tree[Token] = parser.feed_eof()
    except UnexpectedToken:
        return None
    return tree


def simple(tree: Tree[Token] | Token) -> Simple:
    if isinstance(tree, Token):
        return (tree.type, str(tree))
    children = [
        each for each in tree.children if not (isinstance(each, Token) and each.type == "END")
    ]
    return (str(tree.data), *map(simple, children))


# The same of the statements.


def simple_node(statement: Statement, node: Node) -> Simple:
    if not node.children and node.rule.isupper():
        return (node.rule, statement.text(node))
    parts = [simple_node(statement, child) for child in node.children]
    if node.rule in ("farm_body", "check_body"):
        parts = [simple_statement(each) for each in statement.body or ()]
    return (node.rule, *parts)


def simple_statement(statement: Statement) -> Simple:
    return simple_node(statement, statement.shape.node)


def compare(text: str) -> bool:
    """Whether the text is one of the language, after both ways agreed on it."""
    source = TextSource("farms.lb", text)
    tree = whole(source)
    statements, diagnostics = parse(source)
    assert (tree is None) == bool(diagnostics), [each.message for each in diagnostics]
    if tree is not None:
        assert simple(tree) == ("file", *map(simple_statement, statements))
    return tree is not None


# Texts.


def grammatical() -> st.SearchStrategy[str]:
    """Texts made by the grammar itself, senseless but right; newlines in bare lists make some
    of them wrong."""
    lark = Lark(GRAMMAR, start="file", parser="lalr")
    examples = {
        "END": ["\n", ";", "\n\n  # a comment {\n"],
        "INT": ["80"],
        "RANGE": ["8000-8099"],
        "DURATION": ["1m30s"],
        "IPV4": ["10.0.0.1"],
        "PREFIX": ["10.0.0.0/8", "2001:db8::/32"],
        "IPV6": ["2001:db8::1"],
        "KEY": ["source-ip", "destination-ip/24/56"],
        "REFERENCE": ["$name"],
        "NAME": ["web", "a-b_c"],
        "STRING": ['"text"', '"{ ; } # \\""'],
        "WORD": ["@", "80.5"],
        "COMMA": [",", ",\n", ", # more\n"],
        "LBRACE": ["{", "{\n"],
        "RBRACE": ["}"],
    }
    terminals: dict[str, st.SearchStrategy[str]] = {}
    for terminal in lark.terminals:
        pattern = terminal.pattern
        texts = examples.get(terminal.name)
        if texts is None:
            assert isinstance(pattern, PatternStr), f"{terminal.name} has no example"
            texts = [pattern.value]
        terminals[terminal.name] = st.sampled_from([f"{text} " for text in texts])
    return from_lark(lark, start="file", explicit=terminals)


WORDS = [
    *(word for word in lexicon().keywords),
    *("\n", ";", "{", "}", ",", "=", "80", "1-2", "5s", "10.0.0.1", "::1", "10.0.0.0/8", "$x"),
    *("web", "source-ip/24", '"text"', '"unclosed', "@"),
]
Edit = tuple[str, float, str]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["delete", "insert", "replace", "swap", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(WORDS),
    ),
    min_size=1,
    max_size=4,
)


def edited(text: str, edits: Sequence[Edit]) -> str:
    """The text with some of its tokens deleted, swapped, repeated or others put in their place."""
    tokens = list(TextSource("", text).tokens)
    for what, where, word in edits:
        at = int(where * len(tokens))
        if what == "insert" or not tokens:
            tokens.insert(at, word)
        elif what == "delete":
            del tokens[at]
        elif what == "replace":
            tokens[at] = word
        elif what == "repeat":
            tokens.insert(at, tokens[at])
        else:
            tokens[at], tokens[at - 1] = tokens[at - 1], tokens[at]
    return " ".join(tokens)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files(file: Path) -> None:
    assert compare(file.read_text("utf-8")) or "mistakes" in file.parts


@settings(max_examples=300)
@given(grammatical())
def test_texts_by_the_grammar(text: str) -> None:
    compare(text)


@settings(max_examples=60)
@given(farms_texts())
def test_generated_farms(text: str) -> None:
    assert compare(text)


@settings(max_examples=400)
@given(
    grammatical()
    | farms_texts()
    | st.sampled_from(FILES).map(lambda file: file.read_text("utf-8")),
    EDITS,
)
def test_damaged_texts(text: str, edits: Sequence[Edit]) -> None:
    compare(edited(text, edits))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_short_texts(size: int) -> None:
    """Every way to put a few words together at the beginning of a file and of a farm."""
    words = ["farm", "check", "hairpin", "include", "web", '"x"', "\n", ";", "{", "}", ",", "80"]
    for picked in itertools.product(words, repeat=size):
        text = " ".join(picked)
        compare(text)
        compare(f"farm a {{ {text} }}")
        compare(f"farm a {{ check tcp {{ {text} }} }}")


def test_a_list_may_hold_lines_that_begin_with_keywords() -> None:
    assert compare("define words = {\n    farm,\n    check,\n    persist\n}\n")
    assert compare("farm a { check exec { command \n } }")


# What the code knows of the grammar beside it.


def first_words(rule: str) -> set[str]:
    words = lexicon()
    parser: Any = words.lark.parse_interactive(start=rule)
    return {words.text[name] for name in parser.accepts()}


def test_statements_are_those_of_the_grammar() -> None:
    assert first_words("file_statement") == set(TOP)
    assert first_words("farm_statement") == {*BLOCKS, *PLAIN} - set(TOP)


def test_blocks_are_those_of_the_grammar() -> None:
    shapes = Shapes(lexicon(), ("file_statement", "farm_statement"))
    for word, rule in (
        ("farm", "file_statement"),
        ("defaults", "file_statement"),
        ("check", "farm_statement"),
    ):
        header = [word] if word == "defaults" else [word, "name"]
        shape = shapes.get(rule, lexicon().kinds([*header, "{", "}"]))
        assert isinstance(shape, Shape)
        assert BLOCKS[word].startswith(shape.node.children[-1].rule.removesuffix("_body"))


@pytest.mark.parametrize("word", [*lexicon().keywords, "web", "source-ip"])
def test_every_keyword_may_be_a_name(word: str) -> None:
    assert compare(f"farm {word} {{ backend {word} 10.0.0.1; check {word} {{ {word} {word} }} }}\n")
    assert compare(f"define {word} = {word}\n")


def test_words_of_the_lexicon_are_those_of_the_grammar() -> None:
    """Each terminal of the grammar has a kind, and each kind is a terminal or can't be parsed."""
    words = lexicon()
    terminals = {terminal.name for terminal in words.lark.terminals}
    assert set(words.terminal.values()) == terminals | {"UNCLOSED"}
