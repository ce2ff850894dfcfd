"""A packet on its way through a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from nftlbc.explain.outcome import Delivered, Event, Packet, Step, Sure
from nftlbc.explain.registers import Missing
from nftlbc.table.model import NO_PRIORITY, Chain, ElementKey


@dataclass(slots=True)
class State:
    """A packet on its way, and its connection."""

    packet: Packet
    mark: int | Sequence[int] = 0
    """Several: any one of these, all as likely."""
    priority: int | Missing = NO_PRIORITY
    chain: Chain | None = None
    rule: int = 0
    statement: int = 0
    stack: list[tuple[Chain | None, int]] = field(default_factory=list)
    waiting: tuple[Chain, ...] = ()
    """Base chains that the hook still calls."""
    share: Fraction = Fraction(1)
    steps: list[Step] = field(default_factory=list)
    remembered: dict[tuple[str, ElementKey], int | None] = field(default_factory=dict)
    """Elements that it added to (or, None: deleted from) dynamic maps."""
    delivered: Delivered | None = None
    routed: bool = False
    """It has left the hook for destinations."""
    outcome: Sure | None = None

    def note(self, event: Event) -> None:
        self.steps.append(Step(self.chain.name if self.chain else "", self.rule, event))

    def replace_source(self, source: str) -> None:
        if self.delivered is not None:
            self.delivered = replace(self.delivered, source=source)

    def fork(self, mark: int | Sequence[int], share: Fraction) -> State:
        """The same packet, with one of the marks that it may have."""
        return replace(
            self,
            mark=mark,
            share=self.share * share,
            stack=list(self.stack),
            steps=list(self.steps),
            remembered=dict(self.remembered),
        )
