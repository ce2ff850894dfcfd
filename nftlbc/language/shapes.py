"""The syntax tree of a statement.

It depends on the kinds of the statement's tokens alone. So Lark's parser sees each shape of
statement once, and all others of that shape share its tree: positions in a tree are counted
from the statement's first token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nftlbc.language.lexicon import Lexicon
from nftlbc.source import Place, Source

if TYPE_CHECKING:
    from lark import Token, Tree

BLOCKS = {"farm": "farm_statement", "defaults": "farm_statement", "check": "check_option"}
"""Statements with a block, and the rule of the statements in it."""
PLAIN = (
    *("include", "define", "listen", "backend", "forward", "balance", "persist", "quorum"),
    *("hairpin", "on-down", "when-all-down", "slow-start", "count", "on-change"),
)
TOP = ("include", "define", "defaults", "farm")
"""Statements that stand outside of all blocks."""
IN_FILE = "file_statement"
IN_FARM = "farm_statement"
IN_UNKNOWN = ""
"""In a block of nobody knows what: only its end is looked for."""

MISTAKE = "mistake"
"""The rule of a statement that is none: what it says is not known, and has been told."""

_SHORT = 16
"""Failures within so many tokens are known by their beginning; most are."""


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


def mistake(source: Source, base: int, end: int, body: list[Statement] | None = None) -> Statement:
    """What stands for the tokens from ``base`` up to ``end`` where they are no statement."""
    node = Node(MISTAKE, 0, max(0, end - base - 1), ())
    return Statement(source, base, Shape(node), body)


class Failure(NamedTuple):
    """Kinds that are no statement: at which token, and what could have stood there."""

    at: int
    expected: frozenset[str]
    """Terminals of the grammar."""
    comma: bool
    """With a comma before it, the token would do."""


class Shapes:
    """Shapes and failures by rule and kinds; each is made once."""

    def __init__(self, words: Lexicon, rules: tuple[str, ...]) -> None:
        self.words = words
        self.known: dict[str, dict[str, Shape | Failure]] = {rule: {} for rule in rules}

    def get(self, rule: str, kinds: str) -> Shape | Failure:
        """The shape of a statement of these kinds, parsed by this rule."""
        known = self.known[rule]
        found = known.get(kinds)
        if found is None:
            # What fails at its first tokens fails whatever follows.
            for size in range(1, min(_SHORT, len(kinds))):
                begun = known.get(kinds[:size] + "…")
                if begun is not None:
                    return begun
            found = known[kinds] = self._make(rule, kinds)
            if isinstance(found, Failure) and found.at < min(_SHORT, len(kinds)):
                known[kinds[: found.at + 1] + "…"] = found
        return found

    def _make(self, rule: str, kinds: str) -> Shape | Failure:
        from lark import Token
        from lark.exceptions import UnexpectedToken

        parser: Any = self.words.lark.parse_interactive(start=rule)
        at, last = 0, 0
        try:
            for at, kind in enumerate(kinds):
                if kind != "\n":  # only within a list's braces
                    terminal = self.words.terminal[kind]
                    parser.feed_token(Token(terminal, kind, start_pos=at, end_pos=at))
                    last = at
            at = len(kinds)
            tree: Tree[Token] = parser.feed_eof()
        except UnexpectedToken:
            expected = frozenset(parser.accepts())
            comma = False
            if "COMMA" in expected and at < len(kinds):
                parser.feed_token(Token("COMMA", ","))
                comma = self.words.terminal[kinds[at]] in parser.accepts()
            return Failure(at, expected, comma)
        return Shape(_node(tree, 0, last))


def _node(tree: Tree[Token], first: int, last: int) -> Node:
    """A tree of Lark's as a Node from token ``first`` to ``last``."""
    children = []
    end = first
    for child in tree.children:
        meta: Any = getattr(child, "meta", child)
        # An empty block has no place of its own.
        start, end = getattr(meta, "start_pos", end), getattr(meta, "end_pos", end)
        if isinstance(child, str):
            children.append(Node(child.type, start, end, ()))
        else:
            children.append(_node(child, start, end))
    return Node(str(tree.data), first, last, tuple(children))
