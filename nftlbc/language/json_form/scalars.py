"""Single values: from the JSON document to a token of the language, and back.

What stands in a farms file as it is (addresses, numbers, times, words, references) is a JSON
string, or a JSON number where it is one. What stands there in quotes is a JSON string too;
in the few places where both may stand, a text may be put as ``{"text": ...}``.
"""

from __future__ import annotations

import re
from typing import Any

from nftlbc.language.lexicon import lexicon
from nftlbc.language.values import quoted

_SIGNS = frozenset("\n;{},=")
_NO_BEGINNINGS = ("", '"')
_REFERENCE = re.compile(r"\$[A-Za-z][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
_NOT_PLAIN = frozenset({"WORD", "UNCLOSED", "STRING"})


def bare(value: Any) -> str:
    """The one token of a string or number; never a sign, a quoted string or nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return repr(text) if text in _SIGNS or text[:1] in _NO_BEGINNINGS else text


def bare_value(token: str) -> str | int:
    """What ``bare`` makes this token of."""
    return int(token) if _NUMBER.fullmatch(token) else token


def text_token(text: str) -> str:
    """The quoted string of a text, or a reference where it reads ``$NAME``.

    A text that begins with ``$$`` stands for the one with a ``$`` less, which is no reference.
    """
    if text.startswith("$$"):
        return quoted(text[1:])
    return text if _REFERENCE.fullmatch(text) else quoted(text)


def text_value(text: str) -> str:
    """What ``text_token`` makes the quoted string of this text of."""
    return f"${text}" if text.startswith("$$") or _REFERENCE.fullmatch(text) else text


def _is_plain(text: str) -> bool:
    words = lexicon()
    return text not in _SIGNS and words.terminal[words[text]] not in _NOT_PLAIN


def define_token(value: Any) -> str:
    """The token of a value of a define: quoted if it looks like nothing of the language."""
    if isinstance(value, dict):
        return quoted(value["text"])
    if isinstance(value, str) and not _is_plain(value):
        return quoted(value)
    return bare(value)


def define_text(text: str) -> str | dict[str, str]:
    """What ``define_token`` makes the quoted string of this text of."""
    return {"text": text} if _is_plain(text) else text
