"""Whether draws were fair, by chi-square; one verdict over a whole run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_FEWEST = 5
"""Expected draws below which a share is counted together with others."""


def chi_square(got: Mapping[str, int], shares: Mapping[str, float]) -> tuple[float, int]:
    """The statistic and its degrees of freedom; (0, 0) where there is nothing to compare."""
    draws = sum(got.values())
    cells, small = [], [0, 0.0]
    for name, share in shares.items():
        if share * draws >= _FEWEST:
            cells.append((got.get(name, 0), share * draws))
        else:
            small = [small[0] + got.get(name, 0), small[1] + share * draws]
    if small[1] >= _FEWEST:
        cells.append((int(small[0]), small[1]))
    if len(cells) < 2:
        return 0.0, 0
    return sum((seen - due) ** 2 / due for seen, due in cells), len(cells) - 1


def doubt(statistic: float, freedom: int) -> float:
    """How probable so much or more is for fair draws (Wilson and Hilferty, 1931)."""
    if freedom == 0:
        return 1.0
    spread = 2 / (9 * freedom)
    normal = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(normal / math.sqrt(2)) / 2


@dataclass
class Draws:
    """All draws of a run."""

    statistic: float = 0.0
    freedom: int = 0
    draws: int = 0
    worst: float = field(default=1.0)

    def add(self, got: Counter[str], shares: Mapping[str, float]) -> None:
        assert set(got) <= set(shares), (got, shares)
        statistic, freedom = chi_square(got, shares)
        self.statistic += statistic
        self.freedom += freedom
        self.draws += sum(got.values())
        self.worst = min(self.worst, doubt(statistic, freedom))
