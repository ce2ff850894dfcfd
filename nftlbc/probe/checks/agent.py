"""``check agent``: a line of words from an agent, in the manner of HAProxy's ``agent-check``.

The words are between blanks and commas, up to the end of the line; ``#`` begins a remark, and
words that mean something to HAProxy alone (``maxconn:30``) are passed over. Source: HAProxy's
configuration manual, ``agent-check``.
"""

from __future__ import annotations

import re
from typing import Final

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.checks.connection import connected
from nftlbc.probe.result import Failure, Finding, Order
from nftlbc.probe.target import Target

MOST_LINE: Final = 1024
MOST_PERCENT: Final = 1000
_ORDERS: Final[dict[str, Order]] = {
    "up": "up",
    "ready": "up",
    "drain": "drain",
    "down": "down",
    "failed": "down",
    "stopped": "down",
    "fail": "down",
    "maint": "down",
}
_PERCENT: Final = re.compile(r"(\d{1,4})%")


def _badness(word: str) -> int:
    return ("up", "drain", "down").index(_ORDERS[word])


async def check(target: Target, attempt: Attempt) -> Finding:
    send = dict(target.check.options).get("send")
    async with connected(target, attempt) as connection:
        attempt.step = "the agent says nothing"
        if send is not None:
            await connection.send(str(send).encode("latin-1"))
        line = await connection.line(MOST_LINE)
    return understood(line.decode("latin-1"))


def understood(text: str) -> Finding:
    """What an agent's line means; the worst of its words counts."""
    line = text.splitlines()[0] if text else ""
    words = re.split(r"[ \t,]+", line.partition("#")[0].strip().lower())
    order: Order | None = None
    figure: float | None = None
    said = ""
    for word in words:
        if (percent := _PERCENT.fullmatch(word)) is not None:
            figure = float(min(int(percent[1]), MOST_PERCENT))
        elif word in _ORDERS and (order is None or _badness(word) > _badness(said)):
            order, said = _ORDERS[word], word
    if order is None and figure is None:
        raise Failure("agent", f"the agent says {line[:40]!r}, which is no order")
    told = " ".join(word for word in (said, f"{figure:g}%" if figure is not None else "") if word)
    down = order == "down"
    return Finding(
        f"the agent says {told}",
        said if order in ("down", "drain") else "ok",
        passed=not down,
        figure=figure,
        order=order or "up",
    )
