"""Other people's tables as values. Statements stay as nft's JSON has them: what they mean is
worked out where they are walked, and most are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Family = Literal["ip", "ip6", "inet", "netdev"]
FAMILIES: Final[tuple[Family, ...]] = ("ip", "ip6", "inet", "netdev")
"""Those that can stand in a balanced packet's way; arp can't, and bridge sees what it bridges."""

Statement = Any
"""``{"match": {...}}``, ``{"accept": null}``; text where nft has no JSON for it."""


@dataclass(frozen=True, slots=True)
class Rule:
    statements: tuple[Statement, ...]
    label: str
    """How a person finds it: ``handle 7``, or the line of iptables-save."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the kernel calls a chain."""

    kind: str
    """``filter``, ``nat`` or ``route``."""
    name: str
    """``prerouting``, ``forward``, ``ingress``, ..."""
    priority: int
    policy: Literal["accept", "drop"]
    devices: tuple[str, ...] | None = None
    """For ingress; None: nft did not tell."""


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None


@dataclass(frozen=True)
class Table:
    family: Family
    name: str
    chains: Mapping[str, Chain]
    sets: Mapping[str, tuple[Any, ...]]
    """The elements of its named sets and maps, as nft's JSON has them."""
    made_by: Literal["nft", "iptables-nft", "iptables-legacy"] = "nft"
    hidden: bool = False
    """Some of its rules say what only iptables-save can tell, and that is not here."""

    def __str__(self) -> str:
        if self.made_by == "nft":
            return f"table {self.family} {self.name}"
        if self.made_by == "iptables-nft":
            return f"{self.program}' table {self.name}"
        return f"{self.program}-legacy's table {self.name}"

    @property
    def program(self) -> str:
        """For iptables' tables: the command that works on them."""
        return "ip6tables" if self.family == "ip6" else "iptables"

    def sees(self, family: Literal[4, 6]) -> bool:
        """Packets of a family come by."""
        return self.family not in ("ip6" if family == 4 else "ip",)

    def hooked(self, *names: str) -> list[Chain]:
        """Its chains at these hooks, in the order in which the kernel calls them."""
        found = [each for each in self.chains.values() if each.hook and each.hook.name in names]
        return sorted(found, key=lambda each: each.hook.priority if each.hook else 0)
