"""One canonical layout: it means the same, keeps every comment, and formatting again changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from textwrap import dedent

import pytest
from generate import farms_text, farms_texts
from hypothesis import given

from nftlbc.diagnostics import has_errors
from nftlbc.farms import Farm
from nftlbc.language import read
from nftlbc.language.fmt import WIDTH, format_source
from nftlbc.source import TextSource

_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|(#[^\n]*)')

LONG = ", ".join(f"2001:db8:aaaa:bbbb:cccc:dddd:eeee:{number}" for number in range(3))
CASES = {
    "a statement a line, four blanks deep": (
        "farm web{listen 192.0.2.1 tcp port 80;backend a 10.0.0.1\n  \tcheck tcp{interval 5s}}",
        """\
        farm web {
            listen 192.0.2.1 tcp port 80
            backend a 10.0.0.1
            check tcp {
                interval 5s
            }
        }
        """,
    ),
    "an empty block": ("defaults { }", "defaults {\n}\n"),
    "blanks between tokens": (
        "define  a={1,2 ,3,}\ndefine b\t=\t1,2",
        "define a = { 1, 2, 3 }\ndefine b = 1, 2\n",
    ),
    "single blank lines": (
        "\n\ndefine a = 1\n\n\n\ndefine b = 2\nfarm web {\n\n  hairpin\n \n\n  quorum 1\n\n}\n\n\n",
        """\
        define a = 1

        define b = 2

        farm web {
            hairpin

            quorum 1
        }
        """,
    ),
    "one blank line between blocks, above their comments": (
        "farm a {\n}\n# of b\n# and b\nfarm b {\n}\ndefine x = 1\n# of defaults\ndefaults {\n}",
        """\
        farm a {
        }

        # of b
        # and b
        farm b {
        }

        define x = 1

        # of defaults
        defaults {
        }
        """,
    ),
    "a comment that is not the block's": (
        "define x = 1\n# alone\n\n# of a\nfarm a {\n}\n# last",
        """\
        define x = 1
        # alone

        # of a
        farm a {
        }

        # last
        """,
    ),
    "comments beside": (
        "farm a { # open\nhairpin # one\nquorum 1;# two\ncount traffic ; ; # three\n} ; # close\n",
        """\
        farm a {  # open
            hairpin  # one
            quorum 1  # two
            count traffic  # three
        }  # close
        """,
    ),
    "a comment ends the line of an inner block": (
        "farm a { check tcp { fall 3 } # inner\n hairpin } # outer",
        """\
        farm a {
            check tcp {
                fall 3
            }  # inner
            hairpin
        }  # outer
        """,
    ),
    "comments at the end of a block": (
        "farm a {\n hairpin\n\n # last\n}",
        """\
        farm a {
            hairpin

            # last
        }
        """,
    ),
    "a blank behind #": (
        "#text\n#!bang\n## two\n#\n#\ttab\n#   in   \n",
        "# text\n#!bang\n## two\n#\n#\ttab\n#   in\n",
    ),
    "a # in a string": ('include "a#b"#c', 'include "a#b"  # c\n'),
    "a list that does not fit": (
        f"farm a {{ listen {{{LONG}}} tcp port {{80,81}} to 90 }}",
        """\
        farm a {
            listen {
                2001:db8:aaaa:bbbb:cccc:dddd:eeee:0,
                2001:db8:aaaa:bbbb:cccc:dddd:eeee:1,
                2001:db8:aaaa:bbbb:cccc:dddd:eeee:2,
            } tcp port { 80, 81 } to 90
        }
        """,
    ),
    "a bare list stays bare": (
        f"farm a {{ listen {LONG} tcp port 80,81 }}",
        f"farm a {{\n    listen {LONG} tcp port 80, 81\n}}\n",
    ),
    "comments in a list": (
        "define a = { # open\n 1, 2 # two\n\n\n # own\n\n , 3 # three\n , # more\n 4\n # tail\n} # end",
        """\
        define a = {  # open
            1,
            2,  # two

            # own

            3,  # three
            # more
            4,
            # tail
        }  # end
        """,
    ),
    "a list that has no comment any more": (
        "define a = {\n\n 1,\n\n 2,\n}\n# c",
        "define a = { 1, 2 }\n# c\n",
    ),
    "keywords as values": (
        "define a = { # c\n tcp, check, farm }",
        "define a = {  # c\n    tcp,\n    check,\n    farm,\n}\n",
    ),
    "nothing": ("", ""),
    "nothing but blanks": (" \n\t\n ; ;\n", ""),
    "nothing but comments": ("\n\n#a\n\n\n#b", "# a\n\n# b\n"),
    "BOM and CRLF": ("\ufefffarm a {\r\n\thairpin\r\n}\r\n", "farm a {\n    hairpin\n}\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_layout(name: str) -> None:
    text, expected = CASES[name]
    assert format_source(text) == dedent(expected)


@pytest.mark.parametrize("name", CASES)
def test_formatting_twice_is_formatting_once(name: str) -> None:
    once = format_source(CASES[name][0])
    assert format_source(once) == once


def test_a_list_stands_on_one_line_up_to_the_last_column() -> None:
    fits = "define a = { " + "1" * (WIDTH - len("define a = { , 2 }")) + ", 2 }\n"
    assert len(fits) == WIDTH + 1  # with its newline
    assert format_source(fits) == fits
    wider = fits.replace("1,", "11,")
    assert format_source(wider).startswith("define a = {\n")


def test_what_follows_a_list_counts_but_its_comment_does_not() -> None:
    number = "1" * (WIDTH - len("    listen { 1.2.3.4,  } tcp port 80"))
    fits = f"farm a {{\n    listen {{ 1.2.3.4, {number} }} tcp port 80  # and so on\n}}\n"
    assert format_source(fits) == fits
    assert "listen {\n" in format_source(fits.replace("port 80", "port 800"))


def test_no_line_ends_in_blanks() -> None:
    text = farms_text(Random(5), farms=5)
    assert not re.search(r"[ \t]\n", format_source(text + "farm a { # \t \n  }"))


@given(farms_texts())
def test_idempotent(text: str) -> None:
    once = format_source(text)
    assert format_source(once) == once


@given(farms_texts())
def test_the_tokens_are_the_same(text: str) -> None:
    assert _tokens(format_source(text)) == _tokens(text)


@given(farms_texts())
def test_no_comment_is_lost_or_moved_past_another(text: str) -> None:
    assert comments(format_source(text)) == comments(text)


@given(farms_texts())
def test_comments_stay_by_their_tokens(text: str) -> None:
    assert _neighbours(format_source(text)) == _neighbours(text)


def test_the_meaning_is_the_same(tmp_path: Path) -> None:
    for seed in range(30):
        text = farms_text(Random(seed))
        assert farms_of(tmp_path / "a.lb", text) == farms_of(tmp_path / "b.lb", format_source(text))


def farms_of(file: Path, text: str) -> tuple[Farm, ...]:
    """The farms of a text, which must be without mistakes."""
    file.write_text(text, "utf-8", newline="")
    farms, diagnostics = read(str(file))
    assert not has_errors(diagnostics)
    assert farms
    return farms


def comments(text: str) -> list[str]:
    """The comments in their order, with the blank behind their #."""
    found = [match.group(1).rstrip(" \t") for match in _COMMENT.finditer(text) if match.group(1)]
    return [re.sub(r"\A#(?=[^\s!#])", "# ", each) for each in found]


def _tokens(text: str) -> list[str]:
    """The tokens but for what separates statements and values of lists."""
    return [token for token in TextSource("", text).tokens if token not in ("\n", ";", ",")]


def _neighbours(text: str) -> list[tuple[str, int]]:
    """For each comment, how many tokens are before it."""
    return [
        (comments(match.group(1))[0], len(_tokens(text[: match.start()] + "\n")))
        for match in _COMMENT.finditer(text)
        if match.group(1)
    ]
