"""explain --live and the kernel, asked the same: real connections, one after the other."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from namespaces import in_namespace, nft
from running import Loopback, command, farms, written

from nftlbc.explain import live
from nftlbc.explain.outcome import Delivered, Packet, Refused, Spread
from nftlbc.explain.story import Story, story
from nftlbc.farms import Farm
from nftlbc.plan import planning
from nftlbc.plan.recall import Recalled
from nftlbc.states import ByCheck, ByHand, Remembered

FARMS = """
farm turn {
    listen 10.3.0.1 tcp port 80
    listen 2001:db8:3::1 tcp port 80
    persist source-ip for 5m
    backend app1 10.1.0.1 port 8080
    backend app2 10.1.0.2 port 8080 weight 2
    backend app3 10.1.0.3 port 8080
    backend app4 10.1.0.4 port 8080 state drain
    backend six1 2001:db8:1::1 port 8080
    backend six2 2001:db8:1::2 port 8080
}
farm hashed {
    listen 10.3.0.2 tcp port 80
    balance hash source-ip
    backend app1 10.1.1.1 port 8080
    backend app2 10.1.1.2 port 8080
    backend app3 10.1.1.3 port 8080
}
farm steady {
    listen 10.3.0.3 tcp port 80
    balance consistent source-ip/24 slots 101
    backend app1 10.1.2.1 port 8080
    backend app2 10.1.2.2 port 8080
    backend app3 10.1.2.3 port 8080
}
farm long {
    listen 2001:db8:3::4 tcp port 80
    persist source-ip/64, destination-ip for 1h
    backend six1 2001:db8:1::41 port 8080
    backend six2 2001:db8:1::42 port 8080
}
farm network {
    listen 10.3.0.5 tcp port 80
    persist source-ip/24, destination-port for 10m
    backend app1 10.1.4.1 port 8080
    backend app2 10.1.4.2 port 8080
}
farm off {
    listen 10.3.0.6 tcp port 80
    backend app1 10.1.5.1 port 8080
}
"""
LISTENERS = {
    "turn": "10.3.0.1",
    "hashed": "10.3.0.2",
    "steady": "10.3.0.3",
    "network": "10.3.0.5",
    "off": "10.3.0.6",
}
LISTENERS6 = {"turn": "2001:db8:3::1", "long": "2001:db8:3::4"}


def asked(packet: Packet) -> Story:
    found = live.read(packet)
    assert not found.drift
    memory = found.memory
    return story(found.farms, found.table, packet, sticky=memory.marks, left=memory.left)


class Trial:
    def __init__(self) -> None:
        self.net = Loopback([8080])
        self.port = 20_000
        self.seen: Counter[tuple[str, str]] = Counter()

    def both(self, farm: str, source: str) -> Story:
        """Predicts one connection, makes it, and holds the two against each other."""
        self.port += 1
        target = (LISTENERS6 if ":" in source else LISTENERS)[farm]
        told = asked(Packet(source, self.port, target, 80, "tcp", "output"))
        got = self.net.arrival(source, self.port, target, 80)
        outcome = told.walk.outcome
        match outcome:
            case Delivered():
                assert got == outcome.address, (farm, source, told)
            case Refused():
                assert got is None, (farm, source, told)
            case Spread():
                assert got in {each.address for each in told.delivered}, (farm, source, told)
            case _:
                pytest.fail(f"{farm} {source}: {told}")
        kind = told.known.state if told.known else "-"
        self.seen[farm, f"{kind} {type(outcome).__name__}"] += 1
        return told


def remember(farm: str, **records: Remembered) -> None:
    """As drain, disable and the checks do it."""

    def edit(table: Recalled) -> list[Farm]:
        return [
            replace(
                each,
                backends=tuple(
                    replace(backend, remembered=records[backend.name])
                    if each.name == farm and backend.name in records
                    else backend
                    for backend in each.backends
                ),
            )
            for each in table.farms
        ]

    planning.change(edit)


@in_namespace
def test_every_connection_goes_where_it_was_said(tmp_path: Path) -> None:
    trial = Trial()
    planning.apply(farms(FARMS))
    clients = [f"10.5.{n}.{n * 7 % 250 + 1}" for n in range(8)]
    clients6 = [f"2001:db8:5:{n + 1:x}::{n * 11 + 1:x}" for n in range(4)]

    def round_() -> dict[tuple[str, str], Story]:
        found = {(farm, each): trial.both(farm, each) for farm in LISTENERS for each in clients}
        return found | {(farm, s): trial.both(farm, s) for farm in LISTENERS6 for s in clients6}

    first, second = round_(), round_()
    for farm in ("turn", "network", "long"):
        for at in [each for each in first if each[0] == farm]:
            known = second[at].known
            assert first[at].known.state == "new"  # type: ignore[union-attr]
            assert known is not None
            assert known.state == "known", at
            assert known.backend == second[at].delivered[0].backend_name
            whole = second[at].farm.persistence.timeout  # type: ignore[union-attr]
            assert known.left is not None
            assert whole - 60_000 < known.left <= whole
    now = int(time.time())
    remember(
        "turn",
        app1=Remembered(hand=ByHand("drain", "alice", now)),
        app2=Remembered(hand=ByHand("disable", "alice", now)),
        six1=Remembered(check=ByCheck("down", now, why="refused")),
    )
    remember("hashed", app2=Remembered(check=ByCheck("down", now)))
    remember("steady", app2=Remembered(hand=ByHand("disable", "alice", now)))
    remember("off", app1=Remembered(hand=ByHand("disable", "alice", now)))
    clients += [f"10.6.{n}.9" for n in range(4)]
    third = round_()
    fourth = round_()
    # It all happened: nothing above agrees because nothing was asked.
    assert {
        ("turn", "new Spread"),
        ("turn", "known Delivered"),
        ("turn", "gone Delivered"),  # app3 alone takes new clients by now
        ("long", "known Delivered"),
        ("network", "known Delivered"),
        ("hashed", "- Delivered"),
        ("steady", "- Delivered"),
        ("off", "- Delivered"),
        ("off", "- Refused"),
    } <= set(trial.seen)
    held = [each for each in third.values() if each.known and each.known.backend == "app1"]
    assert held, "nobody is known to the backend that drains"
    assert all(each.known.state == "known" for each in fourth.values() if each.known)  # type: ignore[union-attr]
    shares = {farm: set() for farm in ("hashed", "steady")}
    for (farm, _), each in fourth.items():
        if farm in shares:
            shares[farm].add(each.delivered[0].backend_name)
    assert shares == {"hashed": {"app1", "app3"}, "steady": {"app1", "app3"}}
    _commands(clients[0])
    trial.net.close()


def _commands(client: str) -> None:
    """The same by the command, and sessions agrees with both."""
    told = command("explain", "--live", client, "10.3.0.1:80/tcp")
    assert told.returncode == 0, told.stderr
    document = json.loads(command("explain", "--live", "--json", client, "10.3.0.1:80/tcp").stdout)
    backend = document["persist"]["backend"]
    assert f"sticky    known as a client of {backend} for another 4m 5" in told.stdout
    assert "without   app1: draining (by hand, alice): its known clients stay" in told.stdout
    assert "          app2: down (by hand, alice)" in told.stdout
    assert document["drift"] == []
    (session,) = json.loads(command("sessions", "turn", "--json", "--client", client).stdout)[
        "sessions"
    ]
    assert session["backend"] == backend
    assert session["client"] == {"source-ip": client}
    (network,) = json.loads(command("sessions", "network", "--json", "--client", client).stdout)[
        "sessions"
    ]
    assert network["client"] == {
        "source-ip": f"{client.rpartition('.')[0]}.0/24",
        "destination-port": 80,
    }
    long = command("sessions", "long").stdout.splitlines()
    assert len(long) == 5
    assert all(" hashed 0x" in line for line in long[1:])


@in_namespace
def test_drift_is_told(tmp_path: Path) -> None:
    question = ("explain", "--live", "10.5.0.1", "10.3.0.1:80/tcp")
    none = command(*question)
    assert none.returncode == 3
    assert "there is no table inet nftlbc" in none.stderr
    assert "nftlbc apply FILE" in none.stderr
    assert command("apply", written(tmp_path, FARMS)).returncode == 0
    nft("insert rule inet nftlbc farm-turn-4 counter\n")
    slots = planning.read().maps["slots_1024"].elements  # type: ignore[union-attr]
    slot = next(iter(slots))
    nft(f"delete element inet nftlbc slots_1024 {{ {slot} }}\n")
    drifted = command(*question)
    assert drifted.returncode == 0
    assert "drift     other rules than its farms make in chain farm-turn-4" in drifted.stdout
    assert "other elements than its farms make in map slots_1024" in drifted.stdout
    nft("add table inet nftlbc { flags dormant; }\n")
    assert "switched off (dormant)" in command(*question).stdout
    listeners = "services4_1024 { 10.3.0.1 . tcp . 80 }"
    nft(f"delete element inet nftlbc {listeners}\n")
    assert "listens there" in command(*question).stdout
    assert command(*question, "more").returncode == 2


@in_namespace
def test_a_slot_that_leads_nowhere_is_followed_as_it_is(tmp_path: Path) -> None:
    """The elements that are walked are the kernel's, and not those that should be there."""
    net = Loopback([8080])
    assert command("apply", written(tmp_path, FARMS)).returncode == 0
    packet = Packet("10.5.0.1", 20_001, "10.3.0.3", 80, "tcp", "output")
    outcome = asked(packet).walk.outcome
    assert isinstance(outcome, Delivered)
    kernel = planning.read()
    assert kernel is not None
    (name,) = [name for name in kernel.maps if name.startswith("slots_")]
    other = next(
        mark
        for mark, data in kernel.maps["backends4_1024"].elements.items()
        if data.name.startswith("steady/") and data.address != outcome.address  # type: ignore[union-attr]
    )
    mine = [slot for slot, mark in kernel.maps[name].elements.items() if mark == outcome.mark]
    nft(f"delete element inet nftlbc {name} {{ {', '.join(map(str, mine))} }}\n")
    nft(f"add element inet nftlbc {name} {{ {', '.join(f'{each} : {other}' for each in mine)} }}\n")
    found = live.read(packet)
    assert len(found.drift) == 1
    then = story(found.farms, found.table, packet).walk.outcome
    assert isinstance(then, Delivered)
    assert then.mark == other
    assert net.arrival("10.5.0.1", 20_001, "10.3.0.3", 80) == then.address
    net.close()
