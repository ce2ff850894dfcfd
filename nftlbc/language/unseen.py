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
"""Lines of one file that are told."""


def check(context: Context, source: TextSource) -> None:
    """Tell the control characters of a text, and the blanks that are none, the first of a line."""
    for offset, message, help in islice(_controls(source.text), _MOST):
        _tell(context, source, offset, message, help)
    if _BLANK.search(source.text):
        for offset, message, help in islice(_blanks(source.text), _MOST):
            _tell(context, source, offset, message, help)


def _tell(context: Context, source: TextSource, offset: int, message: str, help: str) -> None:
    location = source.locate_offset(offset)
    context.diagnostics.append(error(message, location, help))
    context.unseen.add((location.name, location.line))


def _controls(text: str) -> Iterator[tuple[int, str, str]]:
    """Offset, message and help."""
    match = _CONTROL.search(text)
    while match is not None:
        start = match.start()
        end = text.find("\n", start)
        more = len(_CONTROL.findall(text, start + 1, end))
        message = f"a control character (0x{ord(match.group()):02x})"
        help = "take it away"
        if match.group() == "\r":
            help = "lines end with a line feed, alone or behind a carriage return"
        yield start, message + (f", and {more} more in this line" if more else ""), help
        match = _CONTROL.search(text, end)


def _blanks(text: str) -> Iterator[tuple[int, str, str]]:
    """Offset, message and help."""
    line = -1
    for token in TOKEN.finditer(text):
        if token.start(1) > line and token.group(1)[0] != '"':
            match = _BLANK.search(token.group(1))
            if match is not None:
                message = f"an invisible character (U+{ord(match.group()):04X})"
                offset = token.start(1) + match.start()
                line = text.find("\n", offset)
                yield offset, message, "write an ordinary blank, or nothing"
