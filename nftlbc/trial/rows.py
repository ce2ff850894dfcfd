"""Which backend it was that answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nftlbc.farms import Backend
from nftlbc.sandbox.request import Answer
from nftlbc.table.pool import Pool
from nftlbc.trial.plan import Target


class Met(NamedTuple):
    """Where a connection arrived."""

    row: int
    right_port: bool


def arrival(backend: Backend, target: Target) -> int:
    """The port at which a connection to a target must arrive: the listener's own, else the
    backend's, else the one that the client asked for."""
    return target.listener.to or backend.port or target.port


class Rows:
    """A pool's backends, one to a row. Those that would answer from one address and port share a
    row: what reaches one of them can't be told from what reaches another."""

    def __init__(self, pool: Pool, targets: Sequence[Target]) -> None:
        self.pool = pool
        row_of = list(range(len(pool.backends)))
        alone = len({backend.address for backend in pool.backends}) == len(row_of)
        for target in () if alone else targets:
            places: dict[tuple[str, int], int] = {}
            for number, backend in enumerate(pool.backends):
                place = (backend.address, arrival(backend, target))
                first = places.setdefault(place, number)
                if row_of[first] != row_of[number]:
                    low, high = sorted((row_of[first], row_of[number]))
                    row_of = [low if row == high else row for row in row_of]
        kept = sorted(set(row_of))
        self._row_of = tuple(kept.index(row) for row in row_of)
        self.members: tuple[tuple[int, ...], ...] = tuple(
            tuple(n for n, row in enumerate(self._row_of) if row == each)
            for each in range(len(kept))
        )
        self._names = {each.name: self._row_of[n] for n, each in enumerate(pool.backends)}

    def __len__(self) -> int:
        return len(self.members)

    def of(self, backend: int) -> int:
        """The row of a backend, by its number in the pool."""
        return self._row_of[backend]

    def named(self, name: str) -> int:
        """The row of a backend, by its name."""
        return self._names[name]

    def backends(self, row: int) -> tuple[Backend, ...]:
        return tuple(self.pool.backends[number] for number in self.members[row])

    def name(self, row: int) -> str:
        return " or ".join(backend.name for backend in self.backends(row))

    def is_live(self, row: int) -> bool:
        return any(backend.live for backend in self.backends(row))

    def met(self, target: Target, answer: Answer) -> Met | None:
        """Whom an answered connection reached; None: no backend of the farm."""
        elsewhere = None
        for number, backend in enumerate(self.pool.backends):
            if backend.address == answer.backend:
                if arrival(backend, target) == answer.backend_port:
                    return Met(self._row_of[number], True)
                elsewhere = elsewhere or Met(self._row_of[number], False)
        return elsewhere
