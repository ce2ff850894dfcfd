"""The JSON Schema (draft 2020-12) of a farms file in its JSON form.

It is built from what the language itself has: the grammar's terminals and alternatives, the
table of checks, the limits of the readers. ``schema`` is for people, editors and other programs.
``structure`` is the same without the limits of single values: what must hold before a document
can become tokens of the language, whose readers then judge the values.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nftlbc import farms
from nftlbc.diagnostics import in_words
from nftlbc.language import check, settings, values
from nftlbc.language.backend import HEAVIEST
from nftlbc.language.check import Option
from nftlbc.language.lexicon import lexicon
from nftlbc.language.schema_words import MEMBERS, TITLES, of_option

Schema = dict[str, Any]

PLACES = ("above", "beside", "end", "after")
"""Where a comment stands by something."""
LABELS: Mapping[str, tuple[str, ...]] = {
    "match": ("contains", "matches"),
    "secret": ("file", "environment"),
}
"""By a check's form: the words that a text stands behind."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> Schema:
    """The schema that ``nftlbc schema`` prints."""
    return {"$schema": _DIALECT, "$id": "urn:nftlbc:farms", **_Builder(strict=True).document()}


def structure() -> Schema:
    """What a document must be for its values to be looked at; each part has its title."""
    return {"$schema": _DIALECT, **_Builder(strict=False).document()}


def alternatives(rule: str) -> list[str]:
    """The words that the alternatives of a rule of the grammar begin with."""
    words = lexicon()
    found: dict[str, None] = {}
    for each in words.lark.rules:
        first = each.expansion[0].name if each.expansion else ""
        if each.origin.name == rule and first in words.text:
            found[words.text[first]] = None
    return list(found)


class _Builder:
    """Each method gives the schema of one thing; ``strict``: with the limits of its values."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.terminals: Mapping[str, str] = {
            terminal.name: terminal.pattern.value for terminal in lexicon().lark.terminals
        }
        self.address = self.bare("an address", "string", "IPV4", "IPV6")
        self.port = self.number("a port", 1, 65535)

    # What stands in a file

    def document(self) -> Schema:
        body = self.body()
        farm = {
            "name": self.name("a name"),
            "listen": self.listed({"title": "a listener", "$ref": "#/$defs/listener"}),
            "backends": self.listed({"title": "a backend", "$ref": "#/$defs/backend"}),
        }
        needed = ["name", "listen", "backends"] if self.strict else ["name"]
        members = {
            "$schema": self.text("a text"),
            "include": self.listed(self.text("a file's name")),
            "define": self.defines(),
            "defaults": {"$ref": "#/$defs/defaults"},
            "farms": {"title": "a list", "type": "array", "items": {"$ref": "#/$defs/farm"}},
            "comments": {"title": "a list", "type": "array", "items": {"$ref": "#/$defs/comment"}},
        }
        return {
            **self.object("file", members),
            "$defs": {
                "farm": self.object("farm", {**farm, **body}, needed),
                "defaults": self.object("defaults", body),
                "listener": self.listener(),
                "backend": self.backend(),
                "check": self.check(),
                "comment": self.comment(),
            },
        }

    def defines(self) -> Schema:
        text = self.object("text", {"text": self.text("a text")}, ["text"])
        plain = {"title": "a value", "type": ["string", "integer" if self.strict else "number"]}
        found: Schema = {
            "title": "names with their values",
            "type": "object",
            "additionalProperties": self.listed(self.either("a value", plain, text)),
        }
        if self.strict:
            found["propertyNames"] = {"pattern": f"^{self.terminals['NAME']}$"}
        return found

    def comment(self) -> Schema:
        text = self.text("a text")
        members = {"at": text, "place": self.words(PLACES), "text": text}
        return self.object("comment", members, ["at", "place", "text"])

    # What stands in a farm

    def body(self) -> dict[str, Schema]:
        keys = self.listed(self.bare("a key such as source-ip", "string", "KEY"))
        duration = self.bare("a time such as 60s", "string", "DURATION")
        slots = self.number("a number of slots", 2, settings.MOST_SLOTS)
        persist = {
            "keys": keys,
            "for": duration,
            "size": self.number("a number of entries", 1, settings.LARGEST_STICKY),
        }
        found = {
            "forward": self.either(
                "a way to forward",
                self.words(_without(typing.get_args(farms.ForwardKind), ["snat"])),
                self.object("forward", {"snat": self.listed(self.address)}, ["snat"]),
            ),
            "balance": self.either(
                "a scheduler",
                self.words(_without(typing.get_args(farms.Scheduler), farms.KEYED_SCHEDULERS)),
                self.object("balance", {"consistent": keys, "slots": slots}, ["consistent"]),
                self.object("balance", {"hash": keys}, ["hash"]),
            ),
            "persist": self.object("persist", persist, ["keys"]),
            "quorum": self.number("a number of backends", 1, 65535),
            "hairpin": self.flag(),
            "on-down": self.words(alternatives("on_down_way")),
            "when-all-down": self.words(alternatives("when_all_down_way")),
            "slow-start": duration,
            "count": self.words(["traffic"]),
            "on-change": self.listed(self.text("a text")),
            "check": self.listed({"title": "a check", "$ref": "#/$defs/check"}),
        }
        return {name: {**each, "description": MEMBERS[name]} for name, each in found.items()}

    def listener(self) -> Schema:
        members = {
            "address": self.listed(self.address),
            "protocol": self.listed(self.word(typing.get_args(farms.Protocol))),
            "port": self.listed(self.number("a port or a range", 1, 65535, "RANGE")),
            "to": self.port,
        }
        return self.object("listener", members, ["address", "protocol", "port"])

    def backend(self) -> Schema:
        members = {
            "name": self.name("a name"),
            "address": self.address,
            "port": self.port,
            "weight": self.number("a weight", 0, HEAVIEST),
            "backup": self.flag(),
            "state": self.words(alternatives("backend_state")),
        }
        return self.object("backend", members, ["name", "address"])

    def check(self) -> Schema:
        """The options that a check may have depend on its ``kind``."""
        kinds = []
        for kind, own in check.KINDS.items():
            options = {
                name: {**self.option(each), "description": of_option(kind, name)}
                for name, each in {**check.COMMON, **own}.items()
            }
            members = {"kind": {"const": kind, "description": MEMBERS["check.kind"]}, **options}
            then = self.object("check", members, check.REQUIRED.get(kind, ()))
            then["title"] = f"a check of kind {kind}"
            kinds.append({"if": _has({"kind": {"const": kind}}), "then": then})
        kind_word = {**self.words(list(check.KINDS)), "description": MEMBERS["check.kind"]}
        return {
            "title": TITLES["check"],
            "description": MEMBERS["check"],
            "type": "object",
            "properties": {"kind": kind_word},
            "required": ["kind"],
            "allOf": kinds,
        }

    def option(self, option: Option) -> Schema:
        """A check's option by its form (``check.FORMS``, or ``word``)."""
        text = self.text("a text")
        forms: Mapping[str, Schema] = {
            "word": self.word(option.choices),
            "port": self.port,
            "address": self.address,
            "duration": self.bare("a time such as 5s", "string", "DURATION"),
            "count": self.number("a number", 1, 100),
            "text": text,
            "texts": self.listed(text),
            "pair": self.listed(text, 2),
            "match": self.labelled(LABELS["match"]),
            "secret": self.labelled(LABELS["secret"]),
            "flag": self.flag(),
            "statuses": self.listed(self.number("a status or a range", 100, 599, "RANGE")),
        }
        found = forms[option.form]
        if not option.many:
            return found
        return {"title": "a list", "type": "array", "items": found, "minItems": 1}

    def labelled(self, labels: Sequence[str]) -> Schema:
        """``{"contains": "text"}``: one of the labels with a text."""
        text = self.text("a text")
        title = in_words([f'{{"{label}": ...}}' for label in labels])
        members: Schema = {"title": title, "type": "object", "minProperties": 1, "maxProperties": 1}
        if self.strict:
            members["properties"] = dict.fromkeys(labels, text)
            members["patternProperties"] = {self.pattern(): text}
            members["additionalProperties"] = False
        else:
            members["additionalProperties"] = text
        return self.either(title, self.bare(title, "string"), members)

    # Single values, and how they are put together

    def pattern(self, *terminals: str) -> str:
        """Of these terminals, or of a reference to a define."""
        return f"^({'|'.join(self.terminals[name] for name in (*terminals, 'REFERENCE'))})$"

    def bare(self, title: str, type_: str | list[str], *terminals: str) -> Schema:
        """A value that stands in a farms file as it is."""
        if not self.strict:
            return {"title": title, "type": ["string", "number"]}
        return {"title": title, "type": type_, "pattern": self.pattern(*terminals)}

    def number(self, title: str, low: int, high: int, *also: str) -> Schema:
        found = self.bare(title, ["integer", "string"], "INT", *also)
        return {**found, "minimum": low, "maximum": high} if self.strict else found

    def words(self, words: Sequence[str]) -> Schema:
        """One of the words, where no reference may stand."""
        if not self.strict:
            return self.bare(in_words(words), "string")
        numbers = [int(word) for word in words if word.isdecimal()]
        return {"title": in_words(words), "enum": [*words, *numbers]}

    def word(self, words: Sequence[str]) -> Schema:
        """One of the words, or a reference."""
        if not self.strict:
            return self.words(words)
        either = [self.words(words), self.bare("a $define", "string")]
        return {"title": in_words(words), "anyOf": either}

    def name(self, title: str) -> Schema:
        if not self.strict:
            return {"title": title, "type": "string"}
        limits = {"pattern": f"^{self.terminals['NAME']}$", "maxLength": values.LONGEST_NAME}
        return {"title": title, "type": "string", **limits}

    def text(self, title: str) -> Schema:
        return {"title": title, "type": "string"}

    def flag(self) -> Schema:
        return {"title": "true (or leave it out)", "const": True}

    def listed(self, one: Schema, most: int | None = None) -> Schema:
        """One value, or a list of at least one."""
        title = f"{one['title']} or a list"
        several: Schema = {"title": "a list", "type": "array", "items": one, "minItems": 1}
        if most is not None:
            several["maxItems"] = most
        if self.strict:
            return {"title": title, "anyOf": [one, several]}
        return {"title": title, "if": {"type": "array"}, "then": several, "else": one}

    def either(self, title: str, scalar: Schema, *objects: Schema) -> Schema:
        """A scalar, or one of the objects."""
        if self.strict:
            return {"title": title, "anyOf": [scalar, *objects]}
        then = dict(objects[0])
        if len(objects) > 1:
            # Which of them is meant, the grammar tells.
            then["properties"] = {
                name: member for each in objects for name, member in each["properties"].items()
            }
            then["anyOf"] = [{"required": each["required"]} for each in objects]
            del then["required"]
        other = {**scalar, "title": title}
        return {"title": title, "if": {"type": "object"}, "then": then, "else": other}

    def object(
        self, kind: str, members: Mapping[str, Schema], required: Iterable[str] = ()
    ) -> Schema:
        """An object with these members and no others, titles and descriptions by its kind."""
        properties = {
            name: {**each, "description": MEMBERS[f"{kind}.{name}"]}
            if f"{kind}.{name}" in MEMBERS
            else each
            for name, each in members.items()
        }
        found: Schema = {"title": TITLES[kind], "type": "object", "properties": properties}
        if kind in MEMBERS:
            found["description"] = MEMBERS[kind]
        return {**found, "required": [*required], "additionalProperties": False}


def _has(members: Mapping[str, Schema]) -> Schema:
    return {"properties": dict(members), "required": [*members]}


def _without(words: Iterable[str], others: Iterable[str]) -> list[str]:
    others = set(others)
    return [word for word in words if word not in others]
