"""nftlbc: the script of ``compile`` at first, ``apply`` from then on."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import commands, farms
from benchmarks.farms import Farms
from benchmarks.peers.peer import Peer, end

NFTLBC = [sys.executable, "-m", "nftlbc"]
CHECK = "check tcp { interval 1s; timeout 500ms; fall 2 }"


class Ours(Peer):
    checks = True
    _loop: subprocess.Popen[str] | None = None

    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        self.file = self.folder / "farms.lb"
        self.file.write_text(farms.written(wanted, CHECK if checked else ""))
        self._checked = checked

    def start(self) -> None:
        self.run([*NFTLBC, "apply", str(self.file)])
        if self._checked:
            command = [*self.network.balancer, *NFTLBC, "probe", str(self.file), "--every", "1s"]
            self._loop = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
            )

    def reload(self) -> None:
        self.run([*NFTLBC, "apply", str(self.file)])

    def stop(self) -> None:
        if self._loop is not None:
            end([self._loop.pid])
            self._loop.wait()
            self._loop = None


class Script(Ours):
    """The whole script once more, as who keeps it in a file does: ``nft -f``."""

    checks = False

    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        super().write(wanted)
        self.script = self.folder / "farms.nft"
        commands.once([*NFTLBC, "compile", str(self.file), "-o", str(self.script)])

    def start(self) -> None:
        self.run(["nft", "-f", str(self.script)])

    reload = start
