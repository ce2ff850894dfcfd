"""What is wrong with a JSON file is told by its path, all of it at once, and nothing else happens."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from textwrap import dedent
from typing import Any

import jsonschema
import pytest
from generate import farms_text
from hypothesis import given
from hypothesis import strategies as st
from test_json import STRICT, as_document, in_farm, read_file, read_text

from nftlbc.diagnostics import as_github, as_json, draw, has_errors, located
from nftlbc.language import json_form, read, schema
from nftlbc.language.json_form import structure
from nftlbc.language.values import Context

NO_JSON = {
    "": "farms.json:1:1: error: this is no JSON: expected a value",
    '{\n  "farms": [1,,]}': "farms.json:2:15: error: this is no JSON: expected a value",
    '{"farms": [1, \n]}': "farms.json:1:13: error: this is no JSON: a ',' before the end",
    '{"a": 1, }': "farms.json:1:8: error: this is no JSON: a ',' before the end",
    '{"a": ",]" ]': "farms.json:1:12: error: this is no JSON: expected ',' or the end of the list",
    '{"a" 1}': "farms.json:1:6: error: this is no JSON: expected ':' behind the name",
    "{a: 1}": 'farms.json:1:2: error: this is no JSON: expected a "name" or }',
    '{"a": [1 2]}': "farms.json:1:10: error: this is no JSON: expected ',' or the end of the list",
    '{"a": "x': "farms.json:1:7: error: this is no JSON: this string is never closed",
    '{"a": "\t"}': "farms.json:1:8: error: this is no JSON: a control character in a string",
    "{}\r\n{}": "farms.json:2:1: error: this is no JSON: expected the end of the file",
    '{"NaN": "NaN",\n"b": NaN}': "farms.json:2:6: error: NaN is no number of JSON",
    '{"a": -Infinity}': "farms.json:1:7: error: -Infinity is no number of JSON",
    "[" * 100_000: "farms.json:1:13: error: more than 12 lists and objects in one another",
    '{"farms": [' + "[" * 50 + "]" * 50 + "]}": "farms.json:1:22: error: more than 12 lists",
    '{"a":' * 50 + "1" + "}" * 50: "farms.json:1:61: error: more than 12 lists",
    "[]": "farms.json: $: error: expected an object, found an empty list",
    '"farms"': 'farms.json: $: error: expected an object, found "farms"',
    '{"farms": [{"name": "\\ud800"}]}': "farms.json: $.farms[0].name: error: half of a pair of",
    '{"define": {"\\udfff": 1}}': "farms.json: $.define: error: half of a pair of surrogates",
}


@pytest.mark.parametrize("text", NO_JSON)
def test_text_that_is_no_document(tmp_path: Path, text: str) -> None:
    farms, told = read_text(tmp_path, text)
    assert not farms
    assert told.startswith(NO_JSON[text])
    assert told.count("error:") == 1


def test_a_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    text = in_farm(on_change=["/x", "☃"]).replace("\\u2603", "\\ud83d\\ude00")
    (farm,), told = read_text(tmp_path, text)
    assert not told
    assert farm.on_change == ("/x", "\U0001f600")


def test_every_mistake_at_once_by_its_path(tmp_path: Path) -> None:
    text = in_farm(
        backends=[
            {"name": "app1", "address": "10.0.0.11", "prot": 8080},
            {"nam": "app2", "address": "10.0.0.12"},
            None,
            {"name": "app4", "address": "localhost", "port": 8080},
            {"name": "app5", "address": "10.0.0.15", "port": 80800, "weight": 10**30},
            {"name": "app6", "address": "10.0.0.16", "state": "drian"},
            {"name": "app7", "address": "10.0.0.17", "backup": False},
        ],
        hairpn=True,
        quorum=None,
        forward={"snat": []},
        balance={"slots": 5},
        persist={"keys": "$nobody", "for": 5},
        on_down=["keep"],
        check=[{"kind": "htp"}, {"kind": "http", "pth": "/"}, {"kind": "exec"}, {"name": "x"}],
    )
    _, told = read_text(tmp_path, text)
    assert "".join(_of_structure(told)) == dedent("""\
        farms.json: $.farms[0].backends[0].prot: error: a backend has no 'prot'
           help: did you mean 'port'?
        farms.json: $.farms[0].backends[1]: error: a backend needs 'name'
        farms.json: $.farms[0].backends[1].nam: error: a backend has no 'nam'
           help: did you mean 'name'?
        farms.json: $.farms[0].backends[2]: error: expected a backend, found null
        farms.json: $.farms[0].backends[6].backup: error: expected true (or leave it out), found false
        farms.json: $.farms[0].hairpn: error: a farm has no 'hairpn'
           help: did you mean 'hairpin'?
        farms.json: $.farms[0].quorum: error: expected a number of backends, found null
        farms.json: $.farms[0].forward.snat: error: an empty list
        farms.json: $.farms[0].balance: error: a balance needs 'consistent' or 'hash'
        farms.json: $.farms[0]["on-down"]: error: expected keep or reset, found a list
        farms.json: $.farms[0].check[1].pth: error: a check of kind http has no 'pth'
           help: did you mean 'path'?
        farms.json: $.farms[0].check[2]: error: a check of kind exec needs 'command'
        farms.json: $.farms[0].check[3]: error: a check needs 'kind'
        """)
    assert _places(told)[13:] == [
        f"$.farms[0].{place}"
        for place in (
            *("backends[3].address", "backends[5].state", "backends[4].port"),
            *("backends[4].weight", "persist.keys", "persist.for", "check[0].kind"),
        )
    ]


def _of_structure(told: str) -> list[str]:
    """What is told before the language tells what it finds in single values."""
    lines = told.splitlines(keepends=True)
    return lines[: next(at for at, line in enumerate(lines) if "backends[3]" in line)]


def _places(told: str) -> list[str]:
    return [
        line.split(": error:")[0].removeprefix("farms.json: ")
        for line in told.splitlines()
        if ": error:" in line
    ]


def test_nothing_follows_from_a_mistake(tmp_path: Path) -> None:
    document = json.loads(in_farm(backends=[{"name": "app1"}], quorum="$q", forward="$nothing"))
    document["farms"] += [{"listen": 5}, "farm", {"name": ["x"], "quorum": 70_000}]
    document["define"] = {"q": [], "unused": "$q"}
    document["defaults"] = "none"
    _, told = read_text(tmp_path, json.dumps(document))
    assert _places(told) == [
        "$.farms[0].backends[0]",
        "$.farms[1]",
        "$.farms[1].listen",
        "$.farms[2]",
        "$.farms[3].name",
        "$.define.q",
        "$.defaults",
        "$.farms[0].forward",
        "$.farms[3].quorum",
    ]


@pytest.mark.parametrize("members", [{"include": 5}, {"defines": {"q": 1}}, {"define": 5}])
def test_what_is_missing_with_a_whole_member_is_not_missed(
    tmp_path: Path, members: dict[str, Any]
) -> None:
    document = {**json.loads(in_farm(quorum="$q")), **members}
    _, told = read_text(tmp_path, json.dumps(document))
    assert _places(told) == [f"$.{member}" for member in members]


def test_farms_of_one_shape_but_for_the_kind_of_a_check(tmp_path: Path) -> None:
    farms = [
        json.loads(in_farm(check={"kind": kind, "path": "/"}))["farms"][0]
        for kind in ("http", "tcp")
    ]
    _, told = read_text(tmp_path, json.dumps({"farms": farms}))
    assert "$.farms[1].check.path: error: a check of kind tcp has no 'path'" in told
    assert "$.farms[0].check" not in told


def test_a_member_given_twice(tmp_path: Path) -> None:
    text = '{"farms": [], "define": {"a": 1, "a": 2, "b": {"text": "", "text": ""}}, "farms": []}'
    _, told = read_text(tmp_path, text)
    assert [line for line in told.splitlines() if "error" in line] == [
        "farms.json: $.farms: error: 'farms' is given twice",
        "farms.json: $.define.a: error: 'a' is given twice",
        "farms.json: $.define.b.text: error: 'text' is given twice",
    ]


def test_mistakes_in_comments(tmp_path: Path) -> None:
    notes = [
        {"at": "farms", "place": "abvoe", "text": "\0"},
        {"at": "", "place": "end"},
        {"at": "", "place": "end", "text": "two\nlines\tare fine"},
    ]
    _, told = read_text(tmp_path, json.dumps({"comments": notes}))
    assert told.splitlines() == ["farms.json: $.comments[1]: error: a comment needs 'text'"]
    del notes[1]
    _, told = read_text(tmp_path, json.dumps({"comments": notes}))
    assert told == dedent("""\
        farms.json: $.comments[0].place: error: 'abvoe' is no place of a comment
           help: did you mean 'above'?
        farms.json: $.comments[0].text: error: a control character
        farms.json: $.comments[0].at: error: 'farms' is no JSON pointer
           help: a JSON pointer reads /farms/0/backends/2
        """)


def test_a_member_that_is_no_plain_word_is_quoted(tmp_path: Path) -> None:
    _, told = read_text(tmp_path, in_farm(slow_start="5"))
    assert told.startswith('farms.json: $.farms[0]["slow-start"]: error: ')
    _, told = read_text(tmp_path, json.dumps({'a"b]': 1}))
    assert told.startswith('farms.json: $["a\\"b]"]: error: a farms file has no')


def test_two_places_of_one_mistake(tmp_path: Path) -> None:
    (farm,) = json.loads(in_farm())["farms"]
    _, told = read_text(tmp_path, json.dumps({"farms": [farm, {**farm, "name": "other"}]}))
    assert "error: farms web and other both listen on 203.0.113.1:80/tcp" in told
    assert "farms.json: $.farms[1].listen" in told
    assert "farms.json: $.farms[0].listen" in told


def test_a_limit_of_mistakes(tmp_path: Path) -> None:
    farms = [{"name": f"f{number}", "quorum": None} for number in range(1000)]
    found, told = read_text(tmp_path, json.dumps({"farms": farms}))
    assert not found
    assert told.count("error:") == structure.MOST_MISTAKES + 1
    assert "there are more" in told


# Documents that nobody meant

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 80.0, 1e400, 10**30, 80, "80", "1-2", "5s", "tcp", "10.0.0.1"),
    *("", "x", "{", "}", "\n", ";", "$", "$x", "$$", '"', "port", "farm", "#", "a b", "\0", "é"),
    *([], {}, [[]], [None], {"text": "x"}, {"a": 1}, ["$a"], [1, "a", None], "source-ip/24"),
)
NAMES = ("port", "x", "name", "kind", "text", "at", "hash", "slots", "backends", "check")


def damaged(seed: int) -> str:
    """A valid document with a few parts replaced, taken away, renamed or added."""
    random = Random(seed)
    document = json.loads(as_document(farms_text(random, farms=2, backends=2)))
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        parts: list[tuple[Any, Any]] = []
        _collect(document, parts)
        inside, key = random.choice(parts)
        way = random.random()
        if way < 0.6:
            inside[key] = copy.deepcopy(random.choice(JUNK))
        elif way < 0.75:
            del inside[key]
        elif isinstance(inside, dict):
            inside[random.choice([*NAMES, f"{key}x"])] = inside.pop(key)
        else:
            inside.append(copy.deepcopy(random.choice(JUNK)))
    return json.dumps(document)


def _collect(value: Any, parts: list[tuple[Any, Any]]) -> None:
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            parts.append((value, key))
            _collect(value[key], parts)


@given(st.integers(0, 2**32 - 1))
def test_damaged_documents(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = damaged(seed)
    farms, diagnostics = read_file(folder, text, "farms.json")
    draw(diagnostics), as_github(diagnostics).encode(), as_json(diagnostics).encode()
    for each in diagnostics:
        location = located(each.place)
        assert location is not None
        assert location.name.startswith(f"{folder}/farms.json")
    document = json.loads(text)
    wrong = has_errors(diagnostics)
    assert wrong or not list(LOOSE.iter_errors(document)), "the structure was not judged"
    assert wrong or not list(STRICT.iter_errors(document)), "the schema refuses what is right"
    if not wrong:
        context = Context()
        source = json_form.source(context, "farms.json", text)
        assert source is not None
        written, mistakes = json_form.to_lb(source)
        assert mistakes or read_file(folder, written, "farms.lb")[0] == farms


LOOSE = jsonschema.Draft202012Validator(schema.structure())


@given(st.integers(0, 2**32 - 1))
def test_parts_are_judged_as_the_whole_would_be(seed: int) -> None:
    """Farms of one shape are judged once; this holds it against jsonschema alone."""
    document = json.loads(damaged(seed))
    if isinstance(document.get("farms"), list):
        document["farms"] += copy.deepcopy(document["farms"])
    _, mistakes = structure.mistakes("farms.json", document, structure.shapes(document))
    assert bool(mistakes) == (not LOOSE.is_valid(document))


@given(st.integers(0, 2**32 - 1), st.data())
def test_damaged_text(
    tmp_path_factory: pytest.TempPathFactory, seed: int, data: st.DataObject
) -> None:
    text = as_document(farms_text(Random(seed), farms=1, backends=2))
    at = data.draw(st.integers(0, len(text)))
    put = data.draw(
        st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "\\", "\\ud800", "NaN", "1e5", "é", ""])
    )
    gone = data.draw(st.sampled_from([0, 1, 5, 50]))
    text = text[:at] + put + text[at + gone :]
    _, diagnostics = read_file(tmp_path_factory.getbasetemp(), text, "farms.json")
    draw(diagnostics), as_json(diagnostics).encode()
    try:
        json.loads(text)
    except ValueError:
        assert has_errors(diagnostics)


@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "farms.json"
    file.write_bytes(data)
    farms, diagnostics = read(str(file))
    assert has_errors(diagnostics) or not farms
