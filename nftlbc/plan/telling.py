"""A plan as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from nftlbc.plan.planning import Plan


def lines(plan: Plan) -> Iterator[str]:
    """What would change, farm by farm; one line where nothing would."""
    if plan.empty:
        yield "nothing to change: the kernel's table is what the farms file says"
        return
    if plan.kernel is None:
        yield "there is no table inet nftlbc yet: all of it is new"
    found = plan.changes
    for farm, changes in groupby((each for each in found if each.farm), lambda each: each.farm):
        texts = [each.text for each in changes]
        if len(texts) == 1:
            yield f"farm {farm}: {texts[0]}"
        else:
            yield f"farm {farm}:"
            yield from (f"    {text}" for text in texts)
    yield from (f"table: {each.text}" for each in found if not each.farm)


def as_json(plan: Plan) -> dict[str, Any]:
    """``{"changes": [{"kind", "farm", "subject", "text"}], "table": whether there is one}``."""
    return {
        "table": plan.kernel is not None,
        "changes": [] if plan.empty else [each._asdict() for each in plan.changes],
    }
