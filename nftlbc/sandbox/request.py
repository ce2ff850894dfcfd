"""What the sandbox's clients ask, and what they learn."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Host: TypeAlias = Literal["clients", "balancer", "servers"]
Protocol: TypeAlias = Literal["tcp", "udp", "sctp"]
Family: TypeAlias = Literal[4, 6]
Outcome: TypeAlias = Literal["answered", "refused", "unreachable", "silent", "reset", "failed"]

HOSTS: tuple[Host, Host, Host] = ("clients", "balancer", "servers")


@dataclass(frozen=True)
class Request:
    """One TCP connection, UDP datagram or SCTP INIT to `address`:`port`.

    host: the namespace that it comes from.
    source: the address that it comes from, any of that host's; None leaves the choice to
        the kernel (from "clients": the first client's address).
    source_port: 0 lets the sandbox choose.
    hold: keep the TCP connection (or the UDP socket, and so its flow) open after the
        answer, for `Sandbox.talk` and `Sandbox.release`. Not for SCTP.
    """

    host: Host
    source: str | None
    address: str
    port: int
    protocol: Protocol = "tcp"
    source_port: int = 0
    hold: bool = False

    def __post_init__(self) -> None:
        if self.host not in HOSTS:
            raise ValueError(f"no host {self.host!r} in a sandbox: it has {', '.join(HOSTS)}")
        if self.protocol not in ("tcp", "udp", "sctp"):
            raise ValueError(f"no protocol {self.protocol!r}: a request is tcp, udp or sctp")
        if self.hold and self.protocol == "sctp":
            raise ValueError("an SCTP request is one INIT: there is nothing to hold")


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    outcome:
        answered     a backend told its name
        refused      TCP RST, SCTP ABORT, ICMP port or protocol unreachable; also EPERM,
                     which is how a process of the balancer itself learns of a reject rule
        unreachable  ICMP, or no route: host or network unreachable
        silent       nothing came within the timeout
        reset        the connection was established and then reset
        failed       anything else; `error` has the errno's name
    backend, backend_port: where the request arrived, as the backend saw it.
    seen, seen_port: where the backend saw it come from.
    seconds: from before connect() to the answer, or to giving up.
    error: name of the errno behind an outcome, such as "ECONNREFUSED"; else "".
    connection: the number of a held connection within its host; None where none is held.
    """

    request: Request
    outcome: Outcome
    backend: str | None = None
    backend_port: int | None = None
    seen: str | None = None
    seen_port: int | None = None
    seconds: float = 0.0
    error: str = ""
    connection: int | None = None
