"""A story as JSON, for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nftlbc.explain.outcome import Delivered, NotOurs, Refused, Share, Spread
from nftlbc.explain.story import Near, Story, Value
from nftlbc.source import Place


def as_json(story: Story, drift: Sequence[str] | None = None) -> dict[str, Any]:
    """For ``json.dumps``. ``outcome`` is delivered, spread, refused or none; shares sum to 1.

    drift: of the kernel's table; None: it was not asked.
    """
    packet, farm, listener = story.packet, story.farm, story.listener
    outcome = story.walk.outcome
    told: dict[str, Any] = {
        "from": {"address": packet.source, "port": packet.source_port},
        "to": {
            "address": packet.destination,
            "port": packet.port,
            "protocol": packet.protocol,
        },
        "outcome": _OUTCOMES[type(outcome)],
    }
    if drift is not None:
        told["drift"] = list(drift)
    if farm is None or listener is None:
        told["near"] = [_near_json(each) for each in story.near]
        return told
    told["farm"], told["family"] = farm.name, packet.family
    told["listener"] = {"listener": str(listener), **_place_json(listener.place)}
    if story.known is not None and farm.persistence is not None:
        told["persist"] = {
            "keys": _values_json(story.known.values),
            "timeout_ms": farm.persistence.timeout,
            "client": story.known.state,
            "backend": story.known.backend,
            "left_ms": story.known.left,
        }
    if story.choice is not None:
        told["balance"] = {
            "scheduler": farm.balance.scheduler,
            "keys": _values_json(story.choice.values),
            "slot": story.choice.slot,
            "slots": story.choice.slots,
        }
    told["shares"] = [_share_json(each) for each in story.shares]
    told["degraded"] = story.degraded
    told["without"] = [{"backend": each.backend.name, "why": each.why} for each in story.absent]
    told["steps"] = [
        {"chain": each.chain, "rule": each.rule, "step": type(each.event).__name__.lower()}
        | asdict(each.event)
        for each in story.walk.steps
    ]
    return told


_OUTCOMES = {Delivered: "delivered", Refused: "refused", NotOurs: "none", Spread: "spread"}


def _share_json(share: Share) -> dict[str, Any]:
    told: dict[str, Any] = {"share": float(share.share), "exact": str(share.share)}
    match share.outcome:
        case Delivered() as it:
            backend = {"backend": it.backend_name, "address": it.address, "port": it.port}
            return {**told, **backend, "port_of": it.port_of, "source": it.source, "mark": it.mark}
        case Refused() as it:
            return {**told, "refused": it.how}
        case _:
            return told


def _values_json(values: Sequence[Value]) -> list[dict[str, Any]]:
    return [
        {"key": each.key.field, "value": each.value}
        | ({} if each.bits is None else {"prefix": each.bits})
        for each in values
    ]


def _near_json(near: Near) -> dict[str, Any]:
    return {
        "listener": str(near.listener),
        "farm": near.farm.name,
        "differs": near.differs,
        **_place_json(near.listener.place),
    }


def _place_json(place: Place | None) -> dict[str, Any]:
    if place is None:
        return {}
    location = place.location()
    line = {} if location.line is None else {"line": location.line, "column": location.column}
    return {"file": location.name, **line}
