"""The rows and columns of status, for people: which figures, how wide, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nftlbc.diagnostics import printable
from nftlbc.status.model import BackendStatus, PoolStatus, State
from nftlbc.status.rates import Rate, Who, who

_NARROWEST_NAME = 8
COLOURS: Mapping[State, str] = {"up": "32", "draining": "33", "down": "31", "disabled": "31"}


@dataclass(frozen=True)
class View:
    """How it is shown."""

    width: int = 80
    paint: bool = False
    everything: bool = False
    """All backends, however many."""
    rates: Mapping[Who, Rate] | None = None
    """Shown too, where this is not the first look."""


Pools = Sequence[PoolStatus]


class Figures(NamedTuple):
    """What a row shows: of a backend, or the sums of a pool."""

    state: str
    colour: str
    address: str = ""
    weight: str = ""
    live: str = ""
    share: str = ""
    new: int | None = None
    open: int | None = None
    flows: int | None = None
    sticky: int | None = None
    packets: tuple[int, int] | None = None
    bytes: tuple[int, int] | None = None
    rate: Rate | None = None


class Column(NamedTuple):
    title: str
    width: int
    text: Callable[[Figures], str]
    left: bool = False
    watched: bool = False
    """Shown where there are rates."""


def _pair(pair: tuple[float | None, float | None] | None) -> str:
    return "-" if pair is None or None in pair else "/".join(map(short, pair))


def short(number: float | None) -> str:
    """At most four characters up to 10^15: ``999``, ``1.2k``, ``12M``; a dash for None."""
    if number is None:
        return "-"
    for unit in ("", "k", "M", "G", "T"):
        if number < 9.95 and (unit or number % 1):
            return f"{number:.1f}{unit}"
        if number < 999.5:
            return f"{number:.0f}{unit}"
        number /= 1000
    return f"{number:.0f}P"


def _count(number: int | None) -> str:
    return str(number) if number is not None and number < 100_000 else short(number)


def _open(figures: Figures) -> str:
    if figures.open is None:
        return "-"
    return _count(figures.open + (figures.flows or 0))


_STATE = Column("STATE", 8, lambda each: each.state, left=True)
_SUMS = (
    Column("NEW", 5, lambda each: _count(each.new)),
    Column("NEW/S", 5, lambda each: short(each.rate.new) if each.rate else "-", watched=True),
    Column("OPEN", 5, _open),
    Column("STICKY", 6, lambda each: _count(each.sticky)),
    Column("PACKETS", 9, lambda each: _pair(each.packets)),
    Column("BYTES", 9, lambda each: _pair(each.bytes)),
    Column(
        "BYTES/S",
        9,
        lambda each: _pair(each.rate[1:] if each.rate else None),
        watched=True,
    ),
)
_BACKEND_COLUMNS = (
    _STATE,
    Column("WEIGHT", 6, lambda each: each.weight),
    Column("LIVE", 4, lambda each: each.live),
    Column("SHARE", 5, lambda each: each.share),
    *_SUMS,
)


def backend_columns(backends: Iterable[BackendStatus]) -> Sequence[Column]:
    """Addresses come only where there is room for the longest of them."""
    longest = max((len(spot(each)) for each in backends), default=0)
    addresses = Column("ADDRESS", longest, lambda each: each.address, left=True)
    return (addresses, *_BACKEND_COLUMNS)


POOL_COLUMNS = (Column("UP", 7, lambda each: each.state), *_SUMS)
_DISPENSABLE = (
    *("ADDRESS", "PACKETS", "BYTES", "WEIGHT", "LIVE", "BYTES/S", "STICKY"),
    *("SHARE", "NEW/S", "OPEN", "NEW"),
)
"""What is left away where the terminal is too narrow, in this order."""
_TRAFFIC = ("PACKETS", "BYTES", "BYTES/S")


@dataclass
class Table:
    columns: list[Column]
    name: int
    """Characters of the first column."""
    title: str

    def head(self) -> str:
        cells = [f"{self.title:{self.name}}", *(_cell(each, each.title) for each in self.columns)]
        return "  " + " ".join(cells).rstrip()

    def row(self, name: str, figures: Figures, view: View) -> Iterator[str]:
        if len(name) > self.name:
            yield f"  {name}"
            name = ""
        cells = []
        for column in self.columns:
            text = _cell(column, column.text(figures))
            stands = column.title in ("STATE", "UP")
            cells.append(painted(text, figures.colour, view) if stands else text)
        yield "  " + " ".join([f"{name:{self.name}}", *cells]).rstrip()


def _cell(column: Column, text: str) -> str:
    return f"{text:{column.width}}" if column.left else f"{text:>{column.width}}"


def table(
    title: str, names: Iterable[str], columns: Sequence[Column], view: View, pools: Pools
) -> Table:
    """A table whose first column has those names, with as many of the columns as there is room
    for, but those of weights where they are the file's."""
    chosen = [each for each in columns if view.rates is not None or not each.watched]
    if not any(_measured(each) for pool in pools for each in pool.backends):
        chosen = [each for each in chosen if each.title != "LIVE"]
    if not any(pool.counted for pool in pools) and (view.width < 80 or view.rates is not None):
        chosen = [each for each in chosen if each.title not in _TRAFFIC]
    for word in ("", *_DISPENSABLE):
        chosen = [each for each in chosen if each.title != word]
        room = view.width - 2 - sum(each.width + 1 for each in chosen)
        if room >= _NARROWEST_NAME:
            break
    longest = max(map(len, [*names, title]))
    return Table(chosen, max(_NARROWEST_NAME, min(room, longest)), title)


def _percent(share: float) -> str:
    """Three digits, without zeros at their end: 100, 66.7, 5.26."""
    percent = share * 100
    text = f"{percent:.1f}" if percent >= 9.995 else f"{percent:.2f}"
    return text.rstrip("0").rstrip(".")


def _measured(backend: BackendStatus) -> bool:
    return backend.share > 0 and backend.live_weight != backend.weight


def figures_of(backend: BackendStatus, rate: Rate | None = None) -> Figures:
    traffic = backend.traffic
    return Figures(
        address=printable(spot(backend)),
        state=backend.state,
        colour=COLOURS[backend.state],
        weight=_count(backend.weight),
        live=short(backend.live_weight),
        share=f"{_percent(backend.share)}%",
        new=backend.new,
        open=backend.open,
        flows=backend.flows,
        sticky=backend.sticky,
        packets=(traffic.packets_in, traffic.packets_out) if traffic else None,
        bytes=(traffic.bytes_in, traffic.bytes_out) if traffic else None,
        rate=rate,
    )


def spot(backend: BackendStatus) -> str:
    """Its address, with its port where it has one."""
    address = f"[{backend.address}]" if ":" in backend.address else backend.address
    return backend.address if backend.port is None else f"{address}:{backend.port}"


def sum_of(pool: PoolStatus, view: View) -> Figures:
    up = sum(each.state == "up" for each in pool.backends)
    counted = [each.traffic for each in pool.backends if each.traffic]
    rates = [
        rate
        for each in pool.backends
        if view.rates and (rate := view.rates.get(who(pool, each))) is not None
    ]
    return Figures(
        state=f"{up}/{len(pool.backends)}",
        colour="31" if pool.degraded or pool.closed else "33" if up < len(pool.backends) else "32",
        new=sum(each.new or 0 for each in pool.backends),
        open=_total(each.open for each in pool.backends),
        flows=_total(each.flows for each in pool.backends),
        sticky=pool.sticky.clients if pool.sticky else None,
        packets=(
            (sum(each.packets_in for each in counted), sum(each.packets_out for each in counted))
            if counted
            else None
        ),
        bytes=(
            (sum(each.bytes_in for each in counted), sum(each.bytes_out for each in counted))
            if counted
            else None
        ),
        rate=(
            Rate(
                sum(each.new for each in rates),
                sum(each.bytes_in or 0 for each in rates) if counted else None,
                sum(each.bytes_out or 0 for each in rates) if counted else None,
            )
            if rates
            else None
        ),
    )


def _total(numbers: Iterator[int | None]) -> int | None:
    found = list(numbers)
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def painted(text: str, colour: str, view: View) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if view.paint and colour else text
