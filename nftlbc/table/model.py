"""An nftables table as typed values: maps with their elements, chains with their rules.

It knows no text: ``nft.script`` writes it, ``explain`` walks it, and a difference compares it.
Only what the program needs is here; docs/architecture.md shows the whole table.

Values in keys and elements: addresses are canonical text, protocols their names, ports, marks
and farm numbers are ints. A key of one part is that part, a longer one a tuple. In an interval
map the port is a pair (first, last), both included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from nftlbc.farms import Address, Family, Milliseconds, Protocol

OURS = 0x8000_0000
"""In the mark of every connection of ours, so that the owner's rules can tell."""
REPLACE_SOURCE = 0x4000_0000
"""In the marks of connections whose source address is replaced in postrouting."""
BACKEND_BITS = 0xBFFF_FFFF
"""The part of a mark that says which backend: all but REPLACE_SOURCE."""
NO_PRIORITY = 0
"""``meta priority none``: no farm has this number."""

FieldName = Literal[
    "ip saddr",
    "ip daddr",
    "ip6 saddr",
    "ip6 daddr",
    "th sport",
    "th dport",
    "meta l4proto",
    "meta priority",
    "ct mark",
]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the packet or of its connection."""

    name: FieldName
    prefix: int | None = None
    """For addresses: cut to this many bits."""


Concatenation = tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Hash:
    """``jhash`` of the fields, scaled to ``[0, modulus)``."""

    fields: Concatenation
    modulus: int
    seed: int
    offset: int = 0


Key = Concatenation


@dataclass(frozen=True, slots=True)
class Counter:
    """``numgen``: ``inc`` counts round, ``random`` draws."""

    kind: Literal["inc", "random"]
    modulus: int
    offset: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The data at a key of a map; where it is absent, the rule ends."""

    map: str
    key: Key


# Statements of a rule, in the order in which the kernel runs them.


@dataclass(frozen=True, slots=True)
class SetPriority:
    """The farm's number travels in ``meta priority`` (NO_PRIORITY: put back).

    A key that is too long for a concatenation travels there as its hash.
    """

    value: int | Hash


@dataclass(frozen=True, slots=True)
class SetMark:
    """``ct mark set``: to the data of a lookup, or to a slot's number."""

    value: Lookup | Counter | Hash


@dataclass(frozen=True, slots=True)
class AddToMark:
    """``ct mark set ct mark or BITS``."""

    bits: int


@dataclass(frozen=True, slots=True)
class MatchMark:
    """Goes on where ``ct mark and mask == value``."""

    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class MatchNew:
    """``ct state new``: goes on for a connection's first packet.

    The only other packet that our chains are shown is the reset by which a connection of the
    balancer's own was refused.
    """


@dataclass(frozen=True, slots=True)
class MatchTranslated:
    """``ct status dnat``: goes on for connections whose destination was translated."""


@dataclass(frozen=True, slots=True)
class MatchDirection:
    """Goes on for packets from who began the connection (``original``), or back to it."""

    direction: Literal["original", "reply"]


@dataclass(frozen=True, slots=True)
class MatchArrived:
    """Goes on for what did not come from this machine itself."""


@dataclass(frozen=True, slots=True)
class MatchNoReset:
    """Goes on for TCP packets that are no reset."""


@dataclass(frozen=True, slots=True)
class MatchMarkIn:
    """Goes on where the mark, masked, is an element of the set."""

    set: str
    mask: int


@dataclass(frozen=True, slots=True)
class MatchProtocol:
    """Goes on for these transport protocols."""

    protocols: tuple[Protocol, ...]


@dataclass(frozen=True, slots=True)
class MatchSet:
    """Goes on where the key is an element of the set."""

    set: str
    key: Key


@dataclass(frozen=True, slots=True)
class Jump:
    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    chain: str


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """``KEY vmap @MAP``: goes to the chain that the map names; absent, the rule ends."""

    map: str
    key: Key


@dataclass(frozen=True, slots=True)
class Remember:
    """``update @MAP { KEY timeout T : ct mark }``: adds, or refreshes without overwriting."""

    map: str
    key: Key
    timeout: Milliseconds


@dataclass(frozen=True, slots=True)
class Forget:
    """``delete @MAP { KEY : ct mark }``."""

    map: str
    key: Key


@dataclass(frozen=True, slots=True)
class Dnat:
    """Delivers to the address (and, ``with_port``, the port) at the mark in a map.

    Where the mark is absent the rule ends: that is how a backend that is gone shows.
    """

    family: Family
    map: str
    with_port: bool
    mask: int | None = None
    """Applied to the mark before the lookup."""
    port: Lookup | None = None


@dataclass(frozen=True, slots=True)
class Snat:
    family: Family
    map: str
    mask: int


@dataclass(frozen=True, slots=True)
class Masquerade:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    tcp_reset: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """No answer: the client sends again."""


Statement = (
    SetPriority
    | SetMark
    | AddToMark
    | MatchMark
    | MatchNew
    | MatchTranslated
    | MatchDirection
    | MatchArrived
    | MatchNoReset
    | MatchMarkIn
    | MatchProtocol
    | MatchSet
    | Jump
    | Goto
    | VerdictMap
    | Remember
    | Forget
    | Dnat
    | Snat
    | Masquerade
    | Reject
    | Drop
)
Rule = tuple[Statement, ...]


class Destination(NamedTuple):
    """Where a mark leads, and the name that the kernel keeps beside it (``farm/backend``)."""

    address: Address
    port: int | None
    name: str


class Note(NamedTuple):
    """What the kernel keeps beside an element of a set."""

    text: str


KeyPart = str | int | tuple[int, int]
ElementKey = KeyPart | tuple[KeyPart, ...]
ElementData = int | str | Destination | Note | None
"""A mark or port, a chain or an address, a destination; in a set a note or None."""
Elements = Mapping[ElementKey, ElementData]


@dataclass(frozen=True)
class Map:
    """A named map, or a set where ``data`` is None."""

    name: str
    key: str
    """As nft declares it, with ``type`` or ``typeof``."""
    data: str | None
    size: int | None = None
    flags: tuple[str, ...] = ()
    counter: bool = False
    sections: Mapping[str, Elements] = field(default_factory=dict)
    """The elements, farm by farm; a dynamic map has none here."""
    leased: Mapping[ElementKey, Milliseconds] = field(default_factory=dict)
    """How long these elements stay, from when they are added."""
    timeout: Milliseconds | None = None
    """Of elements that are added without one: nft 1.0.2 drops the one of an ``update``."""

    @property
    def dynamic(self) -> bool:
        """Its elements are the kernel's own."""
        return "dynamic" in self.flags

    @property
    def interval(self) -> bool:
        return "interval" in self.flags

    @cached_property
    def elements(self) -> Elements:
        merged: dict[ElementKey, ElementData] = {}
        for section in self.sections.values():
            merged.update(section)
        return merged


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the kernel calls a base chain. Those of type nat see a connection's first packet."""

    name: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int
    type: Literal["nat", "filter"] = "nat"


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None
    about: tuple[str, ...] = ()
    """Lines for the reader of the script."""
    comment: str = ""
    """What the kernel keeps beside it: a farm's number where it is not its name's hash."""


@dataclass(frozen=True)
class Table:
    maps: tuple[Map, ...]
    chains: tuple[Chain, ...]

    @cached_property
    def map(self) -> Mapping[str, Map]:
        return {each.name: each for each in self.maps}

    @cached_property
    def chain(self) -> Mapping[str, Chain]:
        return {each.name: each for each in self.chains}
