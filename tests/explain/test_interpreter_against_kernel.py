"""The interpreter and the kernel, asked the same."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hand_table import (
    DEAD,
    HAIRPIN,
    HASH4,
    LONG,
    LONG_SIZE,
    OWN,
    SHORT,
    SNAT,
    TABLE,
    TURN,
    address,
    listener,
    mark,
)
from namespace import NFTS, loopback

from nftlbc.explain.interpreter import Interpreter, in_turn
from nftlbc.explain.outcome import Delivered, Packet, Refused, Sticky, Sure
from nftlbc.nft.script import write
from nftlbc.table.model import Table

pytestmark = pytest.mark.kernel

PORTS = {80, 53, 81, 443, 450, 8443, 8080, 8000, 8050, 8099, 9001}
MASQUERADED = {4: "10.9.9.9", 6: "2001:db8:9::9"}


def clients(seed: int, count: int, different: int, six: bool = False) -> Iterable[tuple[str, int]]:
    """Addresses that repeat, with source ports that don't."""
    drawn = random.Random(seed)
    if six:
        known = [
            f"2001:db8:{n:x}:{n:x}::{drawn.randrange(1, 65535):x}" for n in range(1, different + 1)
        ]
    else:
        known = [f"10.5.{drawn.randrange(256)}.{drawn.randrange(1, 255)}" for _ in range(different)]
    return [(drawn.choice(known), 20_000 + 1_000 * seed + n) for n in range(count)]


def packet(source: tuple[str, int], destination: str, port: int) -> Packet:
    return Packet(*source, destination, port, "udp", "output")


PACKETS = [
    *(packet(each, listener(TURN), 80) for each in clients(1, 60, 9)),
    *(packet(each, listener(HASH4), 80) for each in clients(2, 60, 40)),
    *(packet(each, "2001:db8:3::4", 53) for each in clients(3, 60, 30, six=True)),
    *(
        packet(each, listener(OWN), port)
        for each, port in zip(clients(4, 6, 6), [80, 443, 450, 80, 443, 450], strict=True)
    ),
    *(packet(each, listener(SNAT), 80) for each in clients(5, 6, 3)),
    *(packet(each, listener(HAIRPIN), 80) for each in clients(6, 20, 10)),
    *(packet((address(HAIRPIN, 1), 27_100 + n), listener(HAIRPIN), 80) for n in range(8)),
    # The key of this farm is the client's network and its port: nine of them.
    *(packet((f"10.6.{n % 3}.{n}", 28_000 + n // 3 % 3), listener(LONG), 80) for n in range(1, 60)),
    *(packet(each, listener(DEAD), 80) for each in clients(8, 6, 3)),
    *(packet(each, listener(SHORT), 80) for each in clients(9, 6, 3)),
    packet(("10.5.0.1", 30_000), listener(99), 80),
    packet(("10.5.0.1", 30_001), listener(98), 80),
    packet(("10.5.0.1", 30_002), listener(TURN), 81),
]


def without(table: Table, gone: int) -> Table:
    """The table with one backend less, its slots given to another."""
    maps = []
    for each in table.maps:
        sections = each.sections
        if each.name == "backends4":
            sections = {
                farm: {key: data for key, data in section.items() if key != gone}
                for farm, section in sections.items()
            }
        elif each.name == "slots":
            sections = {
                farm: {key: gone + 1 if data == gone else data for key, data in section.items()}
                for farm, section in sections.items()
            }
        maps.append(replace(each, sections=sections))
    return Table(tuple(maps), table.chains)


def expected(table: Table, packets: Iterable[Packet], sticky: Sticky) -> list[Any]:
    """What the interpreter says, as loopback.py says it."""
    interpreter, draw = Interpreter(table), in_turn()
    return [
        (each, _told(each, interpreter.walk(each, sticky=sticky, draw=draw).outcome))  # type: ignore[arg-type]
        for each in packets
    ]


def _told(sent: Packet, outcome: Sure) -> list[object] | None:
    if isinstance(outcome, Refused):
        return None
    if not isinstance(outcome, Delivered):
        return [sent.destination, sent.port, sent.source]
    source = {"kept": sent.source, "masqueraded": MASQUERADED[sent.family]}
    return [outcome.address, outcome.port, source.get(outcome.source, outcome.source)]


def sending(packets: Iterable[Packet]) -> list[dict[str, Any]]:
    return [
        {"send": [each.source, each.source_port, each.destination, each.port]} for each in packets
    ]


@pytest.mark.parametrize("nft", NFTS)
def test_every_datagram_goes_where_the_interpreter_says(nft: str) -> None:
    sticky: Sticky = {}
    first = expected(TABLE, PACKETS, sticky)
    # A backend goes; its clients are given another and stay there.
    later = without(TABLE, mark(TURN, 1))
    again = [
        replace(each, source_port=each.source_port + 20_000)
        for each in PACKETS
        if each.source_port is not None
    ]
    second = expected(later, again, sticky)
    got = loopback(
        nft,
        PORTS,
        [{"load": write(TABLE)}, *sending(PACKETS), {"load": write(later)}, *sending(again)],
    )
    said = [*first, *second]
    assert [(sent, answer) for (sent, _), answer in zip(said, got, strict=True)] == said
    # It went everywhere: nothing above agrees because nothing happened.
    assert {answer[0] for answer in got if answer} >= {
        *(address(TURN, n) for n in (1, 2, 3)),
        *(address(HASH4, n) for n in (1, 2, 3, 4)),
        *(f"2001:db8:1::{n}" for n in (1, 2, 3)),
        listener(98),
    }
    assert None in got
    assert len(sticky["sticky-long"]) == LONG_SIZE
