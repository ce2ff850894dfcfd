"""``python -m benchmarks tables``: the tables of docs/performance.md from the figures of ``make
bench``, put between their marks (``<!-- table NAME -->`` and ``<!-- end -->``); some of them from
those of a second machine, too (again.json)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

JSON, AGAIN = "docs/performance/bench.json", "docs/performance/again.json"
TEXT = "docs/performance.md"
_MARKED = re.compile(r"(<!-- table ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
Row = dict[str, Any]
Runs = dict[str, Sequence[Row]]
"""The figures of several machines, by their processors."""

_WHO = (
    *("no NAT", "conntrack only", "one dnat rule", "nftlbc", "nftlbc, one farm used"),
    *("nftlb", "iptables", "haproxy", "nginx"),
)
_COMMANDS = (
    *("compile", "bare nft -f", "first apply", "read the table", "apply, nothing changed"),
    *("apply, one weight changed", "apply, one farm changed", "drain one backend"),
    *("apply, one weight changed: beyond reading", "drain one backend: beyond reading"),
)
_RATIOS = (("first apply", "bare `nft -f`"), ("apply, one weight changed", "reading"))
_HAPPENING = ("nothing happens", "reloads", "weight changes", "a backend dies")


def main(_: Sequence[str]) -> None:
    runs: Runs = {}
    for name in (JSON, AGAIN):
        document = json.loads(Path(name).read_text())
        runs[document["machine"]["processor"].partition(",")[0]] = document["figures"]
    text = Path(TEXT).read_text()
    Path(TEXT).write_text(filled(text, runs))


def filled(text: str, runs: Runs) -> str:
    """The document with the tables of these figures, most of them from the first run."""
    figures = next(iter(runs.values()))

    def table(match: re.Match[str]) -> str:
        name = match[2]
        lines = _OF_ALL[name](runs) if name in _OF_ALL else _TABLES[name](figures)
        return f"{match[1]}{''.join(f'{line}{chr(10)}' for line in lines)}{match[3]}"

    return _MARKED.sub(table, text)


def _head(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
    yield "|---" * len(cells) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _sizes(figures: Sequence[Row], what: str) -> list[int]:
    return sorted({each["farms"] for each in figures if each["what"] == what})


def _of(figures: Sequence[Row], what: str, who: str, farms: int) -> Row | None:
    for each in figures:
        if (each["what"], each["who"], each["farms"]) == (what, who, farms):
            return each
    return None


def _farms(sizes: Sequence[int]) -> list[str]:
    texts = [f"{size:,}".replace(",", " ") for size in sizes]
    return [*texts[:-1], f"{texts[-1]} farms"]


def _ratio(figure: Row | None) -> str:
    """With its quartiles; what the others stand above by itself."""
    if figure is None:
        return ""
    if "median" not in figure:
        return str(figure.get("note", "")).removeprefix("not run: ")
    ratio = figure.get("ratio")
    if ratio is None:
        unit = figure["unit"].replace("us", "µs")
        return f"{figure['median']:.3g} {unit}"
    spread = f"{ratio['first_quartile']:.3g}–{ratio['third_quartile']:.3g}"
    return f"{ratio['median']:.3g} ({spread})"


def _data_plane(what: str, title: str) -> Callable[[Sequence[Row]], Iterator[str]]:
    def lines(figures: Sequence[Row]) -> Iterator[str]:
        sizes = _sizes(figures, what)
        yield from _head(f"{title}, × one dnat rule", *_farms(sizes))
        for who in _WHO:
            cells = [_ratio(_of(figures, what, who, size)) for size in sizes]
            if any(cells):
                yield _row(f"**{who}**" if who == "nftlbc" else who, *cells)

    return lines


def _persistent(figures: Sequence[Row]) -> Iterator[str]:
    whats = ("whole connection", "first packet", "round trip, established")
    yield from _head("100 farms that persist by address", *whats[:2], "established")
    for who in _WHO:
        cells = [_ratio(_of(figures, f"{what}, persistent", who, 100)) for what in whats]
        if any(cells):
            yield _row(f"**{who}**" if who == "nftlbc" else who, *cells)


def _control_plane(figures: Sequence[Row]) -> Iterator[str]:
    sizes = _sizes(figures, "compile")
    yield from _head("nftlbc, seconds of processor", *_farms(sizes))
    for what in _COMMANDS:
        found = [_of(figures, what, "nftlbc", size) for size in sizes]
        yield _row(what, *(f"{each['median']:.3g}" if each else "" for each in found))
    for what, against in _RATIOS:
        found = [_of(figures, what, "nftlbc", size) for size in sizes]
        yield _row(f"{what} / {against}", *(_ratio(each) for each in found))


def _by_the_clock(what: str) -> Callable[[Sequence[Row]], Iterator[str]]:
    def lines(figures: Sequence[Row]) -> Iterator[str]:
        name = f"{what}, by the clock"
        sizes = _sizes(figures, name)
        yield from _head(name, *_farms(sizes))
        for who in _WHO:
            found = [_of(figures, name, who, size) for size in sizes]
            if any(found):
                bold = f"**{who}**" if who == "nftlbc" else who
                yield _row(bold, *(_clocked(each) for each in found))

    return lines


def _clocked(figure: Row | None) -> str:
    if figure is None or "median" not in figure:
        return _ratio(figure)
    ratio = figure.get("ratio")
    text = f"{figure['median']:.3g} s"
    return text if ratio is None else f"{text}, {ratio['median']:.3g} ×"


def _clients(figures: Sequence[Row]) -> Iterator[str]:
    yield from _head("", "", "failed", "of")
    for what in _HAPPENING:
        title = what
        for each in figures:
            if each["what"] != f"{what}: failed":
                continue
            failed = f"{each['median']:.0f}" if "median" in each else "–"
            yield _row(title, each["who"], failed, each.get("note", "").removeprefix("of "))
            title = ""


_AGAIN = (
    ("whole connection", "nftlbc"),
    ("first packet", "nftlbc"),
    ("first packet", "nftlbc, one farm used"),
    ("round trip, established", "nftlbc"),
)


def _again_data(runs: Runs) -> Iterator[str]:
    sizes = _sizes(next(iter(runs.values())), "whole connection")
    yield from _head("× one dnat rule", "", *_farms(sizes))
    for what, who in _AGAIN:
        title = what + who.removeprefix("nftlbc")
        for machine, figures in runs.items():
            cells = [_ratio(_of(figures, what, who, size)) for size in sizes]
            yield _row(title, machine, *cells)
            title = ""


def _again_control(runs: Runs) -> Iterator[str]:
    size = max(_sizes(next(iter(runs.values())), "compile"))
    yield from _head(f"{_farms([size])[0]}, seconds of processor", *runs)
    for what in _COMMANDS:
        found = [_of(figures, what, "nftlbc", size) for figures in runs.values()]
        yield _row(what, *(f"{each['median']:.3g}" if each else "" for each in found))
    for what, against in _RATIOS:
        found = [_of(figures, what, "nftlbc", size) for figures in runs.values()]
        yield _row(f"{what} / {against}", *(_ratio(each) for each in found))


def _again_clients(runs: Runs) -> Iterator[str]:
    yield from _head("failed of 100 000", *runs)
    for what in _HAPPENING:
        cells = []
        for figures in runs.values():
            (found,) = (
                e for e in figures if (e["what"], e["who"]) == (f"{what}: failed", "nftlbc")
            )
            note = found.get("note", "").removeprefix("of 100000, 0 late").removeprefix("; ")
            cells.append(f"{found['median']:.0f}" + (f" ({note})" if note else ""))
        yield _row(what, *cells)


_OF_ALL = {
    "again-data-plane": _again_data,
    "again-control-plane": _again_control,
    "again-clients": _again_clients,
}
_TABLES = {
    "whole-connection": _data_plane("whole connection", "whole connection"),
    "first-packet": _data_plane("first packet", "first packet"),
    "established": _data_plane("round trip, established", "established"),
    "persistent": _persistent,
    "control-plane": _control_plane,
    "first-load": _by_the_clock("first load"),
    "one-weight": _by_the_clock("one weight"),
    "clients": _clients,
}
