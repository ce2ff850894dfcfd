"""The statements that a farm has once and ``defaults`` may have: how it forwards, balances..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nftlbc.diagnostics import Also
from nftlbc.farms import (
    Address,
    Balance,
    Forward,
    Persistence,
    family_of,
)
from nftlbc.language import hosts, values
from nftlbc.language.keys import keys as read_keys
from nftlbc.language.shapes import Statement
from nftlbc.language.values import Context
from nftlbc.source import Place

MOST_SLOTS = 65537
LARGEST_STICKY = 1 << 22
LONGEST_SLOW_START = 3_600_000
_PERSIST = {"for": "a persist time", "size": "a size"}
Reader = Callable[[Context, Statement], Any]
"""From a statement to the value of the farm's field, or None after a mistake."""


def _forward(context: Context, statement: Statement) -> Forward | None:
    way = statement.shape.node.children[0]
    kind = statement.text(way)
    if kind in ("direct", "stateless", "tunnel"):
        context.error(
            f"forward {kind} is not there yet", statement.place(way), "use dnat, masquerade or snat"
        )
        return None
    if kind != "snat":
        return Forward(kind)  # type: ignore[arg-type]
    addresses: dict[int, tuple[Address, Place]] = {}
    before = len(context.diagnostics)
    for item in values.items(context, statement, way.children[2].children):
        address = hosts.address(context, item, "a source")
        if address is None:
            continue
        family = family_of(address)
        if family in addresses:
            context.error(
                f"a second IPv{family} address to snat to",
                item.used or item.place,
                "give at most one of each family",
                Also("the first", addresses[family][1]),
            )
        elif hosts.is_loopback(address):
            context.wrong(item, f"{address} can't be a source: it is a loopback address")
        else:
            addresses[family] = address, item.used or item.place
    if not addresses or len(context.diagnostics) > before:
        return None
    return Forward("snat", tuple(address for _, (address, _) in sorted(addresses.items())))


def _balance(context: Context, statement: Statement) -> Balance | None:
    way = statement.shape.node.children[0]
    scheduler: Any = statement.text(way.children[0])
    if scheduler not in ("hash", "consistent"):
        return Balance(scheduler)
    keys = read_keys(context, statement, way.children[1])
    if not keys:
        return None
    if len(way.children) == 2:
        return Balance(scheduler, keys)
    item = values.single(context, statement, way.children[3], "a number of slots")
    slots = item and values.integer(context, item, "slots", 2, MOST_SLOTS)
    return None if slots is None else Balance(scheduler, keys, slots)


def _persist(context: Context, statement: Statement) -> Persistence | None:
    keys_node, *options = statement.shape.node.children
    keys = read_keys(context, statement, keys_node)
    found: dict[str, Any] = {}
    places: dict[str, Place] = {}
    for option in options:
        word = {"timeout": "for"}.get(option.rule, option.rule)
        place = statement.place(option)
        if word in places:
            first = Also("first here", places[word])
            context.error(f"{word} is given twice", place, None, first)
            continue
        places[word] = place
        item = values.single(context, statement, option.children[0], _PERSIST[word])
        if item is None:
            found[option.rule] = None
        elif word == "for":
            found[option.rule] = values.duration(context, item, _PERSIST[word])
        else:
            found[option.rule] = values.integer(context, item, "size", 1, LARGEST_STICKY)
    if not keys or None in found.values():
        return None
    return Persistence(keys, **found)


def _quorum(context: Context, statement: Statement) -> int | None:
    item = values.single(context, statement, statement.shape.node.children[0], "a quorum")
    return item and values.integer(context, item, "quorum", 1, 65535)


def _slow_start(context: Context, statement: Statement) -> int | None:
    item = values.single(context, statement, statement.shape.node.children[0], "slow-start")
    return item and values.duration(context, item, "slow-start", LONGEST_SLOW_START)


def _word(context: Context, statement: Statement) -> str:
    return statement.text(statement.shape.node.children[0])


def _yes(context: Context, statement: Statement) -> bool:
    return True


def _on_change(context: Context, statement: Statement) -> tuple[str, ...] | None:
    found = values.items(context, statement, statement.shape.node.children)
    texts = [values.string(context, item, "an argument of exec") for item in found]
    if any(text is None for text in texts):
        return None
    if texts and not str(texts[0]).startswith("/"):
        context.error(
            f"the command {found[0].text} has no absolute path", found[0].place, "begin it with /"
        )
        return None
    return tuple(text for text in texts if text is not None)


SETTINGS: Mapping[str, tuple[str, str, Reader]] = {
    "forward": ("forward", "forward", _forward),
    "balance": ("balance", "balance", _balance),
    "persist": ("persist", "persistence", _persist),
    "quorum": ("quorum", "quorum", _quorum),
    "hairpin": ("hairpin", "hairpin", _yes),
    "on_down": ("on-down", "on_down", _word),
    "when_all_down": ("when-all-down", "when_all_down", _word),
    "slow_start": ("slow-start", "slow_start", _slow_start),
    "count": ("count", "count_traffic", _yes),
    "on_change": ("on-change", "on_change", _on_change),
}
"""By the grammar's rule: the keyword, the farm's field, and the reader."""
