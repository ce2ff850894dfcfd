"""A mistake of syntax in words: what was found, what could have stood there, what was meant."""

from __future__ import annotations

from nftlbc.diagnostics import Diagnostic, did_you_mean, error, in_words
from nftlbc.language.lexicon import Lexicon
from nftlbc.source import Place, Source

_SCOPES = {
    "file_statement": "a farms file",
    "farm_statement": "a farm",
    "check_option": "a check",
}
_VALUES = frozenset({"INT", "RANGE", "DURATION", "IPV4", "IPV6", "PREFIX", "WORD"})
# What a value is, by the word before it.
_WANTED = {
    "listen": "an address",
    "port": "a port",
    "to": "a port",
    "weight": "a weight",
    "for": "a time such as 5m",
    "size": "a number of entries",
    "slots": "a number of slots",
    "quorum": "a number of backends",
    "slow-start": "a time such as 60s",
}
_TERMINALS = {
    "STRING": 'a "string"',
    "KEY": "source-ip, source-port, destination-ip or destination-port",
    "REFERENCE": "a $define",
    "END": "the end of the line",
    "$END": "the end of the line",
    "COMMA": "','",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "EQUAL": "'='",
}


def explain(
    words: Lexicon,
    source: Source,
    base: int,
    kinds: str,
    rule: str,
    at: int,
    expected: frozenset[str],
) -> Diagnostic:
    """The mistake at token ``base + at`` of a statement that begins at ``base``."""
    for number, kind in enumerate(kinds):
        if words.terminal[kind] == "UNCLOSED":
            place = Place(source, base + number, base + number)
            return error("this string is never closed", place, 'a string ends with " on its line')
    place = Place(source, base + at, base + at)
    token = source.tokens[base + at] if base + at < len(source.tokens) else "\n"
    ended = at >= len(kinds) or token in "\n;}"
    found = "the end of the line" if ended else f"{token!r}"
    keywords = sorted(words.text[name] for name in expected if name in words.text)
    if at == 0:
        return _unknown_statement(words, token, place, rule, keywords)
    before = source.tokens[base + at - 1]
    wanted = _wanted(expected, keywords, before)
    help = None if ended else did_you_mean(token, keywords if len(keywords) < 20 else ())
    if help is None and token == "{" and "LBRACE" not in expected:
        help = "only farm, defaults and check have a block"
    return error(f"expected {wanted}, found {found}", place, help)


def _unknown_statement(
    words: Lexicon, token: str, place: Place, rule: str, keywords: list[str]
) -> Diagnostic:
    scope = _SCOPES[rule]
    statements = keywords if rule != "check_option" else []
    if rule == "file_statement" and token in words.keywords and token not in statements:
        help = f"{token} stands inside the braces of a farm: farm NAME {{ ... }}"
        return error(f"{token!r} outside of a farm", place, help)
    if rule == "farm_statement" and token in ("include", "define"):
        return error(
            f"{token!r} inside a farm", place, f"{token} stands outside of the farms' braces"
        )
    help = did_you_mean(token, statements)
    if help is None and statements:
        help = f"{scope} has {in_words(sorted(statements))}"
    return error(f"{token!r} is no statement of {scope}", place, help)


def _wanted(expected: frozenset[str], keywords: list[str], before: str) -> str:
    """What could have stood there, the likeliest first."""
    if "NAME" in expected and len(keywords) > 20:
        if "STRING" in expected:
            return "a value or the end of the line" if "$END" in expected else "a value"
        return "a name (a letter, then letters, digits, - and _)"
    wanted = []
    if _VALUES <= expected:
        wanted.append(_WANTED.get(before, "a value"))
    wanted += keywords
    ends = expected & {"END", "$END"}
    rest = expected - _VALUES - {"END", "$END"}
    if "KEY" not in rest and wanted and "REFERENCE" in rest:
        rest -= {"REFERENCE"}  # a define may stand for any value; no need to say it each time
    wanted += [_TERMINALS[name] for name in sorted(rest) if name in _TERMINALS]
    if ends:
        wanted.append(_TERMINALS["END"])
    return in_words(wanted) or "the end of the line"
