"""Farms nobody wrote: each connection goes where the interpreter of their table says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from farms import NFT, Balancer, layout, read
from generate import farms_text

from nftlbc import pipeline
from nftlbc.explain.interpreter import Interpreter, in_turn
from nftlbc.explain.outcome import Delivered, Packet, Refused, Sticky
from nftlbc.farms import Farm, Listener
from nftlbc.sandbox import Answer, Host, Request, Sandbox

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("seed", range(12))
def test_connections_go_where_the_interpreter_says(seed: int) -> None:
    farms = read(farms_text(Random(seed), farms=5, backends=4, checks=False))
    farms = tuple(_lasting(farm) for farm in farms)
    table = pipeline.table(farms)
    interpreter, turn = Interpreter(table), in_turn()
    sticky: Sticky = {}
    with Sandbox(layout(*farms), nft=NFT, unlimited_icmp=True) as box:
        lb = Balancer(box, farms)
        lb.load_script(pipeline.script(farms))
        for farm, request in _requests(lb, farms):
            [answer] = box.ask([request])
            assert request.source is not None
            hook = "output" if request.host == "balancer" else "prerouting"
            packet = Packet(
                *(request.source, request.source_port, request.address, request.port),
                *(request.protocol, hook),  # type: ignore[arg-type]
            )
            told = interpreter.walk(packet, sticky=sticky, draw=turn).outcome
            _compare(lb, farm, told, answer)


def _lasting(farm: Farm) -> Farm:
    """Nothing that expires while it is being asked, and no chance."""
    balance = farm.balance
    if balance.scheduler == "random":
        balance = replace(balance, scheduler="round-robin")
    persistence = farm.persistence and replace(farm.persistence, timeout=300_000)
    return replace(farm, balance=balance, persistence=persistence)


def _requests(lb: Balancer, farms: tuple[Farm, ...]) -> Iterator[tuple[Farm, Request]]:
    """From clients, from the balancer, from backends; no source port twice, nor a server's."""
    served = {*lb.box.layout.tcp_ports, *lb.box.layout.udp_ports, *lb.box.layout.sctp_ports}
    free = (port for port in count(1024) if port not in served)
    for farm in farms:
        for listener in farm.listeners:
            for port in {listener.first, listener.last}:
                for host, source in _sources(lb, farm, listener):
                    address, protocol = listener.address, listener.protocol
                    yield farm, Request(host, source, address, port, protocol, next(free))


def _sources(lb: Balancer, farm: Farm, listener: Listener) -> Iterator[tuple[Host, str]]:
    family = listener.family
    for number in (1, 2, 300, 1):
        yield "clients", lb.client(number, family)
    if listener.protocol != "sctp":
        yield "balancer", listener.address
    if farm.hairpin or farm.forward.kind != "dnat":
        for backend in farm.pool(family):
            yield "servers", backend.address


def _compare(lb: Balancer, farm: Farm, told: object, answer: Answer) -> None:
    if isinstance(told, Refused):
        assert answer.outcome == "refused", (farm, answer)
        return
    assert isinstance(told, Delivered)
    balancer = lb.box.balancer_address(6 if ":" in told.address else 4)
    seen = {"kept": answer.request.source, "masqueraded": balancer}.get(told.source, told.source)
    expected = (told.address, told.port, seen)
    assert (answer.backend, answer.backend_port, answer.seen) == expected, (farm, answer)
