"""What one check in progress knows of itself, and what checks of a run share."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nftlbc.probe.result import Finding

Made = TypeVar("Made")


@dataclass
class Shared:
    """Things that are dear to make: TLS contexts, SNMP engines.

    A new one reads the files of authorities and secrets again.
    """

    _made: dict[Hashable, Any] = field(default_factory=dict)
    _endings: list[Callable[[], object]] = field(default_factory=list)

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for the key, or is made now; what failed is tried again."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def at_end(self, ending: Callable[[], object]) -> None:
        self._endings.append(ending)

    def close(self) -> None:
        self._made.clear()
        while self._endings:
            self._endings.pop()()


@dataclass
class Attempt:
    """One check in progress."""

    shared: Shared
    limit: float
    """Seconds."""
    begin: float = field(default_factory=time.monotonic)
    step: str = "no answer"
    """What is to be said if the time is over now."""
    heard: bool = False
    """Something came back."""

    @property
    def left(self) -> float:
        """Seconds, for a part that has to keep to them by itself."""
        return max(0.001, self.limit - (time.monotonic() - self.begin))

    def overdue(self) -> Finding:
        text = f"{self.step} within {self.limit:g}s"
        return Finding(text, "timeout", passed=False, silent=not self.heard)
