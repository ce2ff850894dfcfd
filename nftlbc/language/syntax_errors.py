"""A mistake of syntax in words: what was found, what could have stood there, what was meant."""

from __future__ import annotations

from nftlbc.diagnostics import Diagnostic, did_you_mean, error, in_words, near
from nftlbc.language.lexicon import Lexicon
from nftlbc.language.shapes import BLOCKS, Failure
from nftlbc.source import Place, Source

_SCOPES = {
    "file_statement": "a farms file",
    "farm_statement": "a farm",
    "check_option": "a check",
}
_VALUES = frozenset({"INT", "RANGE", "DURATION", "IPV4", "IPV6", "PREFIX", "WORD"})
_KEYS = ("source-ip", "source-port", "destination-ip", "destination-port")
# What a value is, by the keyword before it.
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
    "KEY": "a key such as source-ip",
    "REFERENCE": "a $define",
    "COMMA": "','",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "EQUAL": "'='",
}
_FORMS = {
    "include": 'include "FILES"',
    "define": "define NAME = VALUE, or: define NAME = { VALUE, VALUE }",
    "defaults": "defaults { STATEMENTS }",
    "farm": "farm NAME { STATEMENTS }",
    "listen": "listen ADDRESSES tcp port PORTS [to PORT]",
    "backend": "backend NAME ADDRESS [port PORT] [weight N] [backup] [state up|drain|down]",
    "forward": "forward dnat, forward masquerade, or: forward snat to ADDRESS",
    "persist": "persist KEYS [for TIME] [size N]",
    "quorum": "quorum N",
    "hairpin": "hairpin, with nothing behind it",
    "slow-start": "slow-start TIME",
    "count": "count traffic",
    "on-change": 'on-change exec "/COMMAND" "ARGUMENT"',
    "check": "check KIND { OPTIONS }",
}
_BALANCE_FORMS = {
    "hash": "balance hash KEYS",
    "consistent": "balance consistent KEYS [slots N]",
}


def explain(
    words: Lexicon, source: Source, base: int, kinds: str, rule: str, failure: Failure
) -> Diagnostic:
    """The mistake in a statement that begins at ``base`` and has these kinds of tokens."""
    at, expected = failure.at, failure.expected
    place = Place(source, base + at, base + at)
    token = source.tokens[base + at] if at < len(kinds) else "\n"
    if at < len(kinds) and words.terminal[kinds[at]] == "UNCLOSED":
        return error("this string is never closed", place, 'a string ends with " on its line')
    ended = token in "\n;}"
    found = "the end of the line" if ended else f"{token!r}"
    keywords = [word for word, name in words.keywords.items() if name in expected]
    if at == 0:
        return _unknown_statement(words, token, place, rule, keywords)
    if "NAME" in expected:
        keywords = []  # all of them may be names
    tokens = [each for each in source.tokens[base : base + at] if each != "\n"]
    wanted = _wanted(failure, keywords, tokens, rule, ended)
    help = _help(failure, keywords, tokens, token, ended)
    return error(f"expected {wanted}, found {found}", place, help)


def _unknown_statement(
    words: Lexicon, token: str, place: Place, rule: str, keywords: list[str]
) -> Diagnostic:
    scope = _SCOPES[rule]
    if rule == "check_option":
        return error(
            f"{token!r} is no option of a check", place, "options read: NAME VALUE, as in: fall 3"
        )
    help = did_you_mean(token, keywords)
    if help is None and token in words.keywords:
        help = _owner(token)
    return error(
        f"{token!r} is no statement of {scope}",
        place,
        help or f"{scope} has {in_words(keywords)}",
    )


def _owner(keyword: str) -> str | None:
    """Where a keyword belongs that begins no statement."""
    for form in _FORMS.values():
        if keyword in form.replace("[", " ").replace("]", " ").split():
            return f"it belongs to: {form}"
    return None


def _help(
    failure: Failure, keywords: list[str], tokens: list[str], token: str, ended: bool
) -> str | None:
    """What was meant, or how the statement reads."""
    expected, first = failure.expected, tokens[0]
    if not ended:
        known = [*keywords, *(_KEYS if "KEY" in expected and "NAME" not in expected else ())]
        meant = near(token, known)
        if meant:
            return f"did you mean {meant!r}?"
    if failure.comma:
        return f"the values of a list are separated by commas: {tokens[-1]}, {token}"
    if token == "{" and not expected & {"LBRACE", "EQUAL"} and first not in BLOCKS:
        return f"{first} has no block: only farm, defaults and check have one"
    if expected == {"STRING"} and not ended:
        return f'write {first} "{token}"'
    if first == "define" and len(tokens) == 1 and token.startswith("$"):
        return f"write define {token[1:]} = ...: the $ is for where it is used"
    if tokens[0] in ("farm", "define") and len(tokens) == 1 and token[0] not in '{}=,"\n;':
        return "names are a letter, then letters, digits, - and _"
    if first == "balance" and len(tokens) > 1:
        form = _BALANCE_FORMS.get(tokens[1], f"balance {tokens[1]}, with nothing behind it")
    else:
        form = _FORMS.get(first, "")
    return f"it reads: {form}" if form else None


def _wanted(
    failure: Failure, keywords: list[str], tokens: list[str], rule: str, ended: bool
) -> str:
    """What could have stood there, the likeliest first."""
    expected = failure.expected
    wanted = []
    if "NAME" in expected:
        wanted.append(_wanted_name(tokens, rule))
    elif expected >= _VALUES:
        wanted.append(_value(tokens))
    elif "KEY" in expected:
        wanted += _KEYS
    wanted += [repr(word) for word in keywords]
    if "STRING" in expected and not wanted:
        wanted.append('a "file"' if tokens[0] == "include" else _TERMINALS["STRING"])
    # Signs are worth a word where they were probably forgotten, or where nothing else will do.
    last: list[str] = [name for name in ("EQUAL", "LBRACE", "RBRACE") if name in expected]
    if failure.comma or ("COMMA" in expected and not wanted):
        last.insert(0, "COMMA")
    if wanted and "LBRACE" in last:
        last.remove("LBRACE")
    if "REFERENCE" in expected and not wanted and not last:
        last.append("REFERENCE")
    wanted += [_TERMINALS[name] for name in last]
    if expected & {"END", "$END"} and not ended:
        wanted.append("the end of the line")
    return in_words(wanted) or "the end of the line"


def _wanted_name(tokens: list[str], rule: str) -> str:
    first = tokens[0]
    if rule == "check_option":
        return "a value"
    if first == "on-change":
        return 'a "command"' if len(tokens) == 2 else 'an "argument"'
    if first == "define" and len(tokens) > 1:
        return "a value"
    if first == "check":
        from nftlbc.language.check import KINDS

        return f"a kind of check ({in_words(list(KINDS))})"
    return "a name"


def _value(tokens: list[str]) -> str:
    """What a value is after these tokens of its statement."""
    first = tokens[0]
    if first == "forward" or (first == "backend" and len(tokens) == 2):
        return "an address"
    for token in reversed(tokens[2:] if first == "backend" else tokens):
        if token in _WANTED:
            return _WANTED[token]
    return "a value"
