"""The benchmark's own arithmetic and pictures; what it measures, it checks itself."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from benchmarks import charts
from benchmarks.bench import pictures
from benchmarks.farms import Farms, targets, written
from benchmarks.figures import Figure, beside
from nftlbc import pipeline


def test_ratios_are_of_pairs_of_the_same_round() -> None:
    # The machine was twice as slow in the second round, and that hit both.
    runs = {"rule": [10.0, 20.0, 10.0], "ours": [11.0, 22.0, 12.0]}
    rule, ours = beside("part", "what", 1, runs, "us", "rule")
    assert rule.ratios == []
    assert ours.spread() == (1.1, 1.1, 1.15)
    assert ours.value == 12.0
    assert "1.1 (1.1 to 1.15) x rule" in ours.line()
    assert ours.document()["ratio"]["against"] == "rule"


def test_what_was_not_run_is_said() -> None:
    figure = Figure("part", "what", "nftlb", 10_000, [], "s", note="takes more than a minute")
    assert figure.line().endswith("takes more than a minute")
    assert "median" not in figure.document()


def test_a_picture_names_every_line_and_holds_its_points() -> None:
    series = {"a <b>": [(1, 5.0), (10_000, 5.0)], "c": [(1, 5.0), (100, 5000.0)], "none": []}
    root = ElementTree.fromstring(charts.lines("title", "under", series, "µs"))
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert {"title", "a <b>", "c, no further", "10 000 farms"} <= set(texts)
    assert "none" not in texts
    lines = [each.attrib["points"] for each in root.iter() if each.tag.endswith("polyline")]
    assert len(lines) == 2
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for line in lines:
        for point in line.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    flat = {point.split(",")[1] for point in lines[0].split()}
    assert len(flat) == 1


def test_pictures_are_drawn_of_what_there_is() -> None:
    figures = [
        Figure("control plane", "first load, by the clock", who, size, [float(size)], "s")
        for who in ("nftlbc", "nginx")
        for size in (10, 100)
    ]
    assert set(pictures(figures)) == {"loading.svg"}


def test_the_farms_differ_by_one_weight(tmp_path) -> None:
    file = tmp_path / "farms.lb"
    weights = []
    for heavier in (False, True):
        file.write_text(written(Farms(2, heavier=heavier)))
        farms, diagnostics = pipeline.read(str(file))
        assert not diagnostics
        weights.append([each.weight for farm in farms for each in farm.backends])
    changed = [n for n, (a, b) in enumerate(zip(*weights, strict=True)) if a != b]
    assert changed == [0]
    assert targets(Farms(2)) == "203.0.0.0 80\n203.0.0.1 80\n"
    assert len(targets(Farms(2), backends=True).splitlines()) == 20
