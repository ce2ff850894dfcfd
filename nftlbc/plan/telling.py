"""A plan in the farms' words, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from nftlbc.nft.difference import Difference, MapChange
from nftlbc.plan import changes, drift, hand_words, live, view
from nftlbc.plan.changes import Change
from nftlbc.plan.live import Live
from nftlbc.plan.planning import Plan

_MOST = 4
"""Chains that are named; more are counted."""
_NOTES = ("farms_", "states_")
"""What the table keeps for its own sake."""
_REMOVED = ("farm-removed", "backend-removed")
_AT_STAKE = ("farm-removed", "backend-removed", "backend-down", "persist")


def told(plan: Plan) -> list[Change]:
    """Everything that changes, by farm; then the table itself.

    Where farms or backends go, sticky clients and open connections are counted. Raises NftError
    where that can't be read.
    """
    if plan.empty:
        return []
    new = view.of_table(plan.wanted, plan.farms)
    if plan.kernel is None or plan.difference is None:
        return changes.between({}, new, Live())
    old = view.of_kernel(plan.kernel)
    found = changes.between(old, new, Live())
    if any(change.kind in _AT_STAKE for change in found):
        found = changes.between(old, new, live.look())
    found += _program(plan.difference, {change.farm for change in found})
    return found + drift.drift(plan.kernel, plan.wanted, plan.difference)


def _program(difference: Difference, known: set[str]) -> Iterator[Change]:
    """The rules that change beside those of farms of which something is told already."""
    shared = []
    for chain in difference.chains:
        parts = chain.name.split("-")
        if parts[0] == "farm" and len(parts) > 2:
            farm = "-".join(parts[1:-1])
            if farm not in known:
                text = f"its rules for IPv{parts[-1]} are written anew; a round robin starts anew"
                yield Change("program", farm, "", text)
        else:
            shared.append(chain.name)
    if shared:
        names = ", ".join(shared) if len(shared) <= _MOST else f"{len(shared)} shared chains"
        text = f"rules that farms share are written anew; no client notices ({names})"
        yield Change("program", "", "", text)
    for change in difference.maps:
        if change.map.name.startswith("farms_"):
            for farm in _noted(change):
                if farm and farm not in known and not _rules_of(difference, farm):
                    text = "the order or the states of its backends; no share changes now"
                    yield Change("settings", farm, "", text)
    made = [each.name for each in difference.new_maps if not each.name.startswith(_NOTES)]
    if made:
        names = ", ".join(made) if len(made) <= _MOST else f"{len(made)} maps"
        yield Change("program", "", "", f"new maps: {names}")
    for change in difference.maps:
        if change.map.name.startswith("hairpins"):
            moves = f"{len(change.come)} come, {len(change.gone)} go"
            text = f"backends that may reach their own farm: {moves} ({change.map.name})"
            yield Change("program", "", change.map.name, text)
    for carried in difference.sticky:
        lost = f", {carried.lost} end (no room, or out of time)" if carried.lost else ""
        some = (
            "1 sticky client goes"
            if len(carried.come) == 1
            else f"{len(carried.come)} sticky clients go"
        )
        text = f"{some} over into {carried.map.name}{lost}"
        yield Change("program", "", carried.map.name, text)
    unused = [each.name for each in difference.stale_maps if not each.name.startswith(_NOTES)]
    unused += [each.name for each in difference.stale_chains]
    if unused:
        names = ", ".join(unused) if len(unused) <= _MOST else f"{len(unused)} maps and chains"
        yield Change("program", "", "", f"no longer needed, taken away: {names}")


def _noted(change: MapChange) -> list[str]:
    """The farms whose records change."""
    names = {}
    for name, section in change.map.sections.items():
        names.update(dict.fromkeys((key[0] for key in section if isinstance(key, tuple)), name))
    numbers = [key[0] for key in (*change.come, *change.gone) if isinstance(key, tuple)]
    return sorted({names[number] for number in numbers if number in names})


def _rules_of(difference: Difference, farm: str) -> bool:
    return any(each.name[:-2] == f"farm-{farm}" for each in difference.chains)


def lines(plan: Plan, found: Sequence[Change]) -> Iterator[str]:
    """What would change, farm by farm; one line where nothing would."""
    if plan.empty:
        yield "nothing to change: the kernel's table is what the farms file says"
        yield from _held(plan)
        return
    if plan.kernel is None:
        yield "there is no table inet nftlbc yet: all of it is new"
    by_farm = sorted((each for each in found if each.farm), key=lambda each: each.farm)
    for farm, some in groupby(by_farm, lambda each: each.farm):
        texts = [each.text for each in some]
        if len(texts) == 1:
            yield f"farm {farm}: {texts[0]}"
        else:
            yield f"farm {farm}:"
            yield from (f"    {text}" for text in texts)
    yield from (f"table: {each.text}" for each in found if each.kind == "program" and not each.farm)
    changed = [each.text for each in found if each.kind == "drift"]
    if changed:
        yield "the table was changed behind nftlbc's back, and is mended:"
        yield from (f"    {text}" for text in changed)
    if any(each.kind in _REMOVED and "open connection" in each.text for each in found):
        yield "open connections to what is removed go on to their end; apply --cut ends them"
    yield from _held(plan)


def _held(plan: Plan) -> Iterator[str]:
    yield from (f"held by hand: {each['text']}" for each in hand_words.held(plan.farms))


def as_json(plan: Plan, found: Sequence[Change]) -> dict[str, Any]:
    """``{"table": whether there is one, "changes": [{"kind", "farm", "subject", "text"}],
    "held": [{"farm", "backend", "state", "by", "since", "text"}]}``."""
    return {
        "table": plan.kernel is not None,
        "changes": [each._asdict() for each in found],
        "held": list(hand_words.held(plan.farms)),
    }
