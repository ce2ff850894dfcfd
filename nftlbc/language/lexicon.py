"""The grammar, loaded once, and the kind of each word by it.

``grammar/farms.lark`` is the only definition of the language. Its terminals say what kind a
token is; one character stands for a kind, so that the kinds of a whole file are one string and
the shape of a statement is a slice of it.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

STARTS = ("file", "file_statement", "farm_statement", "check_option")
"""The rules that something is parsed as: a whole file, or one statement of a block."""

_SIGNS = {"\n": "END", ";": "END", "{": "LBRACE", "}": "RBRACE", ",": "COMMA", "=": "EQUAL"}
# A word is of the first kind that matches all of it.
_KINDS_OF_WORDS = (
    "INT",
    "IPV4",
    "KEY",
    "NAME",
    "RANGE",
    "DURATION",
    "STRING",
    "PREFIX",
    "IPV6",
    "REFERENCE",
)
_UNCLOSED = "UNCLOSED"
"""Kind of a string that its line ends before it does; no rule of the grammar takes it."""


def _grammar_text() -> str:
    return (importlib.resources.files("nftlbc") / "grammar" / "farms.lark").read_text("utf-8")


class Lexicon(dict[str, str]):
    """From a token's text to its kind, one character; filled as words are met."""

    def __init__(self) -> None:
        from lark import Lark
        from lark.lexer import Lexer, PatternStr

        class Never(Lexer):
            """Lark's lexer is not used: tokens are fed to its parser one by one."""

            def __init__(self, lexer_conf: Any) -> None:
                pass

            def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Any]:
                raise NotImplementedError

        # Not Lark's cache: it unpickles a file with a foreseeable name from the temporary folder,
        # which a program that runs as root must not do. Building takes about 60 ms.
        grammar = _grammar_text()
        self.lark: Lark = Lark(
            grammar,
            parser="lalr",
            lexer=Never,
            start=list(STARTS),
            maybe_placeholders=False,
            propagate_positions=True,
        )
        patterns = {terminal.name: terminal.pattern for terminal in self.lark.terminals}
        keywords = {
            pattern.value: name
            for name, pattern in patterns.items()
            if isinstance(pattern, PatternStr) and pattern.value[0].isalpha()
        }
        self.keywords = {
            word: keywords[word] for word in sorted(keywords, key=lambda w: grammar.index(f'"{w}"'))
        }
        """From a keyword to its terminal, in the order of the grammar's text."""
        self._word = re.compile(
            "|".join(f"(?P<{kind}>(?:{patterns[kind].value})\\Z)" for kind in _KINDS_OF_WORDS)
        )
        self.terminal: dict[str, str] = dict(_SIGNS)
        """From a kind to the name of the grammar's terminal."""
        self._kind: dict[str, str] = {}
        names = [*self.keywords.values(), *_KINDS_OF_WORDS, "WORD", _UNCLOSED]
        for number, name in enumerate(names):
            self._kind[name] = chr(0x100 + number)
            self.terminal[chr(0x100 + number)] = name
        self.text: dict[str, str] = {name: word for word, name in self.keywords.items()}
        """From a keyword's terminal to the keyword."""
        for sign in _SIGNS:
            self[sign] = sign

    def __missing__(self, token: str) -> str:
        name = self.keywords.get(token)
        if name is None:
            match = self._word.match(token)
            if match is not None and match.lastgroup is not None:
                name = match.lastgroup
            else:
                name = _UNCLOSED if token[:1] == '"' else "WORD"
        kind = self[token] = self._kind[name]
        return kind

    def kinds(self, tokens: Iterable[str]) -> str:
        """The kinds of the tokens, a character each."""
        return "".join(map(self.__getitem__, tokens))

    def kind(self, name: str) -> str:
        """The kind of a terminal or of a keyword."""
        return self._kind[self.keywords.get(name, name)]


@functools.cache
def lexicon() -> Lexicon:
    return Lexicon()
