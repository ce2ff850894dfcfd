"""The typed model: what a farms file says, with nothing left of how it was written.

Both forms of a file (``.lb`` and ``.json``) become these values; every later pass
(rules, schedule, table, try, explain) reads nothing else. Addresses are canonical text
(as nft prints them), so equal addresses are equal strings; times are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from typing import Protocol as Interface

from nftlbc.source import Place
from nftlbc.states import NOTHING, Remembered, Standing

Address = str
"""An IPv4 or IPv6 address in canonical text: ``10.0.0.1``, ``2001:db8::1``."""

Milliseconds = int
Family = Literal[4, 6]
Protocol = Literal["tcp", "udp", "sctp"]
KeyField = Literal["source-ip", "source-port", "destination-ip", "destination-port"]
BackendState = Literal["up", "drain", "down"]
ForwardKind = Literal["dnat", "masquerade", "snat"]
Scheduler = Literal[
    "round-robin",
    "random",
    "hash",
    "consistent",
    "least-connections",
    "least-response",
    "least-cpu",
    "custom",
]

FAMILIES: tuple[Family, ...] = (4, 6)
KEYED_SCHEDULERS = frozenset({"hash", "consistent"})
DYNAMIC_SCHEDULERS = frozenset({"least-connections", "least-response", "least-cpu", "custom"})

CONSISTENT_SLOTS = 4093
"""Slots of a consistent farm that names none: a prime, as in IPVS ``mh``."""

PERSIST_TIMEOUT: Milliseconds = 300_000
"""How long a sticky client is remembered after its last connection when no ``for`` says it."""


class Origin(Interface):
    """Where something of the model was written."""

    def place(self, part: str) -> Place: ...


def family_of(address: Address) -> Family:
    """The family of a canonical address."""
    return 6 if ":" in address else 4


class Key(NamedTuple):
    """One part of what a client is known by.

    Addresses may be cut to a prefix (a length in bits): ``prefix`` alone is for the one family of
    the farm; a farm of both families has one for IPv4 and ``prefix6`` for IPv6.
    """

    field: KeyField
    prefix: int | None = None
    prefix6: int | None = None

    def bits(self, family: Family) -> int | None:
        """The length that an address of the family is cut to; None: not at all."""
        if self.prefix is None:
            return None
        bits = self.prefix6 if family == 6 and self.prefix6 is not None else self.prefix
        return None if bits == (32 if family == 4 else 128) else bits

    def __str__(self) -> str:
        return "/".join(str(part) for part in self if part is not None)


@dataclass(frozen=True, slots=True)
class Listener:
    """An address, a protocol and a range of ports (``first`` to ``last``, both included)."""

    address: Address
    protocol: Protocol
    first: int
    last: int
    to: int | None = None
    """This listener's own backend port; it comes before the backend's ``port``."""
    place: Place | None = field(default=None, compare=False, repr=False)

    @property
    def family(self) -> Family:
        return family_of(self.address)

    def __str__(self) -> str:
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{ports}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Backend:
    """A server: where it is, how much it takes, and what is known of its state."""

    name: str
    address: Address
    port: int | None = None
    """None: the port that the client asked for."""
    weight: int = 1
    backup: bool = False
    state: BackendState = "up"
    """What the file says."""
    origin: Origin | None = field(default=None, compare=False, repr=False)
    remembered: Remembered = NOTHING
    """What a running table says beside it."""

    def place(self, part: str) -> Place | None:
        """Where ``name``, ``address``, ``port``, ``weight`` or ``state`` was written."""
        return self.origin.place(part) if self.origin else None

    @property
    def family(self) -> Family:
        return family_of(self.address)

    @property
    def standing(self) -> Standing:
        """The worst of what the file, a hand and the checks say."""
        known = self.remembered
        return self.state if known is NOTHING else known.standing(self.state)

    @property
    def live(self) -> bool:
        """Its known clients are delivered to it."""
        return self.standing != "down"

    @property
    def takes_new(self) -> bool:
        """New clients may be given to it (backups only once the quorum is missed)."""
        return self.standing == "up" and self.weight > 0

    def __str__(self) -> str:
        if self.port is None:
            return self.address
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Forward:
    """``dnat`` keeps the client's address; ``masquerade`` and ``snat`` replace it."""

    kind: ForwardKind = "dnat"
    addresses: tuple[Address, ...] = ()
    """For snat: at most one of each family."""


@dataclass(frozen=True, slots=True)
class Balance:
    scheduler: Scheduler = "round-robin"
    keys: tuple[Key, ...] = ()
    slots: int = CONSISTENT_SLOTS
    """For ``consistent``: the fixed number of slots."""

    def __str__(self) -> str:
        return " ".join([self.scheduler, *([", ".join(map(str, self.keys))] if self.keys else [])])


@dataclass(frozen=True, slots=True)
class Persistence:
    keys: tuple[Key, ...]
    timeout: Milliseconds = PERSIST_TIMEOUT
    size: int | None = None
    """Entries of a sticky map of the farm's own; None: the map shared by all with these keys."""


CheckValue = int | str | bool | tuple[str | int | tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One health check. ``options`` are those of its kind, in the order of their names."""

    kind: str
    port: int | None = None
    source: Address | None = None
    interval: Milliseconds = 5_000
    timeout: Milliseconds = 2_000
    fall: int = 3
    rise: int = 2
    options: tuple[tuple[str, CheckValue], ...] = ()


@dataclass(frozen=True, slots=True)
class Farm:
    name: str
    listeners: tuple[Listener, ...]
    backends: tuple[Backend, ...]
    forward: Forward = Forward()
    balance: Balance = Balance()
    persistence: Persistence | None = None
    quorum: int = 1
    hairpin: bool = False
    on_down: Literal["keep", "reset"] = "keep"
    when_all_down: Literal["refuse", "keep"] = "refuse"
    slow_start: Milliseconds = 0
    count_traffic: bool = False
    on_change: tuple[str, ...] = ()
    """The command and its arguments, or nothing."""
    checks: tuple[Check, ...] = ()
    mistaken: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Keywords of what is missing here, or not as it was written, because of mistakes already
    told. Only the rules see such farms, to tell all mistakes at once."""
    inherited: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Keywords of what is not the farm's own word but its file's defaults."""
    origin: Origin | None = field(default=None, compare=False, repr=False)

    def place(self, part: str) -> Place | None:
        """Where a statement was written, by its keyword; ``name`` is the farm's own name."""
        return self.origin.place(part) if self.origin else None

    @property
    def moving(self) -> bool:
        """Its weights move while it runs: it has a fixed number of slots, whoever is up."""
        return self.balance.scheduler in DYNAMIC_SCHEDULERS or (
            self.slow_start > 0 and self.balance.scheduler != "consistent"
        )

    @property
    def families(self) -> tuple[Family, ...]:
        """The families it listens in: each is a pool of its own."""
        listening = {listener.family for listener in self.listeners}
        return tuple(family for family in FAMILIES if family in listening)

    def pool(self, family: Family) -> tuple[Backend, ...]:
        """The backends that serve a family's listeners, in the file's order."""
        return tuple(backend for backend in self.backends if backend.family == family)
