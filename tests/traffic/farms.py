"""Farms written in a test, compiled by the pipeline, loaded in a sandbox and asked."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.explain.interpreter import Interpreter
from nftlbc.explain.outcome import Delivered, Packet
from nftlbc.farms import Backend, Farm, Listener
from nftlbc.sandbox import Answer, Host, Layout, Protocol, Request, Sandbox
from nftlbc.table.model import Table

NFT = os.environ.get("NFTLBC_NFTS", "nft").split(":")[0]
"""The nft that loads the farms: the first of those that tests are to use."""
VIP = "203.0.113.10"
VIP6 = "2001:db8::10"


def read(text: str) -> tuple[Farm, ...]:
    """The farms of a text; a mistake in it is the test's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "farms.lb"
        path.write_text(text)
        return read_file(path)


def read_file(path: Path) -> tuple[Farm, ...]:
    farms, diagnostics = pipeline.read(os.fspath(path))
    assert not has_errors(diagnostics), draw(diagnostics)
    return farms


def compiled(text: str) -> str:
    """The script of a text's farms."""
    return pipeline.script(read(text))


def layout(*farms: Farm, clients: Sequence[str] = ()) -> Layout:
    """All addresses of the farms, and every port at which a backend may be asked."""
    listeners = [listener for farm in farms for listener in farm.listeners]
    backends = [backend.address for farm in farms for backend in farm.backends]
    extra = [address for farm in farms for address in farm.forward.addresses]
    ports: dict[str, set[int]] = {"tcp": set(), "udp": set(), "sctp": set()}
    for farm in farms:
        for listener in farm.listeners:
            for backend in farm.pool(listener.family):
                ports[listener.protocol].update(_ports(listener, backend))
    return Layout(
        listeners=_once(listener.address for listener in listeners),
        backends=_once(backends),
        tcp_ports=tuple(sorted(ports["tcp"])),
        udp_ports=tuple(sorted(ports["udp"])),
        sctp_ports=tuple(sorted(ports["sctp"])),
        extra=_once(extra),
        clients=tuple(clients),
    )


def _once(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(addresses))


def _ports(listener: Listener, backend: Backend) -> Iterable[int]:
    """Of a wide range, the ends: a server takes a descriptor for each."""
    if port := listener.to or backend.port:
        return (port,)
    wide = listener.last - listener.first > 100
    return (listener.first, listener.last) if wide else range(listener.first, listener.last + 1)


class Balancer:
    """A sandbox in which farms are loaded."""

    def __init__(self, box: Sandbox, farms: tuple[Farm, ...]) -> None:
        self.box = box
        self.names = {each.address: each.name for farm in farms for each in farm.backends}
        """Of each backend's address, the backend; farms of a test that share one do not ask."""

    def load(self, text: str) -> None:
        """Loads other farms over those that run."""
        self.load_script(compiled(text))

    def load_script(self, script: str) -> None:
        done = self.box.load(script)
        assert done.returncode == 0, done.stderr[:2000]

    def nft(self, *arguments: str, input: str = "") -> str:
        """What nft says at the balancer."""
        done = self.box.run("balancer", (*self.box.nft, *arguments), input)
        assert done.returncode == 0, done.stderr[:2000]
        return done.stdout

    def client(self, number: int, family: int = 4) -> str:
        return self.box.client_address(number, 6 if family == 6 else 4)

    def ask(
        self,
        count: int = 1,
        to: str = VIP,
        port: int = 80,
        protocol: Protocol = "tcp",
        *,
        host: Host = "clients",
        source: str | None = None,
        source_port: int = 0,
        parallel: int = 1,
    ) -> list[Answer]:
        """So many connections of one client."""
        request = Request(host, source, to, port, protocol, source_port)
        return self.box.ask([request] * count, parallel=parallel)

    def ask_from(
        self,
        sources: Iterable[str],
        to: str = VIP,
        port: int = 80,
        protocol: Protocol = "tcp",
        *,
        parallel: int = 1,
    ) -> list[Answer]:
        """A connection of each client."""
        requests = [Request("clients", source, to, port, protocol) for source in sources]
        return self.box.ask(requests, parallel=parallel)

    def named(self, answers: Iterable[Answer]) -> list[str]:
        """Who answered, by the backend's name; what else came of a request by that."""
        return [
            self.names.get(answer.backend, answer.backend) if answer.backend else answer.outcome
            for answer in answers
        ]

    def counted(self, answers: Iterable[Answer]) -> dict[str, int]:
        return dict(Counter(self.named(answers)))

    def sticky(self) -> int:
        """How many clients are remembered."""
        listing = self.nft("list", "table", "inet", "nftlbc")
        return listing.count(" expires ")


@contextmanager
def balancing(
    text: str,
    *more: str,
    clients: Sequence[str] = (),
    before: str = "",
    unlimited_icmp: bool = True,
    load: bool = True,
) -> Iterator[Balancer]:
    """The farms of ``text``, loaded in a sandbox that has the addresses of ``more`` farms too.

    ``before`` is what nft has loaded when the farms come.
    """
    farms = read(text)
    all_farms = (*farms, *(farm for other in more for farm in read(other)))
    box = Sandbox(layout(*all_farms, clients=clients), nft=NFT, unlimited_icmp=unlimited_icmp)
    with box:
        balancer = Balancer(box, all_farms)
        if before:
            balancer.load_script(before)
        if load:
            balancer.load_script(pipeline.script(farms))
        yield balancer


def predicted(table: Table, answers: Sequence[Answer]) -> list[str]:
    """Where the interpreter says that the requests go: ``farm/backend``, or what else."""
    interpreter = Interpreter(table)
    found = []
    for answer in answers:
        asked = answer.request
        assert asked.source is not None
        packet = Packet(
            asked.source,
            asked.source_port or None,
            asked.address,
            asked.port,
            asked.protocol,
            "output" if asked.host == "balancer" else "prerouting",
        )
        outcome = interpreter.walk(packet).outcome
        found.append(outcome.name if isinstance(outcome, Delivered) else type(outcome).__name__)
    return found
