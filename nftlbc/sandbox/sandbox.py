"""Clients, a balancer and its servers in namespaces of their own, and how to use them."""

import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from types import TracebackType

from nftlbc.sandbox.command import Command, RunCommand
from nftlbc.sandbox.construction import build
from nftlbc.sandbox.crowd import Crowd, Traffic
from nftlbc.sandbox.errors import SandboxError
from nftlbc.sandbox.layout import FamilyPlan, Layout
from nftlbc.sandbox.outages import Outage, Place, outage_script
from nftlbc.sandbox.processes import Processes
from nftlbc.sandbox.programs import find_program
from nftlbc.sandbox.request import Answer, Family, Host, Request
from nftlbc.sandbox.topology import Topology


class Sandbox:
    """A small network of its own, for as long as the `with` block lasts.

        clients --- balancer --- servers

    Nothing of the machine's own network is read or changed, and nothing is left behind,
    however the process ends. No root needed; as root, nft's transactions may be larger
    (elsewhere about 150 KB of script).

    All backends share one host, and reach each other without the balancer, as in one
    subnet: a backend that asks its own farm hears nothing unless the farm masquerades.

    layout: which addresses and ports there shall be.
    nft: the command, or the command and its first arguments.
    unlimited_icmp: the balancer tells of every datagram that it refuses. By default the
        kernel limits that, as on any machine: of 100 refused in 2 s, 7 were told. The
        servers are never limited.

    Raises ProgramMissing and ValueError at once; entering raises SandboxNotAllowed where
    the system allows no namespaces, SandboxError for all else that goes wrong.

    `ask`, `talk`, `listen` and `release` wait for one another; commands and background
    traffic go on beside them, from other threads too.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        nft: str | Sequence[str] = "nft",
        unlimited_icmp: bool = False,
    ) -> None:
        self.layout = layout
        self.nft = find_program(nft)
        self._ip = find_program("ip")
        self._topology = Topology(layout)
        self._unlimited_icmp = unlimited_icmp
        self._processes: Processes | None = None
        self._crowd: Crowd | None = None
        self._outages: dict[Place, Outage] = {}

    def __enter__(self) -> "Sandbox":
        if self._processes is not None:
            raise SandboxError("the sandbox is open already")
        with ExitStack() as undo:
            undo.callback(self.close)
            self._processes = Processes()
            self._crowd = Crowd(self._processes)
            build(
                self._processes,
                self._topology,
                ip=self._ip,
                nft=self.nft,
                unlimited_icmp=self._unlimited_icmp,
            )
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything in it; once more does no harm."""
        if self._processes is not None:
            self._processes.close()
        self._processes = self._crowd = None
        self._outages.clear()

    def client_address(self, index: int, family: Family = 4) -> str:
        """The address of the client numbered `index`, from 0.

        Raises ValueError where the clients' network (a /16, a /64) has no such address, or
        the layout nothing of this family.
        """
        network = self._plan(family).clients[0]
        # Neither the network's address nor IPv4's broadcast address.
        if not 0 <= index < network.num_addresses - 2:
            raise ValueError(f"the clients' network {network} has no address {index}")
        return str(network[index + 1])

    def balancer_address(self, family: Family = 4) -> str:
        """The balancer's address on its link to the servers: what they see of `masquerade`."""
        return str(self._plan(family).balancer_to_servers)

    def load(self, script: str, *, timeout: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """`nft -f -` at the balancer. A refusal is told by the status, not raised."""
        return self.run("balancer", (*self.nft, "-f", "-"), script, timeout=timeout)

    def run(
        self, host: Host, argv: Sequence[str], input: str = "", *, timeout: float = 30.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run any command in a namespace: its status and output, as text.

        It sees the machine's files and /proc; process numbers there are not its own.
        timeout: seconds; past them it is killed and subprocess.TimeoutExpired raised.
        Raises FileNotFoundError where it cannot be started.
        """
        return self.start_command(host, argv, input).wait(timeout)

    def start_command(self, host: Host, argv: Sequence[str], input: str = "") -> Command:
        """The same, in the background."""
        job = RunCommand(tuple(argv), input.encode())
        return Command(argv, self._open[0].job(host, job))

    def ask(
        self, requests: Iterable[Request], *, parallel: int = 1, timeout: float = 2.0
    ) -> list[Answer]:
        """Send requests; the answers in the order of the requests.

        parallel: how many of each host are on their way at once; 1 sends them strictly one
            after the other, whichever hosts they come from.
        timeout: seconds for each request, after which its outcome is "silent".
        """
        return self._open[1].ask(list(requests), parallel, timeout)

    def start(
        self,
        requests: Iterable[Request],
        *,
        parallel: int = 1,
        timeout: float = 2.0,
        repeat: bool = True,
    ) -> Traffic:
        """Send requests in the background, over and over (or once), until `Traffic.stop`.

        Raises ValueError for requests of several hosts (start each), and for held ones.
        """
        return self._open[1].start(tuple(requests), parallel, timeout, repeat)

    def talk(
        self, held: Sequence[Answer], text: str = "hello", *, timeout: float = 2.0
    ) -> list[Answer]:
        """Say a word on each held connection, on all at once.

        An answer tells who repeated it; "silent" is that nothing came. A TCP connection with
        any other outcome, such as "reset", is held no more; a UDP flow always is.
        Raises ValueError for answers that hold no connection.
        """
        if not text or text != text.strip() or "\n" in text:
            raise ValueError("a word without spaces or newlines around it, please")
        return self._open[1].converse(held, text.encode(), timeout)

    def listen(self, held: Sequence[Answer], *, timeout: float = 2.0) -> list[Answer]:
        """Say nothing and wait: "silent" is a connection that knows of no trouble."""
        return self._open[1].converse(held, b"", timeout)

    def release(self, held: Sequence[Answer] | None = None, *, reset: bool = True) -> None:
        """Close held connections (None: all), with RST or with FIN."""
        self._open[1].release(held, reset=reset)

    def stop_servers(
        self, address: str, port: int | None = None, *, outcome: Outage = "refused"
    ) -> None:
        """Let a backend answer no more, on one port (TCP, UDP and SCTP) or on all.

        outcome: what its clients see: "refused" (RST, port unreachable), "unreachable"
            (host unreachable) or "silent" (nothing). Open connections see it as well.
        Raises ValueError for what is no backend of the layout.
        """
        self._outages[self._backend(address), port] = outcome
        self._load_outages()

    def start_servers(self, address: str, port: int | None = None) -> None:
        """Take back `stop_servers` of the same address and port; without a port, all of
        the address's."""
        backend = self._backend(address)
        for place in tuple(self._outages):
            if place[0] == backend and port in (None, place[1]):
                del self._outages[place]
        self._load_outages()

    def _backend(self, address: str) -> str:
        backend = ip_address(address)
        if backend not in self.layout.server_addresses:
            raise ValueError(f"{address} is no backend of the layout")
        return str(backend)

    def _load_outages(self) -> None:
        script = outage_script(self._outages)
        done = self.run("servers", (*self.nft, "-f", "-"), script)
        if done.returncode != 0:
            raise SandboxError(f"nft refused an outage: {done.stderr.strip()[-500:]}")

    def _plan(self, family: Family) -> FamilyPlan:
        if family not in self._topology.plans:
            raise ValueError(f"the layout has no IPv{family} address")
        return self._topology.plans[family]

    @property
    def _open(self) -> tuple[Processes, Crowd]:
        if self._processes is None or self._crowd is None:
            raise SandboxError("the sandbox is not open")
        return self._processes, self._crowd
