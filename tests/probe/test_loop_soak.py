"""The loop under random faults: it stays right, and grows by nothing.

NFTLBC_SOAK=SECONDS makes it longer than a few seconds.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from network import HERE, VIP, Loop, Network, farm, network, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(0)]

SECONDS = float(os.environ.get("NFTLBC_SOAK", "8"))
QUICK = "interval 200ms; timeout 200ms; fall 2; rise 1"
COUNT = 12


def farms(port: str = "") -> str:
    tcp, run = f"check tcp {{ {port}{QUICK} }}", f'check exec {{ command "/bin/true"; {QUICK} }}'
    called = 'on-change exec "/bin/true"'
    flows = "".join(f" backend b{n} 10.0.0.{n} port 53\n" for n in range(1, 5))
    return (
        farm(COUNT, tcp, called)
        + farm(4, f"{tcp}\n    {run}", "balance least-connections\n    slow-start 2s", "least", 81)
        + farm(4, tcp, "persist source-ip\n    on-down reset", "reset", 82)
        + f"farm dns {{\n listen {VIP} udp port 53\n{flows} check tcp {{ port 8080; {QUICK} }}\n}}\n"
    )


def fault(net: Network, loop: Loop, chance: random.Random, done: Counter[str]) -> None:
    kind = chance.choice(
        ["out"] * 6
        + ["back"] * 6
        + ["hand", "flush", "apply", "edit", "mistake", "hang-up", "foreign"]
    )
    done[kind] += 1
    address = f"10.0.0.{chance.randint(1, COUNT)}"
    if kind == "out":
        net.box.stop_servers(address, outcome=chance.choice(["refused", "silent", "unreachable"]))
    elif kind == "back":
        net.box.start_servers(address)
    elif kind == "hand":
        word = chance.choice(["drain", "disable", "enable"])
        net.nftlbc(word, f"web/b{chance.randint(1, COUNT)}", "--quiet")
    elif kind == "flush":
        net.nft("flush", "ruleset")
    elif kind == "apply":
        net.write(farms())
        net.box.run("balancer", (sys.executable, "-m", "nftlbc", "apply", str(net.file)))
    elif kind == "edit":
        net.write(farms("port 8080; "))
    elif kind == "mistake":
        net.write("farm web {")
    elif kind == "hang-up":
        loop.strike("HUP")
    else:
        net.nft("add", "table", "inet", f"other{chance.randint(1, 5)}")
    net.ask(8, chance.choice([80, 81, 82]))
    time.sleep(chance.uniform(0, 0.3))


def test_it_stays_right_and_does_not_grow(tmp_path: Path) -> None:
    chance, done = random.Random(int(SECONDS)), Counter[str]()
    figures = tmp_path / "figures"
    program = (sys.executable, str(HERE / "soaking.py"), str(figures))
    with network(tmp_path, farms()) as net, net.loop(program=program) as loop:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            fault(net, loop, chance, done)
        heal(net)
        begin = time.monotonic()
        wait_for(lambda: set(net.status().values()) == {"up"}, within=60)
        print(f"\nall is up {time.monotonic() - begin:.1f} s after the last fault")
        seen = net.who(2 * COUNT)
        assert seen == {f"10.0.0.{n}": 2 for n in range(1, COUNT + 1)}
        time.sleep(3)
        assert "Traceback" not in loop.errors
    rows = [json.loads(line) for line in figures.read_text().splitlines()]
    first, last = rows[2 : 2 + len(rows) // 4] or rows, rows[-3:]
    print(f"{sum(done.values())} faults in {SECONDS:.0f} s: {dict(done)}; {len(loop.lines)} lines")
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(
            f"{name:9} first quarter {median(row[name] for row in first):6.0f}, most"
            f" {max(values):6}, at the end {min(row[name] for row in last):6}"
        )
    idle = {name: min(row[name] for row in last) for name in rows[0]}
    assert idle["files"] <= 30
    assert idle["threads"] <= 16
    assert idle["children"] <= 4  # those of exec checks, asked just then
    assert idle["tasks"] <= 2 * COUNT + 10
    # Python's own caches fill up in the first minutes.
    assert idle["resident"] < 1.3 * median(row["resident"] for row in first) + 10_000


def heal(net: Network) -> None:
    net.write(farms())
    for n in range(1, COUNT + 1):
        net.box.start_servers(f"10.0.0.{n}")
    wait_for(lambda: net.nft("list", "tables").count("nftlbc"))
    net.apply()
    net.nftlbc("enable", "*/*", "--quiet")
