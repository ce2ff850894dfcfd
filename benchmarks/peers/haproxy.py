"""HAProxy in TCP mode, with a master that hands the sockets on, as Debian's unit starts it.

(``-sf`` without a master refuses some connections at each reload: 23 of 20 000 in 26 reloads.)
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from benchmarks.farms import PORT, Farms, backend, listener
from benchmarks.peers.peer import PATIENCE, Peer, TooSlow, end, family, until

_HEAD = """global
    maxconn 2000
defaults
    mode tcp
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    option redispatch 1
"""


class Haproxy(Peer):
    checks = True
    _master = 0
    """Its process; a reload empties the file of its number for a moment."""

    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        self._file, self._pid = self.folder / "haproxy.cfg", self.folder / "pid"
        self._file.write_text(_HEAD + "\n".join(_lines(wanted, checked)) + "\n")

    def start(self) -> None:
        self.run(["haproxy", "-W", "-D", "-f", str(self._file), "-p", str(self._pid)])
        self._master = int(self._pid.read_text().split()[0])
        if not until(lambda: bool(self._workers()), PATIENCE):
            raise TooSlow("haproxy")

    def reload(self) -> None:
        """Returns when there is a new worker, which has the old one's sockets."""
        before = self._workers()
        if not until(self._hears, PATIENCE):
            raise TooSlow("haproxy")
        os.kill(self._master, signal.SIGUSR2)
        if not until(lambda: bool(self._workers() - before), PATIENCE):
            raise TooSlow("haproxy")

    def _hears(self) -> bool:
        """A master that is still at its start loses the signal."""
        status = Path(f"/proc/{self._master}/status").read_text()
        masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
        bit = 1 << signal.SIGUSR2 - 1
        return bool(int(masks["SigCgt"], 16) & bit) and not int(masks["SigBlk"], 16) & bit

    def stop(self) -> None:
        end(self.processes())

    def processes(self) -> list[int]:
        return family(self._master) if self._master else []

    def _workers(self) -> set[int]:
        return set(self.processes()[1:])


def _lines(wanted: Farms, checked: bool) -> Iterator[str]:
    check = " check inter 1s fall 2" if checked else ""
    for number in range(wanted.count):
        yield f"listen farm{number}"
        yield f"    bind {listener(number)}:80"
        yield "    balance roundrobin"
        if wanted.persist:
            yield "    stick-table type ip size 64k expire 5m"
            yield "    stick on src"
        for each, weight in enumerate(wanted.weights(number)):
            address = f"{backend(number, each)}:{PORT}"
            yield f"    server app{each + 1} {address} weight {weight}{check}"
