"""iptables: a chain for each farm, ``statistic`` to choose and ``recent`` to remember."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.farms import PORT, Farms, backend, listener
from benchmarks.peers.peer import Peer


class Iptables(Peer):
    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        self._rules = self.folder / "rules"
        self._rules.write_text("\n".join(_lines(wanted)) + "\n")

    def start(self) -> None:
        self.run(["iptables-restore", str(self._rules)])


def _lines(wanted: Farms) -> Iterator[str]:
    yield "*nat"
    yield ":PREROUTING ACCEPT [0:0]"
    for number in range(wanted.count):
        yield f":F{number} - [0:0]"
        if wanted.persist:
            yield from (f":F{number}B{each} - [0:0]" for each, _ in enumerate(wanted.weights(0)))
    for number in range(wanted.count):
        yield f"-A PREROUTING -d {listener(number)}/32 -p tcp -m tcp --dport 80 -j F{number}"
        yield from _farm(wanted, number)
    yield "COMMIT"


def _farm(wanted: Farms, number: int) -> Iterator[str]:
    weights = wanted.weights(number)
    ways = []
    for each in range(len(weights)):
        dnat = f"-p tcp -j DNAT --to-destination {backend(number, each)}:{PORT}"
        own = f"F{number}B{each}"
        if not wanted.persist:
            ways.append(dnat)
            continue
        ways.append(f"-j {own}")
        yield f"-A {own} -m recent --name {own} --set {dnat}"
        yield f"-A F{number} -m recent --name {own} --rcheck --seconds 300 --reap -j {own}"
    for each, way in enumerate(ways):
        left = sum(weights[each:])
        share = f"-m statistic --mode random --probability {weights[each] / left:.8f} "
        yield f"-A F{number} {share if each < len(ways) - 1 else ''}{way}"
