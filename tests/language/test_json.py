"""The JSON form means what the other form means, is held to the same rules, and loses nothing."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from random import Random
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from generate import KINDS, farms_text, farms_texts
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fmt import comments

from nftlbc import rules
from nftlbc.diagnostics import Diagnostic, draw, has_errors
from nftlbc.farms import Balance, Check, Farm, Forward, Key, Listener, Persistence
from nftlbc.language import check, json_form, read, schema, syntax
from nftlbc.language.fmt import WIDTH, format_source
from nftlbc.language.values import Context
from nftlbc.source import TextSource

STRICT = jsonschema.Draft202012Validator(schema.schema())
WHOLE: dict[str, Any] = {
    "define": {"vip": "203.0.113.10", "app": ["10.0.0.11", "10.0.0.12"], "host": "example.org"},
    "defaults": {"forward": "masquerade", "check": [{"kind": "tcp", "interval": "5s"}]},
    "farms": [
        {
            "name": "web",
            "listen": [
                {
                    "address": ["$vip", "2001:db8::10"],
                    "protocol": ["tcp"],
                    "port": [80, "8000-8099"],
                    "to": 8443,
                }
            ],
            "forward": {"snat": ["10.0.0.1", "2001:db8::1"]},
            "balance": {"consistent": ["source-ip/24/56"], "slots": 4093},
            "persist": {"keys": ["source-ip"], "for": "5m", "size": 65536},
            "backends": [
                {"name": "app1", "address": "10.0.0.11", "port": 8080, "weight": 3},
                {"name": "app2", "address": "10.0.0.12", "backup": True, "state": "drain"},
                {"name": "app3", "address": "2001:db8::20"},
            ],
            "quorum": 1,
            "hairpin": True,
            "on-down": "reset",
            "when-all-down": "keep",
            "slow-start": "60s",
            "count": "traffic",
            "on-change": ["/etc/x", "arg"],
            "check": [
                {
                    "kind": "http",
                    "path": "/healthz",
                    "host": "$host",
                    "expect": ["200-299", 404],
                    "header": [["Name", "value"], ["Other", "two"]],
                    "body": {"contains": "ok"},
                    "follow-redirects": True,
                    "interval": "2s",
                }
            ],
        },
        {
            "name": "dns",
            "listen": {"address": "$app", "protocol": ["udp", "tcp"], "port": 53},
            "balance": {"hash": "source-ip"},
            "backends": {"name": "ns1", "address": "10.0.0.53"},
        },
    ],
}


def read_text(folder: Path, text: str, name: str = "farms.json") -> tuple[tuple[Farm, ...], str]:
    """The farms of a file with this text, and its mistakes as a person reads them."""
    farms, diagnostics = read_file(folder, text, name)
    return farms, draw(diagnostics).replace(f"{folder}/", "")


def read_file(folder: Path, text: str, name: str) -> tuple[tuple[Farm, ...], list[Diagnostic]]:
    (folder / name).write_text(text, "utf-8", newline="")
    farms, diagnostics = read(str(folder / name))
    return farms, [*diagnostics, *rules.check(farms)]


def as_document(text: str) -> str:
    """The JSON form of a text, which must be without mistakes."""
    source = TextSource("farms.lb", text)
    statements, mistakes = syntax.parse(source)
    assert not mistakes
    written, mistakes = json_form.to_json(source, statements)
    assert not mistakes
    return written


def as_lb(text: str) -> str:
    """The other form of a JSON text, which must be without mistakes."""
    context = Context()
    source = json_form.source(context, "farms.json", text)
    assert source is not None
    assert not context.diagnostics
    written, mistakes = json_form.to_lb(source)
    assert not mistakes
    return written


def in_farm(**members: Any) -> str:
    """A document with one farm, with these members in place of its own."""
    farm = {
        "name": "web",
        "listen": {"address": "203.0.113.1", "protocol": "tcp", "port": 80},
        "backends": [{"name": "app1", "address": "10.0.0.11"}],
        **{name.replace("_", "-"): value for name, value in members.items()},
    }
    return json.dumps({"farms": [farm]})


# What it means


def test_every_member_says_what_it_says_in_the_other_form(tmp_path: Path) -> None:
    farms, told = read_text(tmp_path, json.dumps(WHOLE))
    assert "error" not in told
    dns, web = farms
    assert web.listeners == tuple(
        Listener(address, "tcp", first, last, 8443)
        for address in ("203.0.113.10", "2001:db8::10")
        for first, last in ((80, 80), (8000, 8099))
    )
    assert web.forward == Forward("snat", ("10.0.0.1", "2001:db8::1"))
    assert web.balance == Balance("consistent", (Key("source-ip", 24, 56),), 4093)
    assert web.persistence == Persistence((Key("source-ip"),), 300_000, 65536)
    assert [(b.name, b.port, b.weight, b.backup, b.state) for b in web.backends] == [
        ("app1", 8080, 3, False, "up"),
        ("app2", None, 1, True, "drain"),
        ("app3", None, 1, False, "up"),
    ]
    assert (web.quorum, web.hairpin, web.on_down, web.when_all_down) == (1, True, "reset", "keep")
    assert (web.slow_start, web.count_traffic) == (60_000, True)
    assert web.on_change == ("/etc/x", "arg")
    assert web.checks == (
        Check(
            "http",
            interval=2000,
            timeout=2000,
            options=(
                ("body", ("contains", "ok")),
                ("expect", ((200, 299), (404, 404))),
                ("follow-redirects", True),
                ("header", (("Name", "value"), ("Other", "two"))),
                ("host", "example.org"),
                ("path", "/healthz"),
            ),
        ),
    )
    assert dns.forward == Forward("masquerade")
    assert dns.checks == (Check("tcp"),)
    assert {(each.address, each.protocol) for each in dns.listeners} == {
        (address, protocol) for address in ("10.0.0.11", "10.0.0.12") for protocol in ("tcp", "udp")
    }


def test_the_other_form_of_it() -> None:
    assert as_lb(json.dumps(WHOLE)) == dedent("""\
        define vip = 203.0.113.10
        define app = { 10.0.0.11, 10.0.0.12 }
        define host = "example.org"

        defaults {
            forward masquerade
            check tcp {
                interval 5s
            }
        }

        farm web {
            listen $vip, 2001:db8::10 tcp port 80, 8000-8099 to 8443
            forward snat to 10.0.0.1, 2001:db8::1
            balance consistent source-ip/24/56 slots 4093
            persist source-ip for 5m size 65536
            backend app1 10.0.0.11 port 8080 weight 3
            backend app2 10.0.0.12 backup state drain
            backend app3 2001:db8::20
            quorum 1
            hairpin
            on-down reset
            when-all-down keep
            slow-start 60s
            count traffic
            on-change exec "/etc/x" "arg"
            check http {
                path "/healthz"
                host $host
                expect 200-299, 404
                header "Name" "value"
                header "Other" "two"
                body contains "ok"
                follow-redirects
                interval 2s
            }
        }

        farm dns {
            listen $app udp, tcp port 53
            balance hash source-ip
            backend ns1 10.0.0.53
        }
        """)


def test_a_document_in_its_own_layout() -> None:
    text = 'include "farms.d/*.json"\ndefine a = 1\nfarm web {\nhairpin\nbackend a 10.0.0.1\n}\n'
    assert as_document(text) == dedent("""\
        {
          "include": ["farms.d/*.json"],
          "define": {
            "a": 1
          },
          "farms": [
            {
              "name": "web",
              "hairpin": true,
              "backends": [{"name": "a", "address": "10.0.0.1"}]
            }
          ]
        }
        """)
    wide = as_document(farms_text(Random(3), farms=5, backends=8))
    assert all(len(line) <= WIDTH for line in wide.splitlines() if '"text"' not in line)


@given(farms_texts())
def test_there_and_back(text: str) -> None:
    document = as_document(text)
    back = as_lb(document)
    assert format_source(back) == back
    assert sorted(comments(back)) == sorted(comments(text))
    assert as_document(back) == document


@settings(max_examples=40)
@given(farms_texts())
def test_what_is_written_fits_the_schema(text: str) -> None:
    assert not list(STRICT.iter_errors(json.loads(as_document(text))))


def test_the_farms_are_the_same(tmp_path: Path) -> None:
    for seed in range(30):
        text = farms_text(Random(seed))
        farms, diagnostics = read_file(tmp_path, text, "farms.lb")
        assert farms
        assert not has_errors(diagnostics)
        document = as_document(text)
        for name, form in (("a.json", document), ("b.lb", as_lb(document))):
            others, told = read_file(tmp_path, form, name)
            assert others == farms
            assert len(told) == len(diagnostics)


def test_the_generated_files_have_every_option_of_every_check() -> None:
    for kind, options in check.KINDS.items():
        assert {option.split()[0] for option in KINDS[kind]} >= {
            *check.REQUIRED.get(kind, ()),
            *(options if kind not in ("https",) else ()),
        }


# Values


def test_numbers_may_be_written_in_any_way_of_json(tmp_path: Path) -> None:
    backends = [{"name": "app1", "address": "10.0.0.11", "port": 8.08e3, "weight": "3"}]
    (farm,), told = read_text(tmp_path, in_farm(backends=backends))
    assert not told
    assert (farm.backends[0].port, farm.backends[0].weight) == (8080, 3)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$x", "from the define"),
        ("$$x", "$x"),
        ("$$$x", "$$x"),
        ("$$", "$"),
        ("$5 and more", "$5 and more"),
        ('"\\\n\t\x7f#', '"\\\n\t\x7f#'),
        ("", ""),
    ],
)
def test_references_in_texts(tmp_path: Path, written: str, meant: str) -> None:
    document = json.loads(in_farm(on_change=["/x", written, "$x"]))
    document["define"] = {"x": {"text": "from the define"}}
    (farm,), told = read_text(tmp_path, json.dumps(document))
    assert not told
    assert farm.on_change == ("/x", meant, "from the define")
    again = json.loads(as_document(as_lb(json.dumps(document))))
    (farm,), _ = read_text(tmp_path, json.dumps(again))
    assert farm.on_change == ("/x", meant, "from the define")


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        (80, "80"),
        ("080", "080"),
        ("80-90", "80-90"),
        ("5s", "5s"),
        ("GET", "GET"),
        ("$y", "$y"),
        ("source-ip/24", "source-ip/24"),
        ("/healthz", '"/healthz"'),
        ("two words", '"two words"'),
        ("", '""'),
        ("{", '"{"'),
        ('"', '"\\""'),
        ({"text": "10.0.0.1"}, '"10.0.0.1"'),
        ({"text": "GET"}, '"GET"'),
    ],
)
def test_values_of_defines(value: Any, token: str) -> None:
    text = as_lb(json.dumps({"define": {"x": value, "many": [value, value]}}))
    assert text == f"define x = {token}\ndefine many = {{ {token}, {token} }}\n"
    assert json.loads(as_document(text)) == {"define": {"x": value, "many": [value, value]}}


@pytest.mark.parametrize("value", ["{", "}", "\n", ";", ",", "=", "", '"', '"x"', "80 to 90", "#"])
def test_a_value_is_never_more_than_a_value(tmp_path: Path, value: str) -> None:
    listen = {"address": "203.0.113.1", "protocol": "tcp", "port": value}
    (farm,), told = read_text(tmp_path, in_farm(listen=listen))
    assert told.startswith("farms.json: $.farms[0].listen.port: error: ")
    assert told.count("error:") == 1
    assert not farm.listeners
    context = Context()
    source = json_form.source(context, "farms.json", in_farm(listen=listen))
    assert source is not None
    text, mistakes = json_form.to_lb(source)
    assert not text
    assert has_errors(mistakes)


def test_a_file_in_one_form_includes_one_in_the_other(tmp_path: Path) -> None:
    (tmp_path / "more.lb").write_text("farm b {\n$x\n}\n")
    document = {**json.loads(in_farm(quorum="$q")), "include": "m*.lb"}
    (tmp_path / "more.lb").write_text('include "deep.json"\n')
    (tmp_path / "deep.json").write_text('{"define": {"q": 1}}')
    (farm,), told = read_text(tmp_path, json.dumps(document))
    assert not told
    assert farm.quorum == 1


@pytest.mark.parametrize("text", [in_farm(), f"\ufeff\r\n\t {in_farm()}"])
def test_standard_input_may_be_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    (farm,), diagnostics = read("-")
    assert not diagnostics
    assert farm.name == "web"


# Comments


COMMENTED = """\
# head

# of the define
define short = { 1, 2 }  # beside short
define one = {  # beside one
    # above 1
    1,  # beside 1
    # tail of one
}  # after one
define wide = {  # beside wide
    2001:db8:aaaa:bbbb:cccc:dddd:eeee:1111,
    2001:db8:aaaa:bbbb:cccc:dddd:eeee:2222,
    2001:db8:aaaa:bbbb:cccc:dddd:eeee:3333,
}  # after wide
define both = {  # beside both
    1,
    2,
}  # after both

# of the farm
#!and of it
farm web {  # beside web
    # of the listener
    listen {  # beside the addresses
        203.0.113.1,  # beside an address
        # tail of the addresses
    } tcp port 80  # beside the listener
    check tcp {  # beside tcp
    }  # after tcp
    check tcp {
        # tail of tcp
    }
    check http {
        # of the path
        path "/"  # beside the path
        header "a" "b"
        header "c" "d"  # beside a header
    }
    # tail of web
}  # after web

# the end
#
"""


def test_every_place_of_a_comment() -> None:
    document = json.loads(as_document(COMMENTED))
    assert [tuple(each.values()) for each in document["comments"]] == [
        ("", "above", "head"),
        ("/define/short", "above", "of the define"),
        ("/define/short", "beside", "beside short"),
        ("/define/one", "beside", "beside one"),
        ("/define/one/0", "above", "above 1"),
        ("/define/one/0", "beside", "beside 1"),
        ("/define/one", "end", "tail of one"),
        ("/define/one", "after", "after one"),
        ("/define/wide", "beside", "beside wide"),
        ("/define/wide", "after", "after wide"),
        ("/define/both", "beside", "beside both"),
        ("/define/both", "after", "after both"),
        ("/farms/0", "above", "of the farm\n#!and of it"),
        ("/farms/0", "beside", "beside web"),
        ("/farms/0/listen/0", "above", "of the listener"),
        ("/farms/0/listen/0", "beside", "beside the listener"),
        ("/farms/0/listen/0/address", "beside", "beside the addresses"),
        ("/farms/0/listen/0/address/0", "beside", "beside an address"),
        ("/farms/0/listen/0/address", "end", "tail of the addresses"),
        ("/farms/0/check/0", "beside", "beside tcp"),
        ("/farms/0/check/0", "after", "after tcp"),
        ("/farms/0/check/1", "end", "tail of tcp"),
        ("/farms/0/check/2/path", "above", "of the path"),
        ("/farms/0/check/2/path", "beside", "beside the path"),
        ("/farms/0/check/2/header/1", "beside", "beside a header"),
        ("/farms/0", "end", "tail of web"),
        ("/farms/0", "after", "after web"),
        ("", "end", "the end\n"),
    ]
    assert as_lb(json.dumps(document)) == COMMENTED


def test_a_second_comment_beside_one_value() -> None:
    text = "define a = {\n1 # one\n, # two\n2 }\n"
    expected = "define a = {\n    1,  # one\n    # two\n    2,\n}\n"
    assert as_lb(as_document(text)) == expected
    assert as_lb(as_document("define a = {\n1 # one\n, # two\n}\n")).count("#") == 2


def test_comments_by_hand(tmp_path: Path) -> None:
    document = json.loads(in_farm(quorum=1, listen={"address": "$v", "protocol": "tcp", "port": 1}))
    document["define"] = {"v": ["203.0.113.1", "203.0.113.2"]}
    document["comments"] = [
        {"at": "", "place": "above", "text": "of the file"},
        {"at": "/farms/0/backends/0", "place": "above", "text": "one\ntwo\n#!three"},
        {"at": "/farms/0/backends/0/address", "place": "beside", "text": "of a part"},
        {"at": "/farms/0/backends/7", "place": "beside", "text": "gone"},
        {"at": "/farms/0/quorum", "place": "end", "text": "no block"},
        {"at": "/farms/0", "place": "after", "text": "behind"},
        {"at": "/define/v/1", "place": "beside", "text": "second"},
        {"at": "/no/such/thing", "place": "beside", "text": "nowhere"},
        {"at": "", "place": "end", "text": ""},
    ]
    text = as_lb(json.dumps(document))
    assert text == dedent("""\
        # of the file

        farm web {  # gone
            listen $v tcp port 1
            # one
            # two
            #!three
            backend app1 10.0.0.11  # of a part
            # no block
            quorum 1
        }  # behind

        define v = {
            203.0.113.1,
            203.0.113.2,  # second
        }

        # nowhere
        #
        """)
    assert not read_text(tmp_path, json.dumps(document))[1]
    again = as_document(text)
    assert as_document(as_lb(again)) == again


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["above", "beside", "end", "after"])))
)
def test_no_comment_is_lost_wherever_it_points(points: list[tuple[int, str]]) -> None:
    pointers = _pointers(WHOLE, "")
    notes = [
        {"at": pointers[at % len(pointers)], "place": place, "text": f"note {number}"}
        for number, (at, place) in enumerate(points)
    ]
    text = as_lb(json.dumps({**WHOLE, "comments": notes}))
    assert sorted(comments(text)) == sorted(f"# note {number}" for number in range(len(points)))
    without = re.sub(r"[ \t]*# note .*", "", text)
    assert format_source(without).split() == as_lb(json.dumps(WHOLE)).split() or "{" in without
    again = as_document(text)
    assert as_document(as_lb(again)) == again


def _pointers(value: Any, at: str) -> list[str]:
    if not isinstance(value, (dict, list)):
        return [at]
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return [at, *(each for name, part in parts for each in _pointers(part, f"{at}/{name}"))]
