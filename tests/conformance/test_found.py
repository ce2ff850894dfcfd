"""What the conformance run has found, each for itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from connections import Arrived, Ground
from namespaces import in_namespace

from nftlbc import pipeline
from nftlbc.explain.outcome import Packet
from nftlbc.plan import planning
from nftlbc.states import ByCheck, Remembered


@in_namespace
def test_who_is_kept_though_down_is_not_reset(tmp_path: Path) -> None:
    """when-all-down keep sent new connections to those that went down last, and on-down reset
    ended each of them with its first packet."""
    file = tmp_path / "farms.lb"
    file.write_text(
        "farm web { listen 198.18.0.1 tcp port 80; when-all-down keep; on-down reset; check tcp\n"
        "backend a 10.0.0.1 port 8080\nbackend b 10.0.0.2 port 8080\n}\n"
    )
    farms, _ = pipeline.read(str(file))
    planning.apply(farms)
    ground, asked = Ground(), Packet("172.16.0.1", 20_000, "198.18.0.1", 80, "tcp")
    with ground.serving({("tcp", 8080)}) as servers:
        for down, kept in (("a", {"10.0.0.2"}), ("ab", {"10.0.0.1", "10.0.0.2"})):
            found = set()
            for name in down:
                planning.change(lambda known, name=name: _down(known.farms, name))  # type: ignore[misc]
            for number in range(2):
                answer = servers.send(replace(asked, source_port=20_000 + 10 * len(down) + number))
                assert isinstance(answer, Arrived), answer
                found.add(answer.address)
            assert found == kept


def _down(farms, name):  # type: ignore[no-untyped-def]
    record = Remembered(check=ByCheck("down", 7, why="refused"))
    [farm] = farms
    return [
        replace(
            farm,
            backends=tuple(
                replace(each, remembered=record) if each.name == name else each
                for each in farm.backends
            ),
        )
    ]
