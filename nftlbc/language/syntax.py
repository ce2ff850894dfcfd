"""From the tokens of a source to its statements, and its mistakes of syntax.

A file is cut into statements by one regular expression over the kinds of its tokens; Lark's
parser judges each (see ``shapes``). A test holds this against Lark parsing whole files.
A statement is also what a mistake costs: the next one is parsed as if nothing had been
(``Recovery``), and what only follows from the mistake is not told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nftlbc.diagnostics import Diagnostic
from nftlbc.language.lexicon import Lexicon, lexicon
from nftlbc.language.recovery import Recovery
from nftlbc.language.shapes import (
    BLOCKS,
    IN_FILE,
    MISTAKE,
    PLAIN,
    TOP,
    Node,
    Shape,
    Shapes,
    Statement,
)
from nftlbc.source import Place, Source

__all__ = ["BLOCKS", "MISTAKE", "PLAIN", "Node", "Shape", "Statement", "parse"]


class Grammar:
    """What parsing needs to know of the grammar; made once."""

    def __init__(self, words: Lexicon) -> None:
        self.words = words
        self.shapes = Shapes(words, (IN_FILE, *dict.fromkeys(BLOCKS.values())))
        self.blocks = "".join(words.kind(word) for word in BLOCKS)
        self.plain = "".join(words.kind(word) for word in PLAIN)
        self.top = "".join(words.kind(word) for word in TOP)
        self.top_blocks = "".join(kind for kind in self.blocks if kind in self.top)
        self.keyword_line = re.compile(rf"\n(?=[{self.blocks}{self.plain}])")
        """The end of a line before one that begins with a statement's keyword."""
        rest = r"[^\n;{}]*"
        self.step = re.compile(
            rf"(?P<end>[\n;]+)"
            rf"|(?P<open>[{self.blocks}]{rest}\{{)"
            rf"|(?P<plain>[{self.plain}]{rest}(?:\{{[^{{}};]*\}}{rest})*(?=[\n;}}]|\Z)"
            rf"|[^\n;{{}}]{rest}(?=[\n;}}]|\Z))"
            rf"|(?P<close>\}})"
            rf"|(?P<brace>{rest}\{{)"
        )
        """What comes next: a statement, a block's beginning or end, or a brace where none should
        be. Only plain statements have lists, and those may go on over lines."""


@dataclass
class Open:
    """A block whose end has not come yet."""

    opener: Place
    word: str
    rule: str
    """Of the statements in it."""
    body: list[Statement]
    misplaced: list[Diagnostic] = field(default_factory=list)
    """About statements in it that stand outside of blocks; told when its end comes."""


class Parse:
    """One source on its way to statements."""

    def __init__(self, grammar: Grammar, source: Source) -> None:
        self.grammar = grammar
        self.source = source
        self.kinds = grammar.words.kinds(source.tokens)
        self.diagnostics: list[Diagnostic] = []
        self.top: list[Statement] = []
        self.stack: list[Open] = []
        self.rule = IN_FILE
        self.body = self.top
        self.recovery = Recovery(self)

    def run(self) -> None:
        source, kinds, shapes = self.source, self.kinds, self.grammar.shapes
        step, known = self.grammar.step.match, shapes.known
        at, size = 0, len(kinds)
        while at < size:
            match = step(kinds, at)
            assert match is not None
            group, end = match.lastgroup, match.end()
            if group == "end":
                pass
            elif not self.rule:
                end = self.recovery.skip(group, at, end)
            elif group == "plain":
                shape = known[self.rule].get(kinds[at:end]) or shapes.get(self.rule, kinds[at:end])
                if isinstance(shape, Shape):
                    self.body.append(Statement(source, at, shape, None))
                else:
                    end = self.recovery.no_statement(at, end, shape)
            elif group == "open":
                self.open(at, end)
            elif group == "close":
                self.close(at)
            else:
                end = self.recovery.strange_brace(at, end)
            at = end
        if self.stack:
            self.recovery.unclosed(None)

    def open(self, at: int, end: int) -> None:
        """Begin a block: its header is all up to the ``{`` at ``end - 1``."""
        if self.stack and self.kinds[at] in self.grammar.top_blocks:
            self.recovery.unclosed(self.place(at))
        # The header is parsed as if its block were empty.
        shape = self.grammar.shapes.get(self.rule, self.kinds[at:end] + "}")
        if isinstance(shape, Shape):
            statement = Statement(self.source, at, shape, [])
            self.body.append(statement)
        else:
            statement = self.recovery.no_header(at, end, shape)
        if self.kinds[at] in self.grammar.top_blocks:
            self.recovery.stray = False
        self.push(at, end - 1, BLOCKS[self.source.tokens[at]], statement.body)

    def close(self, at: int) -> None:
        if not self.stack:
            self.recovery.closes_nothing(at)
            return
        self.diagnostics += self.stack.pop().misplaced
        self.enter()
        if self.kinds[at + 1 : at + 2] not in ("", "\n", ";", "}"):
            self.recovery.behind_block(at + 1)

    def push(self, at: int, brace: int, rule: str, body: list[Statement] | None) -> None:
        """Go into a block whose header is the tokens from ``at`` up to ``brace``."""
        opener = self.place(at, max(at, brace - 1))
        self.stack.append(Open(opener, self.source.tokens[at], rule, [] if body is None else body))
        self.enter()

    def enter(self) -> None:
        """Go on in what is the innermost block now."""
        if self.stack:
            self.rule, self.body = self.stack[-1].rule, self.stack[-1].body
        else:
            self.rule, self.body = IN_FILE, self.top

    def place(self, first: int, last: int | None = None) -> Place:
        return Place(self.source, first, first if last is None else last)


_grammar: Grammar | None = None


def parse(source: Source) -> tuple[list[Statement], list[Diagnostic]]:
    """The statements of a source, and its mistakes of syntax.

    A statement that is none is there too, with the rule ``MISTAKE``: what it would have said is
    not known. Takes time linear in the number of tokens; the shapes that were met are kept for
    the next source.
    """
    global _grammar
    if _grammar is None:
        _grammar = Grammar(lexicon())
    run = Parse(_grammar, source)
    run.run()
    return run.top, run.diagnostics
