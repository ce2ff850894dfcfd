"""When most of them fall silent at once, the balancer's own network is the likelier cause."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from network import Network, farm, network

pytestmark = pytest.mark.kernel

HELD = "more than half of the machines fell silent at once: states are kept, for now"
ALL = [f"10.0.0.{n}" for n in range(1, 13)]


@pytest.mark.parametrize(
    "check",
    [
        "check tcp { interval 800ms; timeout 200ms; fall 2; rise 1 }",
        # When the first one has failed twice, hardly anybody else was asked.
        "check tcp { interval 4s; timeout 200ms; fall 3; rise 1 }",
    ],
)
def test_states_are_kept_and_believed_when_it_lasts(tmp_path: Path, check: str) -> None:
    short = "800ms" in check
    with network(tmp_path, farm(12, check)) as net, net.loop() as loop:
        # A single one is believed at once, however silent.
        net.box.stop_servers(ALL[0], outcome="silent")
        loop.says("web/b1 down")
        net.box.start_servers(ALL[0])
        loop.says("web/b1 up")
        cut(net, True)
        loop.says(HELD)
        if short:
            # It comes back in time: nothing has happened.
            cut(net, False)
            time.sleep(1)
            assert len(loop.lines) == 3, loop.text
            assert set(net.who(24)) == set(ALL)
            cut(net, True)
            loop.says("nobody takes new clients")
            assert sum(" down: " in line for line in loop.lines) == 13
            assert sum(HELD in line for line in loop.lines) == 1  # once a minute
        else:
            time.sleep(1)
            assert "down" not in "".join(loop.lines[2:]), loop.text
        cut(net, False)


def cut(net: Network, silent: bool) -> None:
    """The way to all servers."""
    if silent:
        rule = "type filter hook input priority 0\ndrop\n"
        script = f"table inet cut {{\nchain in {{\n{rule}}}\n}}\n"
        net.nft("-f", "-", input=script, host="servers")
    else:
        net.nft("delete", "table", "inet", "cut", host="servers")


def test_no_hold(tmp_path: Path) -> None:
    text = farm(12, "check tcp { interval 800ms; timeout 200ms; fall 2; rise 1 }")
    with network(tmp_path, text) as net, net.loop("--no-hold") as loop:
        cut(net, True)
        loop.says("nobody takes new clients")
        assert HELD not in loop.text
