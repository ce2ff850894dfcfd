"""The JSON Schema is valid, knows all of the language, and has the language's limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_json import STRICT, in_farm, read_text

from nftlbc.language import check
from nftlbc.language.lexicon import lexicon
from nftlbc.language.schema import schema, structure
from nftlbc.language.settings import SETTINGS


def parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, (dict, list)):
            yield from parts(each)


@pytest.mark.parametrize("made", [schema(), structure()])
def test_it_is_a_valid_schema_of_2020_12(made: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in parts(made):
        if "$ref" in part:
            assert part["$ref"].removeprefix("#/$defs/") in made["$defs"]


def test_every_keyword_of_the_grammar_is_in_it() -> None:
    words = set(re.findall(r"[a-z][a-z-]*", json.dumps(schema())))
    assert {word for word in lexicon().keywords if word not in words} == set()


def test_every_statement_is_a_member() -> None:
    made = schema()
    farm = made["$defs"]["farm"]["properties"]
    settings = {keyword for keyword, _, _ in SETTINGS.values()}
    assert set(farm) == {"name", "listen", "backends", "check", *settings}
    assert set(made["$defs"]["defaults"]["properties"]) == {"check", *settings}
    assert {"include", "define", "defaults", "farms", "comments"} < set(made["properties"])


def test_every_option_of_every_check_is_a_member() -> None:
    found = {}
    for each in schema()["$defs"]["check"]["allOf"]:
        then = each["then"]
        found[each["if"]["properties"]["kind"]["const"]] = (
            set(then["properties"]) - {"kind"},
            tuple(then["required"]),
        )
    assert found == {
        kind: ({*check.COMMON, *own}, check.REQUIRED.get(kind, ()))
        for kind, own in check.KINDS.items()
    }


def test_every_member_has_a_title_and_a_description() -> None:
    for part in parts(schema()):
        if part.get("type") == "object" and "title" in part:
            for name, member in part.get("properties", {}).items():
                if name in ("contains", "matches", "file", "environment"):
                    continue
                assert member.get("description"), name
                assert "title" in member or "$ref" in member or "const" in member, name


LIMITS: dict[str, tuple[str, list[Any], list[Any]]] = {
    "a backend's port": (
        '{"backends": [{"name": "a", "address": "10.0.0.1", "port": VALUE}]}',
        [1, 65535, "1", "65535", "$x"],
        [0, 65536, -1, 1.5, "0-1", "80-90", "x", None, True, [80]],
    ),
    "a weight": (
        '{"backends": [{"name": "a", "address": "10.0.0.1", "weight": VALUE}]}',
        [0, 65535],
        [65536, -1, "5s"],
    ),
    "an address": (
        '{"backends": [{"name": "a", "address": VALUE}]}',
        ["10.0.0.1", "$y"],
        [10, "10.0.0.0/8", "localhost", "", "10.0.0.1 ", ["10.0.0.1"]],
    ),
    "a state": (
        '{"backends": [{"name": "a", "address": "10.0.0.1", "state": VALUE}]}',
        ["up", "drain", "down"],
        ["Up", "$x", ""],
    ),
    "a name": (
        '{"backends": [{"name": VALUE, "address": "10.0.0.1"}]}',
        ["a", "x" * 32, "port", "A-_9", "source-ip"],
        ["", "x" * 33, "9a", "a b", "a.b", "é", "$x", 5],
    ),
    "a listener's ports": (
        '{"listen": {"address": "10.0.0.9", "protocol": "tcp", "port": VALUE}}',
        [1, "1-65535", ["80", "90-99"], "$x"],
        [0, 65536, "5s", [], [[80]]],
    ),
    "a listener's protocol": (
        '{"listen": {"address": "10.0.0.9", "protocol": VALUE, "port": 80}}',
        ["tcp", "udp", "sctp", ["tcp", "udp"]],
        ["icmp", "TCP", 6, []],
    ),
    "a scheduler": (
        '{"balance": VALUE}',
        [
            "round-robin",
            "custom",
            {"hash": "source-ip"},
            {"consistent": ["source-ip"], "slots": 251},
        ],
        [
            "hash",
            "robin",
            {"hash": "source"},
            {"hash": []},
            {},
            {"hash": "source-ip", "slots": 251},
        ],
    ),
    "slots": (
        '{"balance": {"consistent": "source-ip", "slots": VALUE}}',
        [2, 65537, "4093"],
        [1, 65538, 0],
    ),
    "a way to forward": (
        '{"forward": VALUE}',
        ["dnat", "masquerade", {"snat": "10.0.0.1"}, {"snat": "$y"}],
        ["snat", "direct", "stateless", "tunnel", "$x", {"snat": "x"}, {}],
    ),
    "a sticky map": (
        '{"persist": {"keys": "source-ip", "size": VALUE}}',
        [1, 4194304],
        [0, 4194305],
    ),
    "a time": (
        '{"persist": {"keys": "source-ip", "for": VALUE}}',
        ["1ms", "1d12h", "$z"],
        [5, "5", "5 s", "5w", "s", ""],
    ),
    "a quorum": ('{"quorum": VALUE}', [1, "1", "$one"], [0, 65536, "1-2"]),
    "hairpin": ('{"hairpin": VALUE}', [True], [False, 1, "true", None]),
    "on-down": ('{"on-down": VALUE}', ["keep", "reset"], ["refuse", "$x"]),
    "when-all-down": ('{"when-all-down": VALUE}', ["keep", "refuse"], ["reset", True]),
    "count": ('{"count": VALUE}', ["traffic"], ["packets", True]),
    "a number of failures": ('{"check": {"kind": "tcp", "fall": VALUE}}', [1, 100], [0, 101]),
    "a status": (
        '{"check": {"kind": "http", "expect": VALUE}}',
        [100, 599, "200-299", [200, "300-399"]],
        [99, 600, "2xx", []],
    ),
    "a word": (
        '{"check": {"kind": "snmp", "version": VALUE, "user": "x"}}',
        ["3", 3],
        ["1", 2, "v3"],
    ),
    "a text to look for": (
        '{"check": {"kind": "http", "body": VALUE}}',
        [{"contains": "x"}, {"matches": "$text"}],
        ["x", {"contains": 5}, {"like": "x"}, {}, {"contains": "x", "matches": "y"}],
    ),
    "a header": (
        '{"check": {"kind": "http", "header": VALUE}}',
        [[["a", "b"]], [["a", "$text"], ["b", "c"]]],
        [["a", "b", "c"][:0], [["a", "b", "c"]], [[]], [["a", 5]]],
    ),
    "a kind": ('{"check": {"kind": VALUE}}', ["tcp", "icmp"], ["ping", 5, None]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_its_limits_are_the_languages(tmp_path: Path, name: str) -> None:
    members, right, wrong = LIMITS[name]
    for value in right:
        document = _document(members, value)
        assert not list(STRICT.iter_errors(document)), value
        assert "error:" not in read_text(tmp_path, json.dumps(document))[1]
    for value in wrong:
        document = _document(members, value)
        assert not STRICT.is_valid(document), value
        assert "error:" in read_text(tmp_path, json.dumps(document))[1], value


def _document(members: str, value: Any) -> Any:
    """A file with this value in a farm, and with the defines that it may be."""
    document = json.loads(in_farm(**json.loads(members.replace("VALUE", json.dumps(value)))))
    document["define"] = {"x": 80, "y": "10.0.0.2", "z": "5s", "one": 1, "text": {"text": "t"}}
    return document
