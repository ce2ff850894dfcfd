"""The rules of a table as nft reads them.

Each way of writing here loads unchanged with nft 1.0.2 to 1.1.7 and gives the same
instructions with each of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from nftlbc.nft import words
from nftlbc.table.model import (
    NO_PRIORITY,
    AddToMark,
    Counter,
    Dnat,
    Drop,
    Field,
    Forget,
    Goto,
    Hash,
    Jump,
    Key,
    Lookup,
    Masquerade,
    MatchArrived,
    MatchDirection,
    MatchMark,
    MatchMarkIn,
    MatchNew,
    MatchNoReset,
    MatchProtocol,
    MatchSet,
    MatchTranslated,
    Reject,
    Remember,
    Rule,
    SetMark,
    SetPriority,
    Snat,
    Statement,
    VerdictMap,
)


def rule_text(rule: Rule) -> str:
    """One rule, on one line, without indentation."""
    return " ".join([_WRITERS[type(each)](each) for each in rule])


def digest(rule: Rule) -> str:
    """What stands as a comment beside a rule in the kernel: by it a rule is known again, whatever
    the version of nft that lists it. A rule without it is somebody else's.
    """
    return _digest(rule_text(rule))


def signed(rule: Rule) -> str:
    """The rule's text and its digest, as a script has them."""
    text = rule_text(rule)
    return f'{text} comment "{_digest(text)}"'


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()


def statement_text(statement: Statement) -> str:
    return _WRITERS[type(statement)](statement)


@functools.lru_cache(maxsize=4096)
def key_text(key: Key) -> str:
    """A concatenation. Masks stand in parentheses, without which 1.0.6 reads them wrongly in
    the key of an ``update``.
    """
    return " . ".join(map(_field, key))


def _field(field: Field) -> str:
    if field.prefix is None:
        return field.name
    family = 6 if field.name.startswith("ip6") else 4
    return f"({field.name} & {words.netmask(family, field.prefix)})"


def _hash(value: Hash) -> str:
    return (
        f"jhash {key_text(value.fields)} mod {value.modulus:d} "
        f"seed 0x{value.seed:x} offset {value.offset:d}"
    )


def _lookup(lookup: Lookup) -> str:
    return f"{key_text(lookup.key)} map @{words.name(lookup.map)}"


def _set_priority(statement: SetPriority) -> str:
    value = statement.value
    if isinstance(value, Hash):
        return f"meta priority set {_hash(value)}"
    return f"meta priority set {'none' if value == NO_PRIORITY else words.priority(value)}"


def _set_mark(statement: SetMark) -> str:
    value = statement.value
    if isinstance(value, Counter):
        text = f"numgen {words.name(value.kind)} mod {value.modulus:d} offset {value.offset:d}"
    elif isinstance(value, Hash):
        text = _hash(value)
    else:
        text = _lookup(value)
    return f"ct mark set {text}"


def _add_to_mark(statement: AddToMark) -> str:
    return f"ct mark set ct mark or {words.mark(statement.bits)}"


def _match_mark(statement: MatchMark) -> str:
    return f"ct mark and {words.mark(statement.mask)} == {words.mark(statement.value)}"


def _match_mark_in(statement: MatchMarkIn) -> str:
    return f"ct mark and {words.mark(statement.mask)} @{words.name(statement.set)}"


def _match_protocol(statement: MatchProtocol) -> str:
    protocols = ", ".join(map(words.name, statement.protocols))
    # An anonymous set costs every later look-up of a set by its name.
    return f"meta l4proto {{ {protocols} }}" if "," in protocols else f"meta l4proto {protocols}"


def _match_set(statement: MatchSet) -> str:
    return f"{key_text(statement.key)} @{words.name(statement.set)}"


def _verdict_map(statement: VerdictMap) -> str:
    return f"{key_text(statement.key)} vmap @{words.name(statement.map)}"


def _remember(statement: Remember) -> str:
    timeout = words.time(statement.timeout)
    key = key_text(statement.key)
    return f"update @{words.name(statement.map)} {{ {key} timeout {timeout} : ct mark }}"


def _forget(statement: Forget) -> str:
    return f"delete @{words.name(statement.map)} {{ {key_text(statement.key)} : ct mark }}"


def _mark_lookup(map: str, mask: int | None) -> str:
    masked = "" if mask is None else f" and {words.mark(mask)}"
    return f"ct mark{masked} map @{words.name(map)}"


def _dnat(statement: Dnat) -> str:
    family = "ip6" if statement.family == 6 else "ip"
    what = f"{family} addr . port" if statement.with_port else family
    port = f" : {_lookup(statement.port)}" if statement.port else ""
    return f"dnat {what} to {_mark_lookup(statement.map, statement.mask)}{port}"


def _snat(statement: Snat) -> str:
    family = "ip6" if statement.family == 6 else "ip"
    return f"snat {family} to {_mark_lookup(statement.map, statement.mask)}"


def _reject(statement: Reject) -> str:
    return "reject with tcp reset" if statement.tcp_reset else "reject"


_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    SetPriority: _set_priority,
    SetMark: _set_mark,
    AddToMark: _add_to_mark,
    MatchMark: _match_mark,
    MatchNew: lambda _: "ct state new",
    MatchDirection: lambda statement: f"ct direction {words.name(statement.direction)}",
    MatchArrived: lambda _: 'iifname != "lo"',
    MatchNoReset: lambda _: "tcp flags & rst == 0x0",
    MatchMarkIn: _match_mark_in,
    MatchTranslated: lambda _: "ct status dnat",
    MatchProtocol: _match_protocol,
    MatchSet: _match_set,
    Jump: lambda statement: f"jump {words.name(statement.chain)}",
    Goto: lambda statement: f"goto {words.name(statement.chain)}",
    VerdictMap: _verdict_map,
    Remember: _remember,
    Forget: _forget,
    Dnat: _dnat,
    Snat: _snat,
    Masquerade: lambda _: "masquerade",
    Reject: _reject,
    Drop: lambda _: "drop",
}
