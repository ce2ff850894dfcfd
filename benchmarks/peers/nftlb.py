"""nftlb, as a service that is told of farms by HTTP."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.farms import PORT, Farms, backend, listener
from benchmarks.peers.peer import PATIENCE, Peer, TooSlow, end, until

_KEY = "bench"
_ASK = """
import sys, urllib.request
data = sys.stdin.buffer.read()
where = "http://127.0.0.1:5555/farms" + sys.argv[2]
request = urllib.request.Request(where, data or None, {"Key": sys.argv[1]})
sys.stdout.write(urllib.request.urlopen(request, timeout=120).read().decode())
"""


class Nftlb(Peer):
    _service: subprocess.Popen[bytes] | None = None

    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        self._file = self.folder / "farms.json"
        self._file.write_text(
            json.dumps({"farms": [_farm(wanted, n) for n in range(wanted.count)]})
        )
        changed = [{"name": "app1", "weight": str(wanted.weight(0, 0))}]
        self._change = json.dumps({"farms": [{"name": "farm0", "backends": changed}]})

    def start(self) -> None:
        command = ["nftlb", "-k", _KEY, "-H", "127.0.0.1", "-P", "5555", "-c", str(self._file)]
        self._service = subprocess.Popen(
            [*self.network.balancer, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if not until(self._answers, PATIENCE):
            raise TooSlow("nftlb")

    def _answers(self) -> bool:
        return self._ask("", "/farm0").returncode == 0

    def _ask(self, text: str, path: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self.network.balancer, "python3", "-c", _ASK, _KEY, path]
        return subprocess.run(command, input=text, text=True, capture_output=True)

    def reload(self) -> None:
        """What a change is here: the farm's new weights, by its interface."""
        done = self._ask(self._change)
        if done.returncode or "success" not in done.stdout:
            raise SystemExit(f"nftlb refuses the change: {done.stdout}{done.stderr[-300:]}")

    def stop(self) -> None:
        if self._service is not None:
            end([self._service.pid])
            self._service.wait()
            self._service = None


def _farm(wanted: Farms, number: int) -> dict[str, Any]:
    backends = [
        {
            "name": f"app{each + 1}",
            "ip-addr": backend(number, each),
            "port": str(PORT),
            "weight": str(weight),
            "priority": "1",
            "state": "up",
        }
        for each, weight in enumerate(wanted.weights(number))
    ]
    farm: dict[str, Any] = {
        "name": f"farm{number}",
        "family": "ipv4",
        "virtual-addr": listener(number),
        "virtual-ports": "80",
        "mode": "dnat",
        "protocol": "tcp",
        "scheduler": "weight",
        "state": "up",
        "backends": backends,
    }
    if wanted.persist:
        farm |= {"persistence": "srcip", "persist-ttl": "300"}
    return farm
