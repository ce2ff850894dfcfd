"""Lines over the number of farms on logarithmic axes: SVG for light and for dark ground."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from math import floor, log10

Points = Sequence[tuple[float, float]]
Place = Callable[[float], float]

_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: .7 }
.line { fill: none; stroke-width: 2 }
.l0 { stroke: #0969da; stroke-width: 3.5 } .t0 { fill: #0969da; font-weight: 600 }
.l1 { stroke: #bc4c00 } .t1 { fill: #bc4c00 }
.l2 { stroke: #8250df } .t2 { fill: #8250df }
.l3 { stroke: #1a7f37 } .t3 { fill: #1a7f37 }
.l4 { stroke: #bf3989 } .t4 { fill: #bf3989 }
.l5 { stroke: #57606a; stroke-dasharray: 5 4 } .t5 { fill: #57606a }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
.l0 { stroke: #4493f8 } .t0 { fill: #4493f8 } .l1 { stroke: #db6d28 } .t1 { fill: #db6d28 }
.l2 { stroke: #ab7df8 } .t2 { fill: #ab7df8 } .l3 { stroke: #3fb950 } .t3 { fill: #3fb950 }
.l4 { stroke: #db61a2 } .t4 { fill: #db61a2 } .l5 { stroke: #9198a1 } .t5 { fill: #9198a1 }
}
</style>"""
_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT = 70, 66, 500, 260, 150
_COLOURS = 6


def lines(title: str, under: str, series: Mapping[str, Points], unit: str) -> str:
    """One line for each name; its points are (farms, value), values above 0.

    The first name is drawn to be seen; a sixth and later ones are dashed, for limits.
    """
    return "\n".join(_lines(title, under, {n: p for n, p in series.items() if p}, unit)) + "\n"


def _lines(title: str, under: str, series: dict[str, Points], unit: str) -> Iterator[str]:
    xs = sorted({x for points in series.values() for x, _ in points})
    values = [y for points in series.values() for _, y in points]
    low, high = log10(min(values)) - 0.12, log10(max(values)) + 0.08
    first, last = log10(xs[0]), max(log10(xs[-1]), log10(xs[0]) + 1)

    def across(x: float) -> float:
        return _LEFT + (log10(x) - first) / (last - first) * _WIDTH

    def up(y: float) -> float:
        return _TOP + _HEIGHT - (log10(y) - low) / (high - low) * _HEIGHT

    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + 46
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">'
    )
    yield _STYLE
    yield f'<text x="10" y="22" font-weight="600">{escape(title)}</text>'
    yield f'<text class="small" x="10" y="42">{escape(under)}</text>'
    parts = (1, 2, 5) if high - low < 2 else (1,)
    for power in range(floor(low), floor(high) + 1):
        for tick in (part * 10.0**power for part in parts):
            if low <= log10(tick) <= high:
                yield _level(up(tick), f"{tick:.10g} {unit}")
    for x in xs:
        text = f"{x:,.0f}".replace(",", " ") + (" farms" if x == xs[-1] else "")
        yield (
            f'<text class="small" x="{across(x):.1f}" y="{_TOP + _HEIGHT + 20}" '
            f'text-anchor="middle">{text}</text>'
        )
    for number, points in enumerate(series.values()):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        colour = min(number, _COLOURS - 1)
        yield f'<polyline class="line l{colour}" points="{path}"/>'
    yield from _names(series, across, up)
    yield "</svg>"


def _level(y: float, text: str) -> str:
    end = _LEFT + _WIDTH
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="small" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _names(series: dict[str, Points], across: Place, up: Place) -> Iterator[str]:
    """Each at its line's end, moved down as far as the one above needs."""
    places = sorted(
        (up(points[-1][1]), across(points[-1][0]), number, name)
        for number, (name, points) in enumerate(series.items())
    )
    end = max(x for _, x, _, _ in places)
    free: dict[float, float] = {}
    for y, x, number, name in places:
        # A line that ends early has others around it: its name goes above them.
        y = max(y + (4 if x == end else -12), free.get(x, 0.0))
        free[x] = y + 15
        colour = min(number, _COLOURS - 1)
        text = escape(name if x == end else f"{name}, no further")
        anchor = "start" if x == end else "middle"
        yield (
            f'<text class="t{colour}" x="{x + 8 * (x == end):.1f}" y="{y:.1f}" '
            f'text-anchor="{anchor}">{text}</text>'
        )
