"""Characters that nobody sees and that mean nothing: each is a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from nftlbc.diagnostics import error
from nftlbc.language.values import Context
from nftlbc.source import TOKEN, TextSource

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BLANK = re.compile("[\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]")
"""Blanks that are none, and characters of no width; in comments and strings they are welcome."""
_MOST = 20
"""Of one file that are told one by one."""


def check(context: Context, source: TextSource) -> None:
    """Tell the control characters of a text, and the blanks that are none."""
    found = list(islice(_controls(source.text), _MOST))
    if _BLANK.search(source.text):
        found += islice(_blanks(source.text), _MOST)
    for offset, message, help in found:
        location = source.locate_offset(offset)
        context.diagnostics.append(error(message, location, help))
        context.unseen.add((location.name, location.line))


def _controls(text: str) -> Iterator[tuple[int, str, str]]:
    for match in _CONTROL.finditer(text):
        yield match.start(), f"a control character (0x{ord(match.group()):02x})", "take it away"


def _blanks(text: str) -> Iterator[tuple[int, str, str]]:
    for token in TOKEN.finditer(text):
        if token.group(1)[0] != '"':
            for match in _BLANK.finditer(token.group(1)):
                message = f"an invisible character (U+{ord(match.group()):04X})"
                yield token.start(1) + match.start(), message, "write an ordinary blank, or nothing"
