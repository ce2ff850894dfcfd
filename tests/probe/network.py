"""A balancer with clients and servers in a sandbox, and nftlbc run there as an operator would."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.sandbox import Answer, Host, Layout, Request, Sandbox

VIP = "203.0.113.10"
NFT = os.environ.get("NFTLBC_NFTS", "nft").split(":")[0]
NFTLBC = (sys.executable, "-m", "nftlbc")
HERE = Path(__file__).parent
PATIENCE = 20.0
"""Seconds for what takes one, on a machine that has other things to do."""


def farm(
    count: int = 4,
    check: str = "check tcp { interval 300ms; timeout 300ms; fall 2; rise 2 }",
    more: str = "",
    name: str = "web",
    port: int = 80,
    listen: str = VIP,
) -> str:
    """Backends b1, b2, ... at 10.0.0.1, ..."""
    backends = "".join(f"    backend b{n} 10.0.0.{n} port 8080\n" for n in range(1, count + 1))
    listener = f"    listen {listen} tcp port {port}\n"
    return f"farm {name} {{\n{listener}{backends}    {check}\n    {more}\n}}\n"


class Call(NamedTuple):
    """One client's connection."""

    began: float
    """CLOCK_MONOTONIC, as ``time.monotonic`` here."""
    by: str
    """The address that answered."""
    wrong: str


class Network:
    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box, self.folder, self.file = box, folder, folder / "farms.lb"

    def write(self, text: str) -> None:
        """The farms file, as an editor replaces it."""
        new = self.folder / "farms.new"
        new.write_text(text)
        new.replace(self.file)

    def nftlbc(
        self, *arguments: str, status: int = 0, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = self.box.run("balancer", (*NFTLBC, *arguments), timeout=timeout)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, done
        return done

    def probe(self, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.nftlbc("probe", str(self.file), *options, status=status)

    def apply(self, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.nftlbc("apply", str(self.file), *options, status=status)

    def nft(self, *arguments: str, input: str = "", host: Host = "balancer") -> str:
        done = self.box.run(host, (*self.box.nft, *arguments), input)
        assert done.returncode == 0, done.stderr[:2000]
        return done.stdout

    def status(self) -> dict[str, str]:
        """The states of backends by FARM/BACKEND."""
        document = json.loads(self.nftlbc("status", "--json").stdout)
        return {
            f"{farm['name']}/{backend['name']}": backend["state"]
            for farm in document["farms"]
            for pool in farm["pools"]
            for backend in pool["backends"]
        }

    def ask(self, count: int = 1, port: int = 80, address: str = VIP) -> list[Answer]:
        return self.box.ask([Request("clients", None, address, port)] * count)

    def who(self, count: int = 1, port: int = 80) -> Counter[str]:
        """Who answers new connections; what else came of them, by that."""
        return Counter(each.backend or each.outcome for each in self.ask(count, port))

    @contextmanager
    def clients(self, gap: float = 0.005, patience: float = 1.0, *how: str) -> Iterator[list[Call]]:
        """Connections all the while; the list is filled when the block ends."""
        ready = self.folder / "crowd.ready"
        ready.unlink(missing_ok=True)
        numbers = (VIP, "80", str(gap), str(patience))
        script = (sys.executable, str(HERE / "crowd.py"), str(ready), *numbers, *how)
        command = self.box.start_command("clients", script)
        calls: list[Call] = []
        wait_for(ready.exists)
        try:
            yield calls
        finally:
            done = command.stop(signal.SIGTERM, timeout=PATIENCE)
            calls += [Call(*each) for each in json.loads(done.stdout or "[]")]
        assert done.returncode == 0, done.stderr

    @contextmanager
    def shops(self, *addresses: str) -> Iterator[Path]:
        """Servers on port 8080 that are processes; the folder of their files."""
        with ExitStack() as ends:
            for each in addresses:
                ends.callback(self.open(each))
            yield self.folder

    def open(self, address: str) -> Callable[[], object]:
        (self.folder / f"{address}.pid").unlink(missing_ok=True)
        script = (sys.executable, str(HERE / "shop.py"), str(self.folder), address, "8080")
        command = self.box.start_command("servers", script)
        wait_for((self.folder / f"{address}.pid").exists)
        return lambda: command.stop(signal.SIGKILL)

    def strike(self, address: str, signal_: str) -> None:
        """Sends a signal to a shop."""
        number = (self.folder / f"{address}.pid").read_text()
        self.box.run("servers", ("kill", f"-{signal_}", number))

    @contextmanager
    def loop(
        self,
        *options: str,
        every: str = "500ms",
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (*NFTLBC, "probe"),
    ) -> Iterator[Loop]:
        """``probe --every`` from when it is ready; ends it, which it must do well."""
        words = [*program, os.fspath(self.file), f"--every={every}", *options]
        loop = Loop(self, words, environment or {})
        try:
            yield loop
        except BaseException:
            print(loop.text, loop.errors, sep="\n")
            raise
        finally:
            loop.close()
        assert loop.status == 0, loop.errors
        assert loop.errors == "" or "on-change" in loop.text, loop.errors


class Loop:
    def __init__(
        self, network: Network, words: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self._network = network
        folder = network.folder
        self._out, self._err, self._pid = folder / "out", folder / "err", folder / "pid"
        path = folder / "notify"
        path.unlink(missing_ok=True)
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(os.fspath(path))
        self._manager.settimeout(PATIENCE)
        self.told: list[str] = []
        """What the service manager was told."""
        self.status: int | None = None
        variables = {"NOTIFY_SOCKET": os.fspath(path), **environment}
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        shell = (
            f"echo $$ >{self._pid}; {settings} exec {shlex.join(words)} >{self._out} 2>{self._err}"
        )
        self._command = network.box.start_command("balancer", ("sh", "-c", shell))
        try:
            self.hears("READY=1")
        except TimeoutError:
            raise AssertionError(self.text + self.errors) from None

    def hears(self, word: str) -> None:
        """Waits until the manager is told."""
        while word not in self.told:
            self.told += self._manager.recv(4096).decode().split("\n")

    @property
    def text(self) -> str:
        return self._out.read_text() if self._out.exists() else ""

    @property
    def errors(self) -> str:
        return self._err.read_text() if self._err.exists() else ""

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def says(self, text: str, after: int = 0, within: float = PATIENCE) -> float:
        """Waits for a line with the text, after so many lines; when it was seen."""
        wait_for(
            lambda: any(text in line for line in self.lines[after:]), within, lambda: self.text
        )
        return time.monotonic()

    @property
    def pid(self) -> str:
        return self._pid.read_text().strip()

    def strike(self, signal_: str) -> None:
        self._network.box.run("balancer", ("kill", f"-{signal_}", self.pid))

    def close(self) -> float:
        """SIGTERM; how long it took to end."""
        begin = time.monotonic()
        if self.status is None:
            self.status = self._command.stop(signal.SIGTERM, timeout=PATIENCE).returncode
            self._manager.setblocking(False)
            while True:
                try:
                    self.told += self._manager.recv(4096).decode().split("\n")
                except BlockingIOError:
                    break
            self._manager.close()
        return time.monotonic() - begin


def wait_for(
    true: Callable[[], Any], within: float = PATIENCE, told: Callable[[], str] = str
) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, told()
        time.sleep(0.01)


@contextmanager
def network(
    folder: Path, text: str, *more: str, servers: bool = True, apply: bool = True
) -> Iterator[Network]:
    """A sandbox for the farms of a text, which are applied, and of others that come later.

    servers: one process answers for all backends, who can be silenced by ``box.stop_servers``.
    """
    farms = []
    for each in (text, *more):
        (folder / "layout.lb").write_text(each)
        some, wrong = pipeline.read(os.fspath(folder / "layout.lb"))
        assert not has_errors(wrong), draw(wrong)
        farms += some
    once = dict.fromkeys
    listeners = [each for farm in farms for each in farm.listeners]
    layout = Layout(
        listeners=tuple(once(each.address for each in listeners)),
        backends=tuple(once(each.address for farm in farms for each in farm.backends)),
        tcp_ports=_ports(farms, "tcp") if servers else (),
        udp_ports=_ports(farms, "udp") if servers else (),
    )
    with Sandbox(layout, nft=NFT, unlimited_icmp=True) as box:
        found = Network(box, folder)
        found.write(text)
        if apply:
            found.apply()
        yield found


def _ports(farms: Iterable[Any], protocol: str) -> tuple[int, ...]:
    ports = {
        listener.to or backend.port or listener.first
        for farm in farms
        for listener in farm.listeners
        for backend in farm.backends
        if listener.protocol == protocol
    }
    return tuple(sorted(ports))
