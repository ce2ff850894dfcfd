"""What was measured: figures with what they are held against, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing that was measured of one balancer."""

    part: str
    """Of the benchmark: data plane, control plane, clients, probe."""
    what: str
    who: str
    farms: int
    runs: list[float]
    """Each in the figure's unit, in the order of the rounds."""
    unit: str
    against: str = ""
    """Who stands below the ratio."""
    ratios: list[float] = field(default_factory=list)
    """Pair by pair of the rounds."""
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    def spread(self) -> tuple[float, float, float]:
        """First quartile, median and third of the ratios."""
        return quartiles(self.ratios)

    def line(self) -> str:
        text = f"{self.what:<34}{self.farms:>6}  {self.who:<15}"
        text += f"{_number(self.value):>9} {self.unit:<7}" if self.runs else f"{'':>17}"
        if self.ratios:
            low, middle, high = self.spread()
            text += f" {middle:>7.3g} ({low:.3g} to {high:.3g}) x {self.against}"
        return f"{text}  {self.note}".rstrip()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "part": self.part,
            "what": self.what,
            "who": self.who,
            "farms": self.farms,
            "unit": self.unit,
            "runs": [float(f"{run:.5g}") for run in self.runs],
        }
        if self.runs:
            found["median"] = float(f"{self.value:.5g}")
        if self.ratios:
            names = ("first_quartile", "median", "third_quartile")
            spread = (float(f"{each:.4g}") for each in self.spread())
            found["ratio"] = {"against": self.against, **dict(zip(names, spread, strict=True))}
        if self.note:
            found["note"] = self.note
        return found


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def beside(
    part: str,
    what: str,
    farms: int,
    runs: dict[str, list[float]],
    unit: str,
    against: str,
) -> Iterator[Figure]:
    """The figures of all who did the same in turn, each with its ratio to one of them."""
    for who, own in runs.items():
        ratios = [a / b for a, b in zip(own, runs[against], strict=True)]
        yield Figure(part, what, who, farms, own, unit, against, ratios if who != against else [])


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def found(figures: Iterable[Figure], what: str, who: str, farms: int | None = None) -> list[Figure]:
    """Those of a name, by the number of farms."""
    chosen = [f for f in figures if f.what == what and f.who == who and farms in (None, f.farms)]
    return sorted(chosen, key=lambda figure: figure.farms)
