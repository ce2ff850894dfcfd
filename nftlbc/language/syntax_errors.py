"""A mistake of syntax in words: what was found, what could have stood there, what was meant."""

from __future__ import annotations

from nftlbc.diagnostics import Diagnostic, error, in_words, near
from nftlbc.language.forms import BALANCE_FORMS, ELSEWHERE, FORMS
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
_NOT_YET = ("direct", "stateless", "tunnel")
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
_SIGNS = {"COMMA": "','", "EQUAL": "'='", "LBRACE": "'{'", "RBRACE": "'}'"}
# The keyword that was probably forgotten before a value.
_FORGOTTEN = {"INT": "port", "DURATION": "for", "IPV4": "to", "IPV6": "to"}
_NAMES = "names are a letter, then letters, digits, - and _"


def explain(
    words: Lexicon, source: Source, base: int, kinds: str, rule: str, failure: Failure
) -> Diagnostic:
    """The mistake in a statement that begins at ``base`` and has these kinds of tokens."""
    at, expected = failure.at, failure.expected
    place = Place(source, base + at, base + at)
    ended = at >= len(kinds)
    kind = "END" if ended else words.terminal[kinds[at]]
    if kind == "UNCLOSED":
        return error("this string is never closed", place, 'a string ends with " on its line')
    token = "\n" if ended else source.tokens[base + at]
    keywords = [word for word, name in words.keywords.items() if name in expected]
    if at == 0:
        return _unknown_statement(words, token, place, rule, keywords)
    if rule != "check_option":
        for number, each in enumerate(kinds[:at]):
            if words.terminal[each] == "WORD":
                return _no_value(source, base, number)
    if "NAME" in expected:
        keywords = []  # all of them may be names
    tokens = [each for each in source.tokens[base : base + at] if each != "\n"]
    wanted = _wanted(failure, [each for each in keywords if each not in _NOT_YET], tokens, rule)
    found = "the end of the line" if ended else f"{token!r}"
    return error(
        f"expected {wanted}, found {found}", place, _help(failure, keywords, tokens, token, kind)
    )


def _unknown_statement(
    words: Lexicon, token: str, place: Place, rule: str, keywords: list[str]
) -> Diagnostic:
    scope = _SCOPES[rule]
    message = f"{token!r} is no statement of {scope}"
    if rule == "check_option":
        return error(
            f"{token!r} is no option of a check", place, "options read: NAME VALUE, as in: fall 3"
        )
    meant = near(token, keywords) or ELSEWHERE.get(token)
    if meant in keywords:
        return error(message, place, f"did you mean {meant!r}?")
    meant = token if token in words.keywords else near(token, words.keywords)
    if meant:
        for form in FORMS.values():
            if meant in form.replace("[", " ").replace("]", " ").split():
                return error(message, place, f"{meant} belongs to: {form}")
    return error(message, place, f"{scope} has {in_words(keywords)}")


def _no_value(source: Source, base: int, number: int) -> Diagnostic:
    """A word before the one that the grammar stopped at is nothing at all."""
    from nftlbc.language.hosts import address
    from nftlbc.language.values import Context, Item

    tokens = [each for each in source.tokens[base : base + number] if each != "\n"]
    place = Place(source, base + number, base + number)
    word, wanted = source.tokens[base + number], _value(tokens)
    if wanted == "an address":
        context = Context()
        address(context, Item("WORD", word, place), wanted)
        return context.diagnostics[0]
    return error(f"{word!r} is not {wanted}", place)


def _help(
    failure: Failure, keywords: list[str], tokens: list[str], token: str, kind: str
) -> str | None:
    """What was meant, or how the statement reads."""
    expected, first = failure.expected, tokens[0]
    if kind != "END":
        found = _meant(failure, keywords, tokens, token, kind)
        if found:
            return found
    if token == "{" and not expected & {"LBRACE", "EQUAL"} and first not in BLOCKS:
        return f"{first} has no block: only farm, defaults and check have one"
    if first == "balance" and len(tokens) > 1:
        form = BALANCE_FORMS.get(tokens[1], f"balance {tokens[1]}, with nothing behind it")
    else:
        form = FORMS.get(first, "options read: NAME VALUE, as in: fall 3")
    return f"it reads: {form}"


def _meant(
    failure: Failure, keywords: list[str], tokens: list[str], token: str, kind: str
) -> str | None:
    """What the word that was found was probably meant to be."""
    expected, first = failure.expected, tokens[0]
    known = [*keywords, *(_KEYS if "KEY" in expected and "NAME" not in expected else ())]
    meant = near(token.strip('"'), known)
    if meant:
        return f"did you mean {meant!r}?"
    if failure.comma:
        return f"the values of a list are separated by commas: {tokens[-1]}, {token}"
    if token == "=" and first != "define":
        return "take the = away"
    if _FORGOTTEN.get(kind) in keywords:
        return f"write {_FORGOTTEN[kind]} {token}"
    if expected == {"STRING"}:
        return f'write {first} "{token}"'
    if first == "define" and len(tokens) == 1 and token.startswith("$"):
        return f"write define {token[1:]} = ...: the $ is for where it is used"
    if kind == "WORD" and "NAME" in expected and len(tokens) == 1 and first in FORMS:
        return _NAMES
    if kind == "STRING" and expected & {"INT", "KEY", "NAME"}:
        return "write it without the quotes"
    if kind == "NAME" and expected >= _VALUES:
        wanted = _value(tokens)
        if wanted == "an address":
            return "names are not looked up: write the address"
        if wanted == "a port":
            return "names of services are not looked up: write the number"
    return None


def _wanted(failure: Failure, keywords: list[str], tokens: list[str], rule: str) -> str:
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
        wanted.append('a "file"' if tokens[0] == "include" else 'a "string"')
    # Signs are worth a word where they were probably forgotten, or where nothing else will do.
    if failure.comma or ("COMMA" in expected and not wanted):
        wanted.append(_SIGNS["COMMA"])
    if "LBRACE" in expected and not wanted:
        wanted.append(_SIGNS["LBRACE"])
    wanted += [_SIGNS[name] for name in ("EQUAL", "RBRACE") if name in expected]
    if expected & {"END", "$END"}:
        wanted.append("the end of the line")
    return in_words(wanted)


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
