"""What is asked and what is answered: a packet, the steps it takes through a table, its end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from nftlbc.farms import Address, Family, Protocol, family_of
from nftlbc.table.model import BACKEND_BITS, ElementData, ElementKey, FieldName, KeyPart

EntryHook = Literal["prerouting", "output"]
Sticky = dict[str, dict[ElementKey, int]]
"""What the kernel remembers by itself: for each dynamic map its elements, client to mark."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection. Addresses are canonical text."""

    source: Address
    source_port: int | None
    """None: not known; what hangs on it is told as shares."""
    destination: Address
    port: int
    protocol: Protocol
    hook: EntryHook = "prerouting"
    """``output`` for what the balancer's own processes send."""

    @property
    def family(self) -> Family:
        return family_of(self.destination)


# Where a connection ends


@dataclass(frozen=True, slots=True)
class Delivered:
    name: str
    """The backend, ``farm/backend``."""
    mark: int
    """The connection's mark, with all its flags."""
    address: Address
    port: int
    port_of: Literal["listener", "backend", "client"]
    """Whose port it is: the listener's own, the backend's, or the one that the client asked for."""
    source: str = "kept"
    """What the backend sees of the client: ``kept``, ``masqueraded``, or another address."""

    @property
    def backend_name(self) -> str:
        """The backend's name without its farm's."""
        return self.name.rpartition("/")[2]

    @property
    def backend_mark(self) -> int:
        """The mark without the flag for a replaced source."""
        return self.mark & BACKEND_BITS


@dataclass(frozen=True, slots=True)
class Refused:
    how: Literal["tcp reset", "icmp", "silence"]
    """``silence``: dropped, which no table does that is whole."""


@dataclass(frozen=True, slots=True)
class NotOurs:
    """The table has nothing to say to it: it goes where it would have gone without."""


Sure = Delivered | Refused | NotOurs


@dataclass(frozen=True, slots=True)
class Share:
    share: Fraction
    outcome: Sure
    steps: tuple[Step, ...]
    """From the draw on."""

    @property
    def name(self) -> str | None:
        return self.outcome.name if isinstance(self.outcome, Delivered) else None


@dataclass(frozen=True, slots=True)
class Spread:
    """It can't be known which, only how often. The shares' sum is 1."""

    shares: tuple[Share, ...]


Outcome = Sure | Spread


# Steps


@dataclass(frozen=True, slots=True)
class Entered:
    chain: str
    by: Literal["hook", "jump", "goto"]


@dataclass(frozen=True, slots=True)
class Looked:
    """A lookup in a map or a set."""

    map: str
    key: ElementKey | None
    """None: it has a part that is not known."""
    found: bool
    data: ElementData = None


@dataclass(frozen=True, slots=True)
class Hashed:
    fields: tuple[tuple[FieldName, KeyPart], ...]
    """What was hashed: the packet's fields, cut to their prefixes."""
    slot: int
    """In ``[0, modulus)``."""
    modulus: int


@dataclass(frozen=True, slots=True)
class Drew:
    """A number of ``[0, modulus)`` that nothing about the packet tells."""

    by: Literal["inc", "random", "source port"]
    modulus: int
    number: int | None
    """None where nobody gave one: every number is followed."""


@dataclass(frozen=True, slots=True)
class Remembered:
    map: str
    key: ElementKey | None
    mark: int
    how: Literal["new", "refreshed", "map full"]


@dataclass(frozen=True, slots=True)
class Forgot:
    map: str
    key: ElementKey | None
    mark: int | None
    """None: there was nothing to forget."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The packet's fate at this rule: delivered, refused, or its source replaced."""

    verdict: Literal["dnat", "snat", "masquerade", "reject", "drop"]


Event = Entered | Looked | Hashed | Drew | Remembered | Forgot | Ended


@dataclass(frozen=True, slots=True)
class Step:
    chain: str
    rule: int
    """From 0."""
    event: Event


@dataclass(frozen=True, slots=True)
class Walk:
    packet: Packet
    outcome: Outcome
    steps: tuple[Step, ...]
    """To the end, or to the draw where the outcome is a Spread."""
