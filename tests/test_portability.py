"""Every nft loads every script: on an empty machine, over itself, and is asked for it.

NFTLBC_NFTS names the nft programs, separated by colons; without it, the machine's own.
"""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from generate import farms_texts
from hypothesis import given, settings

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.explain.interpreter import Interpreter
from nftlbc.explain.outcome import Delivered, Packet, Refused, Spread
from nftlbc.farms import KEYED_SCHEDULERS, Backend, Family, Farm, Listener
from nftlbc.sandbox import Layout, Sandbox
from nftlbc.schedule.dynamic import fixed_count
from nftlbc.table.model import Destination, ElementData, Hash, SetMark, Table

SCRIPTS = sorted((Path(__file__).parent / "golden" / "scripts").rglob("*.nft"))
NFTS = os.environ.get("NFTLBC_NFTS", "nft").split(":")
LAYOUT = Layout(listeners=("203.0.113.10", "2001:db8::10"), backends=("10.0.0.1", "2001:db8:1::1"))
TABLE = ("table", "inet", "nftlbc")


@pytest.mark.kernel
@pytest.mark.parametrize("nft", NFTS)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_loads_over_itself_and_can_be_listed(script: Path, nft: str) -> None:
    _load_and_list(script.read_text(), nft)


def _load_and_list(script: str, nft: str) -> None:
    with Sandbox(LAYOUT, nft=nft) as box:
        listings = []
        for _ in range(2):
            loaded = box.load(script)
            assert loaded.returncode == 0, f"{nft}: {loaded.stderr[:2000]}"
            listed = box.run("balancer", (*box.nft, "-s", "list", *TABLE))
            # A death by signal, too, is a status that is not 0.
            assert listed.returncode == 0, f"{nft}: {listed.stderr[:2000]}"
            listings.append(sorted(listed.stdout.split()))
        assert listings[0] == listings[1]
        asked = box.run("balancer", (*box.nft, "-j", "list", *TABLE))
        assert asked.returncode == 0, f"{nft}: {asked.stderr[:2000]}"


@pytest.mark.kernel
@settings(max_examples=20)
@given(text=farms_texts())
def test_any_farms_file_loads_with_every_nft(text: str) -> None:
    script = pipeline.script(_read(text))
    for nft in NFTS:
        _load_and_list(script, nft)


@settings(max_examples=100)
@given(text=farms_texts())
def test_any_farms_file_gives_exact_shares(text: str) -> None:
    farms = _read(text)
    table = pipeline.table(farms)
    interpreter = Interpreter(table)
    for farm in farms:
        for listener in farm.listeners:
            expected = _shares(farm, listener.family)
            if farm.balance.scheduler in KEYED_SCHEDULERS:
                _check_slots(table, farm, listener.family, expected)
            else:
                for port in (listener.first, listener.last):
                    told = _told(interpreter, listener, port)
                    if farm.moving:
                        _check_nearly(farm, listener.family, told, expected)
                    else:
                        assert told == expected


def _read(text: str) -> tuple[Farm, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "farms.lb"
        path.write_text(text, "utf-8")
        farms, diagnostics = pipeline.read(str(path))
    assert not has_errors(diagnostics), draw(diagnostics)
    return farms


def _check_nearly(
    farm: Farm, family: Family, told: dict[str, Fraction], expected: dict[str, Fraction]
) -> None:
    """Where weights move the number of slots is fixed, and with somebody down shares are as near
    as whole slots allow. Everyone has one, which the others pay for."""
    weights = tuple(0 if each.backup else each.weight for each in farm.pool(family))
    slot = Fraction(1, fixed_count(weights) or len(expected) or 1)
    assert told.keys() == expected.keys()
    given = sum(share == slot for share in told.values())
    for name, share in told.items():
        assert share == slot or abs(share - expected[name]) < slot * (1 + given)


def _shares(farm: Farm, family: Family) -> dict[str, Fraction]:
    """What the language promises: of each backend that takes new clients, weight by weight."""
    able = [each for each in farm.pool(family) if each.state == "up" and each.weight > 0]
    regular = [each for each in able if not each.backup]
    takers: list[Backend] = regular if len(regular) >= farm.quorum else able
    total = sum(each.weight for each in takers)
    return {f"{farm.name}/{each.name}": Fraction(each.weight, total) for each in takers}


def _told(interpreter: Interpreter, listener: Listener, port: int) -> dict[str, Fraction]:
    """What the table does with a new client, by the interpreter."""
    source = "198.51.100.7" if listener.family == 4 else "2001:db8:c::7"
    packet = Packet(source, None, listener.address, port, listener.protocol)
    outcome = interpreter.walk(packet).outcome
    if isinstance(outcome, Refused):
        return {}
    if isinstance(outcome, Spread):
        return {str(each.name): each.share for each in outcome.shares}
    assert isinstance(outcome, Delivered)
    return {outcome.name: Fraction(1)}


def _check_slots(table: Table, farm: Farm, family: Family, expected: dict[str, Fraction]) -> None:
    """A hash draws from the farm's slots: exact ones, or within one of a fixed number."""
    rules = table.chain[f"farm-{farm.name}-{family}"].rules
    drawn = [each.value for rule in rules for each in rule if isinstance(each, SetMark)]
    if not expected:
        assert not drawn
        return
    [value] = drawn
    assert isinstance(value, Hash)
    slots = next(each for each in table.maps if each.name.startswith("slots_")).elements
    names = {
        mark: data.name
        for each in table.maps
        for mark, data in each.elements.items()
        if isinstance(data, Destination)
    }
    owners = [names[_mark(slots[value.offset + number])] for number in range(value.modulus)]
    found = {name: Fraction(owners.count(name), len(owners)) for name in set(owners)}
    assert set(found) == set(expected)
    if farm.moving:
        _check_nearly(farm, family, found, expected)
    elif farm.balance.scheduler == "hash":
        assert found == expected
    elif all(each.state == "up" and not each.backup for each in farm.pool(family)):
        for name, share in found.items():
            assert abs(share - expected[name]) <= Fraction(1, value.modulus)


def _mark(data: ElementData) -> int:
    assert isinstance(data, int)
    return data
