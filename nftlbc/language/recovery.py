"""After a mistake of syntax: what to say, and where to go on so that no other follows from it."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING

from nftlbc.diagnostics import Also, Diagnostic, error, near
from nftlbc.language import syntax_errors
from nftlbc.language.shapes import (
    BLOCKS,
    IN_FARM,
    IN_FILE,
    IN_UNKNOWN,
    MISTAKE,
    PLAIN,
    Failure,
    Shape,
    Statement,
    mistake,
)
from nftlbc.source import Place

if TYPE_CHECKING:
    from nftlbc.language.syntax import Parse

_LISTED = re.compile(r"[^\n;{}]*\{[^{}\n]*\}[^\n;{}]*")
"""Something with a list on one line."""
_TO_BRACE = re.compile(r"[^{}]*")
_LIST_IN_LIST = re.compile(r"\{[^{};\n]*\{")
_BRACE_BELOW = re.compile(r"\n+\{")


class Recovery:
    """What a parse does where its source is wrong."""

    def __init__(self, parse: Parse) -> None:
        self.parse: Parse = weakref.proxy(parse)  # a cycle would keep all that was parsed
        self.stray = False
        """Statements of a farm stand outside of one, which has been told."""

    def _keyword_line(self, at: int, end: int) -> int:
        """The end of the line before the next that begins with a keyword; -1 if none does."""
        match = self.parse.grammar.keyword_line.search(self.parse.kinds, at, end)
        return match.start() if match else -1

    def _of_farms(self, at: int) -> bool:
        """There is a keyword of a statement that only farms have."""
        grammar, kind = self.parse.grammar, self.parse.kinds[at]
        return kind in grammar.blocks + grammar.plain and kind not in grammar.top

    def _tell(self, found: Diagnostic) -> None:
        self.parse.diagnostics.append(found)

    def _explain(self, at: int, end: int, rule: str, failure: Failure) -> None:
        parse = self.parse
        kinds = parse.kinds[at:end]
        words = parse.grammar.words
        self._tell(syntax_errors.explain(words, parse.source, at, kinds, rule, failure))

    def _mistake(self, at: int, end: int, body: list[Statement] | None = None) -> Statement:
        statement = mistake(self.parse.source, at, end, body)
        self.parse.body.append(statement)
        return statement

    def no_statement(self, at: int, end: int, failure: Failure) -> int:
        """Tokens that are no statement; gives where to go on."""
        parse, grammar, kinds = self.parse, self.parse.grammar, self.parse.kinds
        brace = kinds.find("{", at, end)
        if 0 <= brace < at + failure.at and self._keyword_line(brace, end) >= 0:
            return self._unclosed_list(at, brace)
        if kinds[at] in grammar.blocks and failure.at == end - at:
            below = _BRACE_BELOW.match(kinds, end)
            if below:
                shape = grammar.shapes.get(parse.rule, kinds[at:end] + "{}")
                if isinstance(shape, Shape):
                    statement = Statement(parse.source, at, shape, [])
                    parse.body.append(statement)
                    return self._brace_below(statement, below.end() - 1)
        if parse.rule == IN_FILE and self._of_farms(at):
            self._outside(at)
            meant = grammar.shapes.get(IN_FARM, kinds[at:end])
            if isinstance(meant, Failure):
                self._explain(at, end, IN_FARM, meant)
            return end
        if parse.rule == IN_FARM and kinds[at] in grammar.top:
            self._inside(at, end)
            return end
        self._explain(at, end, parse.rule, failure)
        self._mistake(at, end)
        last = parse.source.tokens[end - 1]
        if parse.stack and last[0] == '"' and last.endswith("}") and kinds[end : end + 1] == "\n":
            parse.diagnostics += parse.stack.pop().misplaced  # its end is in an unclosed string
            parse.enter()
        return end

    def no_header(self, at: int, end: int, failure: Failure) -> Statement:
        """The header of a block is wrong; the block itself is read nevertheless."""
        if self.parse.rule == IN_FILE and self._of_farms(at):
            self._outside(at)
        else:
            self._explain(at, end, self.parse.rule, failure)
        return self._mistake(at, end, [])

    def unclosed(self, before: Place | None) -> None:
        """The innermost block is never closed: all end here."""
        stack = self.parse.stack
        opened = stack[-1]
        if opened.misplaced:
            # They are not in the wrong place, the block's end is missing before them.
            place = opened.misplaced[0].place
            before = place if isinstance(place, Place) else before
        also = Also("it is still open here", before) if before else None
        message = f"the block of this {opened.word} is never closed"
        self._tell(error(message, opened.opener, "a } is missing", also))
        for each in stack:
            each.body.append(mistake(self.parse.source, each.opener.first, each.opener.last + 1))
        stack.clear()
        self.parse.enter()

    def closes_nothing(self, at: int) -> None:
        if not self.stray:
            self._tell(error("this } closes nothing", self.parse.place(at)))
        self.stray = False

    def behind_block(self, at: int) -> None:
        message = "a new statement begins on a line of its own"
        self._tell(error(message, self.parse.place(at), "or put a ; before it"))

    def skip(self, group: str | None, at: int, end: int) -> int:
        """In a block that nobody knows: only its end is looked for, or the next farm."""
        parse = self.parse
        if group == "open" and parse.kinds[at] in parse.grammar.top_blocks:
            parse.open(at, end)
        elif group in ("open", "brace"):
            parse.push(at, end - 1, IN_UNKNOWN, None)
        elif group == "close":
            parse.close(at)
        return end

    def strange_brace(self, at: int, end: int) -> int:
        """A ``{`` where none should be, or behind an unknown word; gives where to go on."""
        parse, grammar, kinds = self.parse, self.parse.grammar, self.parse.kinds
        brace = end - 1
        if at == brace:
            return self._lone_brace(at)
        failure = grammar.shapes.get(parse.rule, kinds[at:end] + "}")
        assert isinstance(failure, Failure)
        plain = kinds[at] in grammar.plain
        if plain and failure.at > brace - at:
            return self._unclosed_list(at, brace)
        word = parse.source.tokens[at]
        meant = near(word, (*BLOCKS, *PLAIN)) if failure.at == 0 and not plain else None
        listed = None if meant in BLOCKS else _LISTED.match(kinds, at)
        if listed:
            end = listed.end()
        elif plain and kinds[end : end + 1] != "\n":
            end = self._after_list(brace)
        rule = parse.rule
        if rule == IN_FILE and self._of_farms(at):
            self._outside(at)
        elif rule == IN_FARM and kinds[at] in grammar.top:
            self._inside(at, end)
        else:
            self._explain(at, end, rule, failure)
        statement = self._mistake(at, end, [] if meant in BLOCKS else None)
        if end == brace + 1:
            parse.push(at, brace, BLOCKS.get(meant or "", IN_UNKNOWN), statement.body)
        return end

    def _lone_brace(self, brace: int) -> int:
        """A ``{`` at the beginning of a line."""
        parse = self.parse
        last = parse.body[-1] if parse.body else None
        word = last.source.tokens[last.base] if last else ""
        if last and last.body is None and word in BLOCKS:
            end = last.base + last.shape.node.last + 1
            if not parse.kinds[end:brace].strip("\n"):
                parse.body[-1] = last._replace(body=[])
                if last.rule == MISTAKE:  # its header is wrong, which has been told
                    parse.push(last.base, end, BLOCKS[word], parse.body[-1].body)
                    return brace + 1
                return self._brace_below(parse.body[-1], brace)
        self._tell(error("this { belongs to no statement", parse.place(brace)))
        parse.push(brace, brace, IN_UNKNOWN, None)
        return brace + 1

    def _brace_below(self, statement: Statement, brace: int) -> int:
        """The ``{`` of a block stands on a line below its statement."""
        parse = self.parse
        word = parse.source.tokens[statement.base]
        end = statement.base + statement.shape.node.last
        opener = parse.place(statement.base, end if parse.kinds[end] != "}" else end - 2)
        message = f"the {{ of this {word} stands on a line of its own"
        help = "a statement ends with its line: write the { at its end"
        self._tell(error(message, parse.place(brace), help, Also(f"the {word}", opener)))
        parse.push(opener.first, opener.last + 1, BLOCKS[word], statement.body)
        return brace + 1

    def _unclosed_list(self, at: int, brace: int) -> int:
        parse = self.parse
        end = self._after_list(brace)
        semicolon = parse.kinds.find(";", brace, end)
        inner = _LIST_IN_LIST.match(parse.kinds, brace)
        if inner:
            message, place = "a list inside a list", parse.place(inner.end() - 1)
        elif semicolon >= 0 and "}" in parse.kinds[semicolon:end]:
            message, place = "expected ',' or '}', found ';'", parse.place(semicolon)
        else:
            message, place = "this list is never closed", parse.place(brace)
        self._tell(error(message, place, "a list reads { a, b, c }"))
        self._mistake(at, end)
        return end

    def _after_list(self, brace: int) -> int:
        """Where to go on after a list that begins at a brace and has no proper end."""
        kinds = self.parse.kinds
        match = _TO_BRACE.match(kinds, brace + 1)
        end = match.end() if match else brace + 1
        line = self._keyword_line(brace, end)
        if line >= 0:
            return line
        if kinds[end : end + 1] == "}" and ";" in kinds[brace:end]:
            return end + 1
        line = kinds.find("\n", brace)
        return len(kinds) if line < 0 else line

    def _outside(self, at: int) -> None:
        """A statement of a farm outside of one: told once, until the next farm."""
        if self.stray:
            return
        self.stray = True
        parse = self.parse
        before = parse.top[-1] if parse.top else None
        also = None
        if before is not None and before.body is not None:
            # What stands outside may have been meant for it.
            before.body.append(mistake(parse.source, at, at + 1))
            word = before.source.tokens[before.base]
            also = Also(f"the block of this {word} has ended before", before.place())
        word = parse.source.tokens[at]
        help = f"{word} stands inside the braces of a farm: farm NAME {{ ... }}"
        self._tell(error(f"{word!r} outside of a farm", parse.place(at), help, also))

    def _inside(self, at: int, end: int) -> None:
        """A statement of the file inside a farm: told, and taken for what it says."""
        parse = self.parse
        word = parse.source.tokens[at]
        help = f"{word} stands outside of the farms' braces"
        found = error(f"{word!r} inside a farm", parse.place(at), help)
        parse.stack[-1].misplaced.append(found)
        shape = parse.grammar.shapes.get(IN_FILE, parse.kinds[at:end])
        if isinstance(shape, Shape):
            parse.top.append(Statement(parse.source, at, shape, None))
        else:
            self._explain(at, end, IN_FILE, shape)
            parse.top.append(mistake(parse.source, at, end))
