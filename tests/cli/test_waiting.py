"""``drain --wait`` looks again soon, however long it has been waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer

from nftlbc.cli import waiting


class Clock:
    """A look takes so many seconds of it, and finds so many connections."""

    def __init__(self, took: float, found: Iterator[int]) -> None:
        self.now, self.took, self.found = 1000.0, took, found
        self.pauses: list[float] = []

    def look(self, _: object) -> int:
        self.now += self.took
        return next(self.found)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(waiting, "_open", self.look)
        patch.setattr(waiting.time, "sleep", self.sleep)
        patch.setattr(waiting.time, "monotonic", self.monotonic)


@pytest.mark.parametrize(("took", "pause"), [(0.01, 0.5), (0.4, 2.0), (3.0, 5.0)])
def test_the_pause_is_what_the_look_takes(
    took: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what the pauses take too: they grew fivefold from look to look."""
    clock = Clock(took, iter([*[5] * 40, 0]))
    with monkeypatch.context() as patch:
        clock.install(patch)
        waiting.wait_for(["web/a"], [1], 600, quiet=True)
    assert clock.pauses == pytest.approx([pause] * 40)


def test_it_ends_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.0, iter([5] * 40))
    with monkeypatch.context() as patch, pytest.raises(typer.Exit) as ended:
        clock.install(patch)
        waiting.wait_for(["web/a"], [1], 7.2, quiet=True)
    assert ended.value.exit_code == 4
    assert sum(clock.pauses) == pytest.approx(7.2)
