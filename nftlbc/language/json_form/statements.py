"""The statements of a JSON document, as tokens: what each member says in the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nftlbc.language import check
from nftlbc.language.fmt import WIDTH, listed
from nftlbc.language.json_form.scalars import bare, define_token, text_token
from nftlbc.language.json_form.tokens import Chain, Tokens, each_of
from nftlbc.language.values import quoted

Write = Callable[[Tokens, Any, Chain], None]


def write(tokens: Tokens, document: Mapping[str, Any]) -> None:
    """All statements of a document that has the structure of a farms file.

    A part that has not (``tokens.bad``) becomes a statement that is none, so that the parser
    knows as much of what is missing as it does in the other form.
    """
    tokens.comments((), "above")
    for member, value in document.items():
        chain = ((), member)
        tokens.put((), "\n")
        if tokens.is_bad(chain):
            tokens.mistake(chain, member)
        elif member in _FILE:
            _FILE[member](tokens, value, chain)
    tokens.put((), "\n")
    tokens.comments((), "end")


# The statements of a file


def _includes(tokens: Tokens, value: Any, chain: Chain) -> None:
    for each, at in each_of(value, chain):
        tokens.begin(at)
        tokens.put(at, "include", quoted(each))
        tokens.end(at)


def _defines(tokens: Tokens, value: Mapping[str, Any], chain: Chain) -> None:
    for name, each in value.items():
        at = (chain, name)
        if tokens.is_bad(at):
            tokens.mistake(at, "define", bare(name))
        else:
            tokens.begin(at)
            _define(tokens, name, each, at)


def _define(tokens: Tokens, name: str, value: Any, chain: Chain) -> None:
    texts = [define_token(each) for each, _ in each_of(value, chain)]
    several = len(texts) > 1
    tokens.put(chain, "define", bare(name), "=")
    beside, after = tokens.taken(chain, "beside"), tokens.taken(chain, "after")
    wide = several and len(f"define {name} = {listed(texts)}") > WIDTH
    if tokens.has_comments(value, chain) or (beside and after) or wide:
        # It will stand over lines, where the two are different places.
        tokens.braced(value, chain, texts, beside)
        beside = []
    elif several:
        tokens.braced(value, chain, texts, [])
    else:
        tokens.put(chain, *texts)
    tokens.behind(chain, [*beside, *after])
    tokens.put(chain, "\n")


def _defaults(tokens: Tokens, value: Mapping[str, Any], chain: Chain) -> None:
    tokens.begin(chain)
    tokens.put(chain, "defaults")
    tokens.block(chain, lambda: _body(tokens, value, chain))


def _farms(tokens: Tokens, value: list[Any], chain: Chain) -> None:
    for number, each in enumerate(value):
        _farm(tokens, each, (chain, number))


def _farm(tokens: Tokens, value: Any, chain: Chain) -> None:
    if not isinstance(value, dict):
        tokens.mistake(chain, "farm")
        return
    tokens.begin(chain)
    tokens.put(chain, "farm")
    if not tokens.is_bad(chain):
        tokens.put((chain, "name"), bare(value["name"]))
    # Without a name it is no statement, but what is in it is read.
    tokens.block(chain, lambda: _body(tokens, value, chain))


def _body(tokens: Tokens, members: Mapping[str, Any], chain: Chain) -> None:
    for member, value in members.items():
        at = (chain, member)
        if tokens.is_bad(at):
            tokens.mistake(at, _KEYWORDS.get(member, member))
        elif member in _SETTINGS:
            tokens.begin(at)
            _SETTINGS[member](tokens, value, at)
            tokens.end(at)
        elif member in _SEVERAL:
            for each, each_at in each_of(value, at):
                if tokens.is_bad(each_at):
                    tokens.mistake(each_at, _KEYWORDS.get(member, member))
                else:
                    tokens.begin(each_at)
                    _SEVERAL[member](tokens, each, each_at)


# The statements of a farm, without their beginning


def _listen(tokens: Tokens, value: Mapping[str, Any], chain: Chain) -> None:
    tokens.put(chain, "listen")
    tokens.values(value["address"], (chain, "address"))
    tokens.values(value["protocol"], (chain, "protocol"))
    tokens.put(chain, "port")
    tokens.values(value["port"], (chain, "port"))
    if "to" in value:
        tokens.put(chain, "to")
        tokens.put((chain, "to"), bare(value["to"]))
    tokens.end(chain)


def _backend(tokens: Tokens, value: Mapping[str, Any], chain: Chain) -> None:
    tokens.put(chain, "backend")
    tokens.put((chain, "name"), bare(value["name"]))
    tokens.put((chain, "address"), bare(value["address"]))
    for option in value:
        if option in ("port", "weight", "state"):
            tokens.put((chain, option), option, bare(value[option]))
        elif option == "backup":
            tokens.put((chain, option), option)
    tokens.end(chain)


def _check(tokens: Tokens, value: Mapping[str, Any], chain: Chain) -> None:
    tokens.put(chain, "check")
    tokens.put((chain, "kind"), bare(value["kind"]))
    options = {**check.COMMON, **check.KINDS.get(value["kind"], {})}
    given = [name for name in value if name in options]
    if given or tokens.taken(chain, "end") or tokens.taken(chain, "after"):
        tokens.block(chain, lambda: _options(tokens, value, given, options, chain))
    else:
        tokens.end(chain)


def _options(
    tokens: Tokens,
    value: Mapping[str, Any],
    given: list[str],
    options: Mapping[str, check.Option],
    chain: Chain,
) -> None:
    for name in given:
        at = (chain, name)
        several = each_of(value[name], at) if options[name].many else [(value[name], at)]
        for each, each_at in several:
            tokens.begin(each_at)
            tokens.put(each_at, name)
            _ARGUMENTS.get(options[name].form, _value)(tokens, each, each_at)
            tokens.end(each_at)


def _forward(tokens: Tokens, value: Any, chain: Chain) -> None:
    tokens.put(chain, "forward")
    if isinstance(value, dict):
        tokens.put(chain, "snat", "to")
        tokens.values(value["snat"], (chain, "snat"))
    else:
        tokens.put(chain, bare(value))


def _balance(tokens: Tokens, value: Any, chain: Chain) -> None:
    tokens.put(chain, "balance")
    if not isinstance(value, dict):
        tokens.put(chain, bare(value))
        return
    for scheduler in ("hash", "consistent"):
        if scheduler in value:
            tokens.put(chain, scheduler)
            tokens.values(value[scheduler], (chain, scheduler))
    if "slots" in value:
        tokens.put((chain, "slots"), "slots", bare(value["slots"]))


def _persist(tokens: Tokens, value: Mapping[str, Any], chain: Chain) -> None:
    tokens.put(chain, "persist")
    tokens.values(value["keys"], (chain, "keys"))
    for option in value:
        if option in ("for", "size"):
            tokens.put((chain, option), option, bare(value[option]))


def _on_change(tokens: Tokens, value: Any, chain: Chain) -> None:
    tokens.put(chain, "on-change", "exec")
    _texts(tokens, value, chain)


def _keyword_and_value(tokens: Tokens, value: Any, chain: Chain) -> None:
    tokens.put(chain, chain[1], bare(value))


def _keyword(tokens: Tokens, value: Any, chain: Chain) -> None:
    tokens.put(chain, chain[1])


_FILE: Mapping[str, Write] = {
    "include": _includes,
    "define": _defines,
    "defaults": _defaults,
    "farms": _farms,
}
_SEVERAL: Mapping[str, Write] = {"listen": _listen, "backends": _backend, "check": _check}
_KEYWORDS: Mapping[str, str] = {"backends": "backend"}
"""Of members that are called otherwise."""
_SETTINGS: Mapping[str, Write] = {
    "forward": _forward,
    "balance": _balance,
    "persist": _persist,
    "quorum": _keyword_and_value,
    "hairpin": _keyword,
    "on-down": _keyword_and_value,
    "when-all-down": _keyword_and_value,
    "slow-start": _keyword_and_value,
    "count": _keyword_and_value,
    "on-change": _on_change,
}


# The arguments of a check's options, by their form


def _value(tokens: Tokens, value: Any, chain: Chain) -> None:
    tokens.put(chain, bare(value))


def _texts(tokens: Tokens, value: Any, chain: Chain) -> None:
    for each, at in each_of(value, chain):
        tokens.put(at, text_token(each))


def _labelled(tokens: Tokens, value: Any, chain: Chain) -> None:
    if not isinstance(value, dict):
        tokens.put(chain, bare(value))
        return
    for label, text in value.items():
        tokens.put(chain, bare(label), text_token(text))


_ARGUMENTS: Mapping[str, Write] = {
    "flag": lambda tokens, value, chain: None,
    "text": _texts,
    "texts": _texts,
    "pair": _texts,
    "match": _labelled,
    "secret": _labelled,
    "statuses": Tokens.unbraced,
}
"""The others are one value."""
