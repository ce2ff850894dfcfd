"""From one round of checks to the farms as they are to be: states first, then weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nftlbc.farms import Farm
from nftlbc.nft.conntrack import Open
from nftlbc.plan.recall import Recalled
from nftlbc.probe import judging, loads, weights
from nftlbc.probe.asking import Series, Uses, outcomes
from nftlbc.probe.judging import Event
from nftlbc.probe.target import Target
from nftlbc.states import Seconds


@dataclass(frozen=True)
class Decision:
    farms: tuple[Farm, ...]
    events: tuple[Event, ...]
    figures: loads.Figures
    held: bool
    """More than half fell silent at once, and it is not believed yet."""
    unknown: int
    """Backends whose checks were not all made in time."""


def decide(
    recalled: Recalled,
    uses: Uses,
    found: Mapping[Target, Series],
    connections: Open | None,
    now: Seconds,
    *,
    hold: bool = True,
) -> Decision:
    """What follows from a round for the farms of a table.

    hold: silence of more than half of them is believed only when it lasts.
    """
    results, warnings = outcomes(uses, found)
    suspicion = judging.suspicion(recalled.farms, results) if hold else "none"
    held = suspicion == "held"
    events: list[Event] = []
    if held:
        text = "more than half of the machines fell silent at once: states are kept, for now"
        events.append(Event("held", "", "", text))
    measured = loads.figures(recalled, uses, found, connections)
    farms = []
    for farm in recalled.farms:
        judged, some = judging.judge(farm, results.get(farm.name, {}), now, held)
        events += some
        farms.append(weights.weigh(judged, measured.get(farm.name, {}), now))
    asked = {(use.farm.name, use.backend.name) for some_uses in uses.values() for use in some_uses}
    reached = sum(map(len, results.values()))
    return Decision(
        tuple(farms), (*events, *warnings), measured, held, max(0, len(asked) - reached)
    )
