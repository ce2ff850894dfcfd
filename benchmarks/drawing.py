"""Pictures for the documents: SVG that reads on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import log10

_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.line { stroke: #d0d7de }
.mean { fill: #0969da } .plain { fill: #bc4c00 } .p95 { opacity: .35 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .line { stroke: #3d444d }
.mean { fill: #4493f8 } .plain { fill: #db6d28 }
}
</style>"""
_LEFT, _WIDTH, _ROW, _TOP = 150, 560, 46, 62


def bars(rows: Sequence[tuple[str, float, float]], title: str, least: float, most: float) -> str:
    """A pair of bars for each row of a name, a mean and a 95th percentile in seconds, on a
    logarithmic axis; the first row is what the others are held against."""
    return "\n".join(_bars(rows, title, least, most)) + "\n"


def _bars(
    rows: Sequence[tuple[str, float, float]], title: str, least: float, most: float
) -> Iterator[str]:
    height = _TOP + _ROW * len(rows) + 34

    def at(seconds: float) -> float:
        part = log10(max(seconds, least) / least) / log10(most / least)
        return _LEFT + part * (_WIDTH - 40)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 40} {height}" '
        f'role="img" aria-label="{escape(title)}">'
    )
    yield _STYLE
    yield f'<text x="10" y="22" font-weight="600">{escape(title)}</text>'
    yield _text(10, 42, "mean (full) and 95th percentile (pale); log scale", "small")
    for tick in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
        if least <= tick <= most:
            x, end = at(tick), height - 30
            yield f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{end}"/>'
            yield _text(x, height - 14, _time(tick), "small", "middle")
    for n, (name, mean, p95) in enumerate(rows):
        y = _TOP + n * _ROW
        kind = "mean" if n else "plain"
        yield _text(_LEFT - 10, y + 21, name, "", "end")
        for value, top, style in ((mean, y, kind), (p95, y + 17, f"{kind} p95")):
            width = max(at(value) - _LEFT, 1)
            yield (
                f'<rect class="{style}" x="{_LEFT}" y="{top}" '
                f'width="{width:.1f}" height="15" rx="2"/>'
            )
            yield _text(at(value) + 6, top + 12, _time(value), "small")
    yield "</svg>"


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.3g} s"
