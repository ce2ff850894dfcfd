"""The last value that is right and the first that is not, in both forms and in the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_json import STRICT, in_farm, read_text

from nftlbc import pipeline
from nftlbc.diagnostics import draw
from nftlbc.language.farm import MOST_LISTENERS

LISTENER = {"address": "203.0.113.1", "protocol": "tcp", "port": 80}
BACKEND = {"name": "a", "address": "10.0.0.1"}
EDGES: dict[str, tuple[Any, Any]] = {
    "listener": (
        [{"listen": {**LISTENER, "port": port}} for port in (1, 65535)],
        [{"listen": {**LISTENER, "port": port}} for port in (0, 65536)],
    ),
    "listener-to": (
        [{"listen": {**LISTENER, "to": port}} for port in (1, 65535)],
        [{"listen": {**LISTENER, "to": port}} for port in (0, 65536)],
    ),
    "backend-port": (
        [{"backends": {**BACKEND, "port": port}} for port in (1, 65535)],
        [{"backends": {**BACKEND, "port": port}} for port in (0, 65536)],
    ),
    "weight": (
        [{"backends": [{**BACKEND, "weight": weight}]} for weight in (1, 65535)],
        [{"backends": {**BACKEND, "weight": weight}} for weight in (-1, 65536)],
    ),
    "quorum": ([{"quorum": 1}], [{"quorum": quorum} for quorum in (0, 65536)]),
    "slots": (
        [{"balance": {"consistent": "source-ip", "slots": slots}} for slots in (2, 65537)],
        [{"balance": {"consistent": "source-ip", "slots": slots}} for slots in (1, 65538)],
    ),
    "size": (
        [{"persist": {"keys": "source-ip", "size": size}} for size in (1, 4194304)],
        [{"persist": {"keys": "source-ip", "size": size}} for size in (0, 4194305)],
    ),
    "fall": (
        [{"check": {"kind": "tcp", "fall": fall}} for fall in (1, 100)],
        [{"check": {"kind": "tcp", "fall": fall}} for fall in (0, 101)],
    ),
    "statuses": (
        [{"check": {"kind": "http", "expect": each}} for each in (100, 599, ["100-599", 404])],
        [{"check": {"kind": "http", "expect": each}} for each in (99, 600, ["200-600"])],
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_edges(tmp_path: Path, name: str) -> None:
    right, wrong = EDGES[name]
    for members in right:
        text = in_farm(**members)
        farms, told = read_text(tmp_path, text)
        assert farms and "error" not in told, (members, told)
        assert STRICT.is_valid(json.loads(text)), members
    for members in wrong:
        text = in_farm(**members)
        assert "error" in read_text(tmp_path, text)[1], members
        # What stands in a word is the language's to judge.
        numbers = not isinstance(members.get("check", {}).get("expect"), list)
        assert STRICT.is_valid(json.loads(text)) != numbers, members


def told(folder: Path, text: str) -> str:
    file = folder / "farms.lb"
    file.write_text(text)
    return draw(pipeline.read(str(file))[1])


def test_as_many_listeners_as_there_may_be(tmp_path: Path) -> None:
    """256 addresses and 256 ports; and another address."""
    assert MOST_LISTENERS == 256 * 256
    ports = ", ".join(str(2 * port + 1) for port in range(256))
    for count, right in ((256, True), (257, False)):
        addresses = ", ".join(f"203.0.{n >> 8}.{n & 255}" for n in range(count))
        text = f"farm web {{\n listen {addresses} tcp port {ports}\n backend a 10.0.0.1\n}}\n"
        assert (f"more than {MOST_LISTENERS} listeners" in told(tmp_path, text)) != right


def test_each_wrong_key_is_told(tmp_path: Path) -> None:
    """And each wrong part of one statement, with nothing said of the right ones."""
    text = "farm web {\n listen 203.0.113.1 tcp port 80\n backend a 10.0.0.1\n "
    keys = told(
        tmp_path, f"{text}persist source-ip, source-ip, source-port, source-port for 0s\n}}\n"
    )
    assert keys.count("is given twice") == 2
    assert "a persist time can't be zero" in keys
    both = told(tmp_path, f"{text}check http {{ expect 200, 700, 404, 99 }}\n}}\n")
    assert "'700' is not an HTTP status" in both
    assert "'99' is not an HTTP status" in both
    assert "'404'" not in both


@pytest.mark.parametrize(
    ("option", "longest", "message"),
    [
        ('http {{ body matches "{}" }}', "a" * 1000, "an expression has at most 1000 characters"),
        ('dns {{ name "{}" }}', f"{'a.' * 126}a", "can't be a name in the DNS"),
    ],
)
def test_the_longest_texts(tmp_path: Path, option: str, longest: str, message: str) -> None:
    text = "farm web {{\n listen 203.0.113.1 tcp port 80\n backend a 10.0.0.1\n check {}\n}}\n"
    assert "error" not in told(tmp_path, text.format(option.format(longest)))
    assert message in told(tmp_path, text.format(option.format(longest + "b.c")))


def test_the_longest_lists_and_the_finest_prefixes(tmp_path: Path) -> None:
    few = "define ports = { 1, 2, 3, 4, 5, 6, 7, 8 }\n"
    for count in (5, 6):  # 8^5 is half of what a list may have, 8^6 four times that
        names = [
            f"define p{n} = {{ {', '.join(['$ports' if n == 0 else f'$p{n - 1}'] * 8)} }}\n"
            for n in range(count - 1)
        ]
        found = told(
            tmp_path,
            f"{few}{''.join(names)}farm web {{\n listen 203.0.113.1 tcp port "
            f"$p{count - 2}\n backend a 10.0.0.1\n}}\n",
        )
        assert ("a list of more than 65536 values" in found) == (count == 6)
    family = {32: "203.0.113.1", 128: "2001:db8::1"}
    for bits, address in family.items():
        text = (
            f"farm web {{\n listen {address} tcp port 80\n backend a {address}\n persist source-ip/"
        )
        for prefix, right in ((1, True), (bits, True), (0, False), (bits + 1, False)):
            assert ("error" not in told(tmp_path, f"{text}{prefix}\n}}\n")) == right
        assert "error" in told(tmp_path, f"{text}4294967297\n}}\n")  # 1, and a bit too many
