"""Many requests on their way at once, in one event loop."""

import select
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TypeAlias

from nftlbc.sandbox.flight import Flight
from nftlbc.sandbox.request import Answer

Start: TypeAlias = Callable[[], Flight | Answer]
Landing: TypeAlias = Callable[[Flight, Answer], Answer]

# With nothing on its way, so that requests which fail at once do not spin.
_PAUSE = 0.001


class Volley:
    """Starts requests, at most `parallel` at a time, and gathers their answers in order.

    landing: given each flight that has ended and its answer; closes the socket or keeps it.
    parallel: 1 lets the next one start when the one before has ended, closed and all.
    timeout: seconds for each, after which it counts as silent.
    stop: a descriptor that, once readable, ends the starting of more.
    """

    def __init__(
        self,
        starts: Iterator[Start],
        landing: Landing,
        *,
        parallel: int,
        timeout: float,
        stop: int | None = None,
    ) -> None:
        self._starts = starts
        self._landing = landing
        self._parallel = parallel
        self._timeout = timeout
        self._stop = stop
        self._answers: list[Answer | None] = []
        # By descriptor, oldest first: with one timeout for all, the next to give up.
        self._flying: dict[int, tuple[int, Flight]] = {}
        self._more = True

    def answers(self) -> list[Answer]:
        """All of them, when the last has come or been given up."""
        with select.epoll() as self._poll:
            if self._stop is not None:
                self._poll.register(self._stop, select.EPOLLIN)
            while self._more or self._flying:
                self._start()
                self._read(self._poll.poll(self._patience()))
                self._give_up()
        return [answer for answer in self._answers if answer is not None]

    def _start(self) -> None:
        for _ in range(self._parallel - len(self._flying)):
            start = next(self._starts, None) if self._more else None
            if start is None:
                self._more = False
                return
            flight = start()
            if isinstance(flight, Answer):
                self._answers.append(flight)
                continue
            fd = flight.socket.fileno()
            self._flying[fd] = (len(self._answers), flight)
            self._answers.append(None)
            # A connecting socket turns readable with the backend's line or an error.
            self._poll.register(fd, select.EPOLLIN)

    def _read(self, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            if fd == self._stop:
                self._poll.unregister(fd)
                self._more = False
            elif (answer := self._flying[fd][1].read()) is not None:
                self._land(fd, answer)

    def _give_up(self) -> None:
        latest = perf_counter() - self._timeout
        while (oldest := self._oldest()) and oldest.start <= latest:
            self._land(oldest.socket.fileno(), oldest.conclude("silent"))

    def _land(self, fd: int, answer: Answer) -> None:
        index, flight = self._flying.pop(fd)
        self._poll.unregister(fd)
        self._answers[index] = self._landing(flight, answer)

    def _patience(self) -> float:
        """Seconds until the oldest flight is to be given up."""
        oldest = self._oldest()
        if oldest is None:
            return _PAUSE if self._more else 0
        return max(0.0, oldest.start + self._timeout - perf_counter())

    def _oldest(self) -> Flight | None:
        for _, flight in self._flying.values():
            return flight
        return None
