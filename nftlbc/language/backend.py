"""``backend NAME ADDRESS [port N] [weight N] [backup] [state up|drain|down]``"""

from __future__ import annotations

from typing import Any, NamedTuple

from nftlbc.diagnostics import Also
from nftlbc.farms import Backend
from nftlbc.language import hosts, values
from nftlbc.language.shapes import Node, Shape, Statement
from nftlbc.language.values import Context
from nftlbc.source import Place

HEAVIEST = 65535


class _Plan:
    """Where the parts of a backend stand, for all that have this shape."""

    __slots__ = ("address", "again", "backup", "literal", "name", "port", "state", "weight")

    def __init__(self, shape: Shape) -> None:
        name, address, *options = shape.node.children
        self.name = name
        self.address = address
        self.again: list[tuple[Node, Node]] = []
        """Options given twice, with the first."""
        self.port = self.weight = self.state = None
        seen: dict[str, Node] = {}
        for option in options:
            if option.rule in seen:
                self.again.append((option, seen[option.rule]))
                continue
            seen[option.rule] = option
        self.port = _value(seen.get("port"))
        self.weight = _value(seen.get("weight"))
        self.state = _value(seen.get("state"))
        self.backup = "backup" in seen
        self.literal = (
            not self.again
            and name.children[0].rule == "NAME"
            and address.rule == "IPV4"
            and (self.port is None or self.port.rule == "INT")
            and (self.weight is None or self.weight.rule == "INT")
        )
        """Nothing is a define and all is of its kind, as in nearly every backend."""


def _value(option: Node | None) -> Node | None:
    node = option
    while node is not None and node.children:
        node = node.children[0]
    return node


def read(context: Context, statement: Statement) -> Backend | None:
    """The backend, or None where a part of it is missing or wrong."""
    plan = statement.shape.plan
    if plan is None:
        plan = statement.shape.plan = _Plan(statement.shape)
    return (plan.literal and _read_literal(statement, plan)) or _read(context, statement, plan)


def _read_literal(statement: Statement, plan: _Plan) -> Backend | None:
    """The backend in a fraction of ``_read``'s time; None where something may be wrong."""
    tokens, base = statement.source.tokens, statement.base
    name, address = tokens[base + plan.name.first], tokens[base + plan.address.first]
    if len(name) > values.LONGEST_NAME or not hosts.is_common_ipv4(address):
        return None
    port, weight = None, 1
    if plan.port is not None:
        port = values.number(tokens[base + plan.port.first])
        if not 1 <= port <= 65535:
            return None
    if plan.weight is not None:
        weight = values.number(tokens[base + plan.weight.first])
        if weight > HEAVIEST:
            return None
    state: Any = tokens[base + plan.state.first] if plan.state else "up"
    origin = _Origin(statement, plan)
    return Backend(name, address, port, weight, plan.backup, state, origin)


def _read(context: Context, statement: Statement, plan: _Plan) -> Backend | None:
    tokens, base = statement.source.tokens, statement.base
    for option, first in plan.again:
        context.error(
            f"{option.rule} is given twice",
            statement.place(option),
            None,
            Also("first here", statement.place(first)),
        )
    name: str | None = tokens[base + plan.name.first]
    if len(name) > values.LONGEST_NAME or plan.name.children[0].rule != "NAME":  # type: ignore[arg-type]
        name = values.name(context, _item(statement, plan.name.children[0]), "backend")
    address = (
        hosts.address(context, _item(statement, plan.address), "a backend")
        if (plan.address.rule != "REFERENCE")
        else _single_address(context, statement, plan.address)
    )
    port = weight = None
    wrong = name is None or address is None
    if plan.port is not None:
        item = values.single(context, statement, plan.port, "a backend's port")
        port = item and values.port(context, item, "backend's port")
        wrong = wrong or port is None
    if plan.weight is not None:
        item = values.single(context, statement, plan.weight, "a weight")
        weight = item and values.integer(context, item, "weight", 0, HEAVIEST)
        wrong = wrong or weight is None
    if wrong:
        return None
    state: Any = tokens[base + plan.state.first] if plan.state else "up"
    return Backend(
        name,  # type: ignore[arg-type]
        address,  # type: ignore[arg-type]
        port,
        1 if weight is None else weight,
        plan.backup,
        state,
        _Origin(statement, plan),
    )


def _item(statement: Statement, node: Node) -> values.Item:
    return values.Item(node.rule, statement.text(node), statement.place(node))


def _single_address(context: Context, statement: Statement, node: Node) -> str | None:
    item = values.single(context, statement, node, "a backend's address")
    return item and hosts.address(context, item, "a backend")


class _Origin(NamedTuple):
    statement: Statement
    plan: _Plan

    def place(self, part: str) -> Place:
        node = getattr(self.plan, part, None)
        return self.statement.place(node if isinstance(node, Node) else None)
