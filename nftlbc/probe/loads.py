"""What backends carry, in the unit of their farm's scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from nftlbc.farms import Farm
from nftlbc.nft.conntrack import Open
from nftlbc.plan.recall import Recalled
from nftlbc.probe import weights
from nftlbc.probe.asking import Series, Uses
from nftlbc.probe.target import Target

Figures = dict[str, dict[str, float | None]]
"""By farm and backend; None: nothing was measured."""
MEASURE = {"least-cpu": ("snmp", "agent"), "custom": ("exec",)}
"""The checks whose figures a scheduler takes."""


def counts_connections(farms: Iterable[Farm]) -> bool:
    return any(farm.balance.scheduler == "least-connections" for farm in farms)


def figures(
    recalled: Recalled, uses: Uses, found: Mapping[Target, Series], connections: Open | None
) -> Figures:
    """The loads of all backends of farms with dynamic weights.

    connections: None where they could not be counted.
    """
    result: Figures = {}
    for farm in recalled.farms:
        if farm.balance.scheduler == "least-connections" and connections is not None:
            result[farm.name] = {
                each.name: weights.of_connections(
                    connections.tcp[mark] + connections.flows[mark],
                    connections.closed[mark],
                    each.weight,
                )
                for each in farm.backends
                for mark in [recalled.mark(farm, each)]
            }
    for target, some in uses.items():
        series = found.get(target)
        if series is None:
            continue
        for use in some:
            figure = _figure(use.farm.balance.scheduler, target, series)
            if figure is not None:
                # The first check of several that tell one.
                result.setdefault(use.farm.name, {}).setdefault(use.backend.name, figure)
    return result


def _figure(scheduler: str, target: Target, series: Series) -> float | None:
    if scheduler == "least-response":
        return weights.of_response(series.seconds)
    if not series.last.passed or target.check.kind not in MEASURE.get(scheduler, ()):
        return None
    figures = [each.figure for each in series.results if each.figure is not None]
    if not figures:
        return None
    figure = fmean(figures)
    if scheduler == "least-cpu":
        # An agent tells how much of the weight it wants, which is what its CPUs have left.
        return weights.of_cpu(1 - figure / 100 if target.check.kind == "agent" else figure)
    return figure if figure >= 0 else None
