"""``farm NAME { ... }`` and ``defaults { ... }``: from their statements to a farm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nftlbc.diagnostics import Also
from nftlbc.farms import Backend, Check, Farm, Listener, Protocol
from nftlbc.language import backend as backends
from nftlbc.language import check as checks
from nftlbc.language import values
from nftlbc.language.settings import SETTINGS
from nftlbc.language.syntax import Node, Statement
from nftlbc.language.values import Context
from nftlbc.source import Place

MOST_LISTENERS = 65536
"""Of one statement: addresses times protocols times port ranges."""
_PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass
class Body:
    """What the statements of a farm or of defaults say."""

    settings: dict[str, Any] = field(default_factory=dict)
    """By the farm's field; None where the statement had a mistake."""
    places: dict[str, Place] = field(default_factory=dict)
    """By keyword."""
    listeners: list[Listener] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    checks: list[Check] | None = None
    """None: no check is written, the defaults' apply."""
    whole: bool = True
    """No listener or backend was left out for a mistake."""

    def place(self, part: str) -> Place:
        return self.places.get(part) or self.places["name"]


def read_body(context: Context, statement: Statement) -> Body:
    body = Body(places={"name": statement.place()})
    for each in statement.body or ():
        rule = each.rule
        if rule == "backend":
            backend = backends.read(context, each)
            if backend is None:
                body.whole = False
            else:
                body.backends.append(backend)
        elif rule == "listen":
            found = read_listen(context, each)
            body.whole = body.whole and found is not None
            body.listeners += found or ()
        elif rule == "check":
            body.checks = body.checks or []
            check = checks.read(context, each)
            if check is not None:
                body.checks.append(check)
            body.places.setdefault("check", each.place())
        else:
            keyword, name, reader = SETTINGS[rule]
            if keyword in body.places:
                first = Also("first here", body.places[keyword])
                context.error(f"{keyword} is given twice", each.place(), None, first)
                continue
            body.places[keyword] = each.place()
            body.settings[name] = reader(context, each)
    return body


def read_defaults(context: Context, statement: Statement) -> Body:
    """Defaults have no listeners and no backends."""
    for each in statement.body or ():
        if each.rule in ("listen", "backend"):
            context.error(f"{each.rule} in defaults", each.place(), "it belongs to one farm")
    return read_body(context, statement)


def read_farm(context: Context, statement: Statement, defaults: Body | None) -> Farm | None:
    """The farm, or None where nothing can be said of it as a whole."""
    node = statement.shape.node.children[0].children[0]
    item = values.Item(node.rule, statement.text(node), statement.place(node))
    name = values.name(context, item, "farm")
    body = read_body(context, statement)
    body.places["name"] = item.place
    if body.whole and not body.listeners:
        context.error(
            f"farm {item.text} has no listener",
            item.place,
            "add: listen ADDRESS tcp port PORT",
        )
    if body.whole and not body.backends:
        context.error(
            f"farm {item.text} has no backend", item.place, "add: backend NAME ADDRESS port PORT"
        )
    settings = {**(defaults.settings if defaults else {}), **body.settings}
    if name is None or not body.whole or any(value is None for value in settings.values()):
        return None
    found = body.checks if body.checks is not None else (defaults and defaults.checks) or []
    for keyword, place in (defaults.places if defaults else {}).items():
        body.places.setdefault(keyword, place)
    return Farm(
        name=name,
        listeners=tuple(body.listeners),
        backends=tuple(body.backends),
        checks=tuple(found),
        origin=body,
        **settings,
    )


def read_listen(context: Context, statement: Statement) -> list[Listener] | None:
    """``listen ADDRESSES PROTOCOLS port PORTS [to PORT]``: one listener for each combination."""
    addresses_node, protocols_node, ports_node, *to_node = statement.shape.node.children
    before = len(context.diagnostics)
    addresses = []
    for item in values.items(context, statement, addresses_node.children):
        address = values.address(context, item, "a listener")
        if address is not None and values.is_loopback(address):
            help = "the kernel does not route it: listen on an address of the machine"
            context.wrong(item, f"{address} can't be a listener: it is a loopback address", help)
        elif address is not None:
            addresses.append((address, item.place))
    protocols = _protocols(context, statement, protocols_node)
    ports = [
        (found, item.place)
        for item in values.items(context, statement, ports_node.children)
        if (found := values.port_range(context, item)) is not None
    ]
    to = None
    if to_node:
        item_to = values.single(context, statement, to_node[0], "a listener's backend port")
        to = item_to and values.port(context, item_to, "backend port")
    if len(context.diagnostics) > before:
        return None
    if len(addresses) * len(protocols) * len(ports) > MOST_LISTENERS:
        context.error(f"more than {MOST_LISTENERS} listeners in one statement", statement.place())
        return None
    alone = len(addresses) == 1
    return [
        Listener(address, protocol, first, last, to, port_place if alone else address_place)
        for address, address_place in addresses
        for protocol in protocols
        for (first, last), port_place in ports
    ]

def _protocols(context: Context, statement: Statement, node: Node) -> list[Protocol]:
    found: list[Protocol] = []
    for item in values.items(context, statement, node.children):
        if item.text not in _PROTOCOLS:
            context.wrong(item, f"{item.text!r} is not a protocol", "there are tcp, udp and sctp")
        elif item.text in found:
            context.wrong(item, f"{item.text} is given twice")
        else:
            found.append(item.text)  # type: ignore[arg-type]
    return found

