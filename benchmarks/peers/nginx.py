"""nginx with its stream module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from benchmarks.farms import PORT, Farms, backend, listener
from benchmarks.peers.peer import PATIENCE, Peer, TooSlow, end, family, until

_HEAD = """load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes auto;
error_log {folder}/error.log;
pid {folder}/pid;
events {{ worker_connections {room}; }}
stream {{
    proxy_connect_timeout 3s;
"""


class Nginx(Peer):
    checks = True

    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        self._file, self._pid = self.folder / "nginx.conf", self.folder / "pid"
        head = _HEAD.format(folder=self.folder, room=wanted.count + 4000)
        self._file.write_text(head + "\n".join(_lines(wanted)) + "\n}\n")

    def _command(self, *more: str) -> list[str]:
        return ["nginx", "-p", str(self.folder), "-c", str(self._file), *more]

    def start(self) -> None:
        self.run(self._command())
        until(self._pid.exists, 10)
        until(lambda: len(self.processes()) > 1, 60)

    def reload(self) -> None:
        """Returns when there are new workers, and only those take new connections."""
        before = set(self.processes())
        self.run(self._command("-s", "reload"))
        if not until(lambda: bool(set(self.processes()) - before), PATIENCE):
            raise TooSlow("nginx")

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            master = int(self._pid.read_text())
            end(family(master))

    def processes(self) -> list[int]:
        with contextlib.suppress(OSError, ValueError):
            return family(int(self._pid.read_text()))
        return []


def _lines(wanted: Farms) -> Iterator[str]:
    for number in range(wanted.count):
        yield f"upstream farm{number} {{"
        if wanted.persist:
            yield "    hash $remote_addr consistent;"
        for each, weight in enumerate(wanted.weights(number)):
            yield f"    server {backend(number, each)}:{PORT} weight={weight} max_fails=1;"
        yield "}"
        yield f"server {{ listen {listener(number)}:80; proxy_pass farm{number}; }}"
