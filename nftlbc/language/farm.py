"""``farm NAME { ... }`` and ``defaults { ... }``: from their statements to a farm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nftlbc.diagnostics import Also, near
from nftlbc.farms import Address, Backend, Check, Farm, Listener, Protocol
from nftlbc.language import backend as backends
from nftlbc.language import check as checks
from nftlbc.language import hosts, values
from nftlbc.language.settings import SETTINGS
from nftlbc.language.shapes import MISTAKE, Node, Statement
from nftlbc.language.values import Context
from nftlbc.source import Place

MOST_LISTENERS = 65536
"""Of one statement: addresses times protocols times port ranges."""
_PROTOCOLS = ("tcp", "udp", "sctp")
_KEYWORDS = ("listen", "backend", "check", *(keyword for keyword, _, _ in SETTINGS.values()))


@dataclass
class Body:
    """What the statements of a farm or of defaults say."""

    settings: dict[str, Any] = field(default_factory=dict)
    """By the farm's field."""
    places: dict[str, Place] = field(default_factory=dict)
    """By keyword."""
    listeners: list[Listener] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    checks: list[Check] | None = None
    """None: no check is written, the defaults' apply."""
    mistaken: set[str] = field(default_factory=set)
    """Keywords of the statements with a mistake: what they say is not here."""

    def place(self, part: str) -> Place:
        """Where a statement is, by its keyword; ``KEYWORD WORD``: one word of it, if it is there.

        ``check N`` is a check by its number. A statement that is not written has the place of the
        farm's name.
        """
        if part in self.places:
            return self.places[part]
        keyword, _, word = part.partition(" ")
        place = self.places.get(keyword) or self.places["name"]
        if word:
            source, first, last = place
            for at in range(first, last + 1):
                if source.tokens[at] == word:
                    return Place(source, at, at)
        return place


def read_body(context: Context, statement: Statement) -> Body:
    body = Body(places={"name": statement.place()})
    for each in statement.body or ():
        rule = each.rule
        if rule == "backend":
            backend = backends.read(context, each)
            if backend is None:
                body.mistaken.add("backend")
            else:
                body.backends.append(backend)
        elif rule == "listen":
            _read_listen(context, each, body)
        elif rule == "check":
            body.checks = body.checks or []
            check = checks.read(context, each)
            if check is None:
                body.mistaken.add("check")
            else:
                body.places[f"check {len(body.checks)}"] = each.place()
                body.checks.append(check)
            body.places.setdefault("check", each.place())
        elif rule == MISTAKE:
            body.mistaken |= _meant(each)
        elif rule in SETTINGS:
            _read_setting(context, each, body)
    return body


def _read_setting(context: Context, statement: Statement, body: Body) -> None:
    keyword, name, reader = SETTINGS[statement.rule]
    if keyword in body.places:
        first = Also("first here", body.places[keyword])
        context.error(f"{keyword} is given twice", statement.place(), None, first)
        reader(context, statement)  # what else is wrong with it
        return
    body.places[keyword] = statement.place()
    value = reader(context, statement)
    if value is None:
        body.mistaken.add(keyword)
    else:
        body.settings[name] = value


def _meant(statement: Statement) -> set[str]:
    """The keyword of the statement that something wrong was meant to be; all if nobody knows."""
    word = statement.source.tokens[statement.base]
    meant = near(word, _KEYWORDS)
    return set(_KEYWORDS) if meant is None else {meant}


def read_defaults(context: Context, statement: Statement) -> Body:
    """Defaults have no listeners and no backends."""
    for each in statement.body or ():
        if each.rule in ("listen", "backend"):
            place = each.place(each.shape.node._replace(last=0))
            context.error(f"{each.rule!r} inside defaults", place, "it belongs to one farm")
    return read_body(context, statement)


def read_farm(context: Context, statement: Statement, defaults: Body | None) -> Farm:
    """The farm, without what has a mistake in it (``mistaken``)."""
    node = statement.shape.node.children[0].children[0]
    item = values.Item(node.rule, statement.text(node), statement.place(node))
    name = values.name(context, item, "farm")
    body = read_body(context, statement)
    body.places["name"] = item.place
    if not body.listeners and "listen" not in body.mistaken:
        help = "add: listen ADDRESS tcp port PORT"
        context.error(f"farm {item.text} has no listener", item.place, help)
        body.mistaken.add("listen")
    if not body.backends and "backend" not in body.mistaken:
        help = "add: backend NAME ADDRESS port PORT"
        context.error(f"farm {item.text} has no backend", item.place, help)
        body.mistaken.add("backend")
    if name is None:
        body.mistaken.add("name")
    inherited = _inherit(body, defaults) if defaults is not None else ()
    return Farm(
        name=item.text,
        listeners=tuple(body.listeners),
        backends=tuple(body.backends),
        checks=tuple(body.checks or ()),
        mistaken=frozenset(body.mistaken),
        inherited=frozenset(inherited),
        origin=body,
        **body.settings,
    )


def _inherit(body: Body, defaults: Body) -> set[str]:
    """Take over the defaults' statements; gives their keywords.

    A statement of the farm replaces that of the defaults; its checks replace all of theirs.
    """
    body.settings = {**defaults.settings, **body.settings}
    if body.checks is None:
        body.checks = defaults.checks
    inherited = defaults.places.keys() - body.places.keys()
    body.mistaken |= defaults.mistaken & inherited
    body.places = {**defaults.places, **body.places}
    return inherited


def _read_listen(context: Context, statement: Statement, body: Body) -> None:
    """``listen ADDRESSES PROTOCOLS port PORTS [to PORT]``: one listener for each combination."""
    addresses_node, protocols_node, ports_node, *to_node = statement.shape.node.children
    before = len(context.diagnostics)
    addresses = _addresses(context, statement, addresses_node)
    protocols = _protocols(context, statement, protocols_node)
    ports = [
        (found, item.used or item.place)
        for item in values.items(context, statement, ports_node.children)
        if (found := values.port_range(context, item)) is not None
    ]
    to = None
    if to_node:
        item_to = values.single(context, statement, to_node[0], "a listener's backend port")
        to = item_to and values.port(context, item_to, "backend port")
    if len(addresses) * len(protocols) * len(ports) > MOST_LISTENERS:
        context.error(f"more than {MOST_LISTENERS} listeners in one statement", statement.place())
        addresses = []
    if len(context.diagnostics) > before or not (addresses and protocols and ports):
        body.mistaken.add("listen")
    alone = len(addresses) == 1
    body.listeners += [
        Listener(address, protocol, first, last, to, port_place if alone else address_place)
        for address, address_place in addresses
        for protocol in protocols
        for (first, last), port_place in ports
    ]


def _addresses(context: Context, statement: Statement, node: Node) -> list[tuple[Address, Place]]:
    found = []
    for item in values.items(context, statement, node.children):
        address = hosts.address(context, item, "a listener")
        if address is not None and hosts.is_loopback(address):
            help = "the kernel does not route it: listen on an address of the machine"
            context.wrong(item, f"{address} can't be a listener: it is a loopback address", help)
        elif address is not None:
            found.append((address, item.used or item.place))
    return found


def _protocols(context: Context, statement: Statement, node: Node) -> list[Protocol]:
    found: dict[Protocol, Place] = {}
    for item in values.items(context, statement, node.children):
        if item.text not in _PROTOCOLS:
            context.wrong(item, f"{item.text!r} is not a protocol", "there are tcp, udp and sctp")
            continue
        protocol: Protocol = item.text  # type: ignore[assignment]
        place = item.used or item.place
        if protocol in found:
            also = Also("first here", found[protocol])
            context.error(f"{protocol} is given twice", place, None, also)
        else:
            found[protocol] = place
    return list(found)
