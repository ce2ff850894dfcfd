"""The syntax tree, and making it.

The tree of a statement depends on the kinds of its tokens alone. So a file is cut into
statements, Lark's parser sees each shape of statement once, and all others of that shape share
its tree: positions in a tree are counted from the statement's first token. A test holds this
against Lark parsing whole files. Statements are also what a mistake costs: the next one is
parsed as if nothing had been.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from nftlbc.diagnostics import Also, Diagnostic, error
from nftlbc.language import syntax_errors
from nftlbc.language.lexicon import Lexicon, lexicon
from nftlbc.source import Place, Source

if TYPE_CHECKING:
    from lark import Token, Tree

BLOCKS = {"farm": "farm_statement", "defaults": "farm_statement", "check": "check_option"}
"""Statements with a block, and the rule of the statements in it."""
PLAIN = (
    *("include", "define", "listen", "backend", "forward", "balance", "persist", "quorum"),
    *("hairpin", "on-down", "when-all-down", "slow-start", "count", "on-change"),
)


class Node(NamedTuple):
    """A part of a statement: a rule of the grammar, or a terminal (then without children)."""

    rule: str
    first: int
    last: int
    """Tokens, both included, counted from the statement's first."""
    children: tuple[Node, ...]


class Shape:
    """The tree that all statements with the same kinds of tokens share."""

    __slots__ = ("node", "plan")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.plan: Any = None
        """What a reader worked out from the tree once and for all."""


class Statement(NamedTuple):
    source: Source
    base: int
    """Number of the statement's first token in its source."""
    shape: Shape
    body: list[Statement] | None
    """The statements of its block."""

    @property
    def rule(self) -> str:
        return self.shape.node.rule

    def text(self, node: Node) -> str:
        """The token of a terminal."""
        return self.source.tokens[self.base + node.first]

    def place(self, node: Node | None = None) -> Place:
        """Where a part of it is; without one, all of it up to its block."""
        node = node or self.shape.node
        return Place(self.source, self.base + node.first, self.base + node.last)


class Failure(NamedTuple):
    """A shape that is none: at which token, and which terminals could have stood there."""

    at: int
    expected: frozenset[str]


class _Shapes:
    """Shapes and failures by rule and kinds."""

    def __init__(self, words: Lexicon) -> None:
        self.words = words
        self.known: dict[str, dict[str, Shape | Failure]] = {
            rule: {} for rule in ("file_statement", *BLOCKS.values())
        }

    def make(self, rule: str, kinds: str) -> Shape | Failure:
        from lark import Token
        from lark.exceptions import UnexpectedToken

        parser = self.words.lark.parse_interactive(start=rule)
        at, last = 0, 0
        try:
            for at, kind in enumerate(kinds):
                if kind != "\n":  # only within a list's braces
                    token = Token(self.words.terminal[kind], kind, start_pos=at)
                    parser.feed_token(token)
                    last = at
            at = len(kinds)
            tree = parser.feed_eof()
        except UnexpectedToken:
            shape: Shape | Failure = Failure(at, frozenset(parser.accepts()))
        else:
            shape = Shape(_node(tree, 0, last))
        self.known[rule][kinds] = shape
        return shape


def _node(tree: Tree[Token], first: int, last: int) -> Node:
    """A tree of Lark's as a Node; ``first`` and ``last`` for the whole of it."""
    children = tuple(
        Node(child.type, child.start_pos or 0, child.start_pos or 0, ())
        if not hasattr(child, "children")
        else _node(child, -1, -1)
        for child in tree.children
    )
    if first < 0 and children:
        first, last = children[0].first, children[-1].last
    return Node(str(tree.data), first, last, children)


@dataclass
class _Open:
    """A block whose end has not come yet."""

    opener: Place
    word: str
    rule: str
    body: list[Statement] = field(default_factory=list)


class _Parser:
    def __init__(self, words: Lexicon) -> None:
        self.words = words
        self.shapes = _Shapes(words)
        block = "".join(words.kind(word) for word in BLOCKS)
        plain = "".join(words.kind(word) for word in PLAIN)
        # A newline in a list that is followed by a statement's keyword means that the list's end
        # was forgotten.
        listed = rf"\{{(?:[^{{}};\n]|\n(?![{block}{plain}]))*\}}"
        rest = r"[^\n;{}]*"
        self._step = re.compile(
            rf"(?P<end>[\n;]+)"
            rf"|(?P<open>[{block}]{rest}\{{)"
            rf"|(?P<plain>[^\n;{{}}]{rest}(?:{listed}{rest})*(?=[\n;}}]|\Z))"
            rf"|(?P<close>\}})"
            rf"|(?P<other>{rest}\{{)"
        )
        self._plain = frozenset(plain)
        self._top = frozenset(words.kind(word) for word in ("farm", "defaults"))

    def parse(self, source: Source) -> tuple[list[Statement], list[Diagnostic]]:
        tokens = source.tokens
        kinds = self.words.kinds(tokens)
        diagnostics: list[Diagnostic] = []
        top: list[Statement] = []
        stack: list[_Open] = []
        rule, body = "file_statement", top
        known = self.shapes.known
        step = self._step.match
        at, size = 0, len(kinds)
        while at < size:
            match = step(kinds, at)
            assert match is not None
            group, end = match.lastgroup, match.end()
            if group == "plain":
                shape = known[rule].get(kinds[at:end]) or self.shapes.make(rule, kinds[at:end])
                if isinstance(shape, Shape):
                    body.append(Statement(source, at, shape, None))
                else:
                    diagnostics.append(self._failure(source, at, kinds[at:end], rule, shape))
                    if stack and tokens[end - 1][0] == '"' and tokens[end - 1].endswith("}"):
                        group = "close"  # the block's end went into a string without an end
                        stack.pop()
            elif group == "close":
                if stack:
                    stack.pop()
                    end = self._after_block(source, kinds, end, diagnostics)
                else:
                    place = Place(source, at, at)
                    diagnostics.append(error("this } closes nothing", place))
            elif group != "end":
                if kinds[at] in self._top and stack:
                    diagnostics.append(_unclosed(stack[-1], Place(source, at, at)))
                    stack.clear()
                    rule, body = "file_statement", top
                if group == "other" and kinds[at] in self._plain:
                    brace = Place(source, end - 1, end - 1)
                    diagnostics.append(
                        error("this list is never closed", brace, "a list reads { a, b, c }")
                    )
                    end = _next_line(kinds, end)
                else:
                    statement = self._opened(source, at, end, kinds, rule, diagnostics)
                    inner = BLOCKS.get(
                        tokens[at], "farm_statement" if rule == "file_statement" else "check_option"
                    )
                    opener = _Open(Place(source, at, max(at, end - 2)), tokens[at], inner)
                    if statement is not None:
                        assert statement.body is not None
                        opener.body = statement.body
                        body.append(statement)
                    stack.append(opener)
            if group != "plain" and group != "end":
                rule = stack[-1].rule if stack else "file_statement"
                body = stack[-1].body if stack else top
            at = end
        if stack:
            diagnostics.append(_unclosed(stack[-1], None))
        return top, diagnostics

    def _opened(
        self,
        source: Source,
        at: int,
        end: int,
        kinds: str,
        rule: str,
        diagnostics: list[Diagnostic],
    ) -> Statement | None:
        """The statement whose block begins at ``end - 1``, parsed as if the block were empty."""
        emptied = kinds[at:end] + "}"
        shape = self.shapes.known[rule].get(emptied) or self.shapes.make(rule, emptied)
        if isinstance(shape, Shape):
            return Statement(source, at, shape, [])
        diagnostics.append(self._failure(source, at, emptied, rule, shape))
        return None

    def _after_block(
        self, source: Source, kinds: str, at: int, diagnostics: list[Diagnostic]
    ) -> int:
        """Where to go on after a block; nothing else may stand behind its end on the line."""
        if at < len(kinds) and kinds[at] not in "\n;}":
            message = "a new statement begins on a line of its own"
            diagnostics.append(error(message, Place(source, at, at), "or put a ; before it"))
        return at

    def _failure(
        self, source: Source, base: int, kinds: str, rule: str, failure: Failure
    ) -> Diagnostic:
        return syntax_errors.explain(
            self.words, source, base, kinds, rule, failure.at, failure.expected
        )


def _unclosed(opened: _Open, before: Place | None) -> Diagnostic:
    also = Also("the next one begins here", before) if before else None
    message = f"the block of this {opened.word} is never closed"
    return error(message, opened.opener, "a } is missing", also)


def _next_line(kinds: str, at: int) -> int:
    line = kinds.find("\n", at)
    return len(kinds) if line < 0 else line


_parser: _Parser | None = None


def parse(source: Source) -> tuple[list[Statement], list[Diagnostic]]:
    """The statements of a source, and its mistakes of syntax.

    Takes time linear in the number of tokens; the shapes that were met are kept for the next one.
    """
    global _parser
    if _parser is None:
        _parser = _Parser(lexicon())
    return _parser.parse(source)
