"""The stream of tokens that a JSON document becomes.

A parser reads it as it reads a file's; then nothing but tokens matters, and for each it is
known what part of the document it comes from. With comments in it, and with long lists in
braces, it is laid out as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nftlbc.language.json_form.notes import Notes
from nftlbc.language.json_form.scalars import bare
from nftlbc.language.json_form.structure import Path

Chain = tuple[Any, ...]
"""A path as it is put together: the chain above, and one step; () is the document."""

_LONGEST_BARE = 60
"""Characters of a list's values that are written without braces."""


def path_of(chain: Chain) -> Path:
    found: list[str | int] = []
    while chain:
        chain, step = chain
        found.append(step)
    return tuple(reversed(found))


def each_of(value: Any, chain: Chain) -> Iterator[tuple[Any, Chain]]:
    """The values of a list with their chains, or the one value that stands for a list."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield each, (chain, number)
    else:
        yield value, chain


class Tokens:
    """The tokens so far, and the part of the document for each.

    ``bad`` are the parts that are no statements. Without ``notes`` there are no comments.
    """

    def __init__(self, bad: frozenset[Path], notes: Notes | None = None) -> None:
        self.bad = bad
        self.notes = notes
        self.tokens: list[str] = []
        self.chains: list[Chain] = []

    def is_bad(self, chain: Chain) -> bool:
        return bool(self.bad) and path_of(chain) in self.bad

    def put(self, chain: Chain, *tokens: str) -> None:
        for token in tokens:
            self.tokens.append(token)
            self.chains.append(chain)

    # Statements

    def begin(self, chain: Chain) -> None:
        """A statement begins here."""
        if self.notes is not None:
            self.comments(chain, "above")

    def end(self, chain: Chain) -> None:
        """The line of a statement, of a block's header or of a value ends here."""
        if self.notes is not None:
            self.behind(chain, self.taken(chain, "beside"))
        self.put(chain, "\n")

    def block(self, chain: Chain, write: Callable[[], None]) -> None:
        """The block behind a statement's header, and its end."""
        self.put(chain, "{")
        self.end(chain)
        write()
        self.comments(chain, "end")
        self.put(chain, "}")
        self.behind(chain, self.taken(chain, "after"))
        self.put(chain, "\n")

    def mistake(self, chain: Chain, *words: str) -> None:
        """What stands for a statement that is none: no statement reads like this."""
        self.put(chain, *map(bare, words), ",", "\n")

    # Lists

    def values(self, value: Any, chain: Chain) -> None:
        """A list that may stand in braces or not."""
        if self.notes is not None:
            tokens = [bare(each) for each, _ in each_of(value, chain)]
            beside = self.taken(chain, "beside") if isinstance(value, list) else []
            if beside or self.has_comments(value, chain) or sum(map(len, tokens)) > _LONGEST_BARE:
                self.braced(value, chain, tokens, beside)
                return
        self.unbraced(value, chain)

    def unbraced(self, value: Any, chain: Chain) -> None:
        for number, (each, at) in enumerate(each_of(value, chain)):
            if number:
                self.put(chain, ",")
            self.put(at, bare(each))

    def braced(self, value: Any, chain: Chain, tokens: list[str], beside: list[str]) -> None:
        """A list with the comments in it; ``beside`` are those of its opening brace."""
        self.put(chain, "{")
        self.behind(chain, beside)
        self.put(chain, "\n")
        for token, (_, at) in zip(tokens, each_of(value, chain), strict=True):
            if at is chain:
                self.put(chain, token)
                continue
            self.comments(at, "above")
            self.put(at, token, ",")
            self.end(at)
        if isinstance(value, list):
            self.comments(chain, "end")
        self.put(chain, "}")

    def has_comments(self, value: Any, chain: Chain) -> bool:
        """Whether there are comments in this list."""
        if not isinstance(value, list):
            return False
        found = bool(self.taken(chain, "end"))
        for _, at in each_of(value, chain):
            # Each is asked for, even when it is clear already: a place is known by that.
            above, beside = self.taken(at, "above"), self.taken(at, "beside")
            found = found or bool(above or beside)
        return found

    # Comments

    def comments(self, chain: Chain, place: str) -> None:
        for comment in self.taken(chain, place):
            self.put(chain, comment, "\n")

    def behind(self, chain: Chain, comments: Sequence[str]) -> None:
        """Comments behind something on its line; the second and further ones have lines."""
        for number, comment in enumerate(comments):
            self.put(chain, *("\n" for _ in range(min(number, 1))), comment)

    def taken(self, chain: Chain, place: str) -> list[str]:
        return [] if self.notes is None else self.notes.take(path_of(chain), place)
