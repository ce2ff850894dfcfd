"""From the statements of a farms file to its JSON form, comments and all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nftlbc.language import check
from nftlbc.language.fmt import WIDTH, listed
from nftlbc.language.json_form.anchors import Anchors
from nftlbc.language.json_form.scalars import bare_value, define_text, text_value
from nftlbc.language.json_form.structure import Path
from nftlbc.language.settings import SETTINGS
from nftlbc.language.shapes import Node, Statement
from nftlbc.language.values import Context, Item, string

Members = dict[str, Any]
Make = Callable[[Statement, Node], Any]


class Builder:
    """The document of a file's statements.

    ``anchors`` learns where each part of the document was written. What has no place in a
    document, such as an option that is given twice, is a mistake in ``context``.
    """

    def __init__(self, context: Context, anchors: Anchors | None) -> None:
        self.context = context
        self.anchors = anchors

    def file(self, statements: Sequence[Statement]) -> Members:
        document: Members = {}
        for statement in statements:
            children = statement.shape.node.children
            if statement.rule == "include":
                included = document.setdefault("include", [])
                self.plain(statement, ("include", len(included)))
                included.append(self.unquoted(statement, children[0]))
            elif statement.rule == "define":
                self.define(statement, document.setdefault("define", {}))
            elif statement.rule == "defaults":
                defaults = self.body(statement, ("defaults",))
                self.once(statement, document, "defaults", defaults)
            elif statement.rule == "farm":
                farms = document.setdefault("farms", [])
                name = statement.text(children[0])
                farms.append({"name": name, **self.body(statement, ("farms", len(farms)))})
        return document

    def define(self, statement: Statement, defines: Members) -> None:
        name_node, list_node = statement.shape.node.children
        name = statement.text(name_node)
        path: Path = ("define", name)
        last = self.plain(statement, path)
        self.once(
            statement, defines, name, self.listed(statement, list_node, path, self.define_value)
        )
        if self.anchors and statement.source.tokens[last] == "}":
            texts = [statement.text(leaf(node)) for node in list_node.children]
            wide = len(texts) > 1 and len(f"define {name} = {listed(texts)}") > WIDTH
            if wide or self.anchors.has_comments(statement.base, last):
                self.anchors.beside[last] = path, "after"

    def body(self, statement: Statement, path: Path) -> Members:
        """What the block of a farm or of defaults says."""
        members: Members = {}
        for each in statement.body or ():
            if each.rule in _SEVERAL:
                member, read = _SEVERAL[each.rule]
                if member != "check" and path == ("defaults",):
                    self.context.error(f"{each.rule} in defaults", each.place())
                    continue
                several = members.setdefault(member, [])
                several.append(read(self, each, (*path, member, len(several))))
            elif each.rule in SETTINGS:
                keyword = SETTINGS[each.rule][0]
                at = (*path, keyword)
                self.plain(each, at)
                self.once(each, members, keyword, _SETTINGS.get(each.rule, _word)(self, each, at))
        self.block(statement, path)
        return members

    def once(self, statement: Statement, members: Members, name: str, value: Any) -> None:
        if name in members:
            self.context.error(f"{name} is given twice", statement.place())
        members[name] = value

    # Values

    def bare(self, statement: Statement, node: Node) -> str | int:
        return bare_value(statement.text(leaf(node)))

    def unquoted(self, statement: Statement, node: Node) -> str:
        item = Item(node.rule, statement.text(node), statement.place(node))
        return string(self.context, item, "a text") or ""

    def text(self, statement: Statement, node: Node) -> str:
        """What stands where a quoted string should: one, or a reference."""
        node = leaf(node)
        if node.rule == "REFERENCE":
            return statement.text(node)
        return text_value(self.unquoted(statement, node))

    def define_value(self, statement: Statement, node: Node) -> Any:
        node = leaf(node)
        if node.rule == "STRING":
            return define_text(self.unquoted(statement, node))
        return self.bare(statement, node)

    def listed(self, statement: Statement, node: Node, path: Path, make: Make | None = None) -> Any:
        """The values of a list; one that is alone stands for itself, unless comments need it."""
        values = [(make or self.bare)(statement, each) for each in node.children]
        if self.anchors is None:
            return values if len(values) > 1 else values[0]
        tokens = statement.source.tokens
        opener = statement.base + node.children[0].first - 1
        while tokens[opener] == "\n":
            opener -= 1
        if tokens[opener] != "{":
            return values if len(values) > 1 else values[0]
        closer = _closer(tokens, statement.base + node.children[-1].last)
        if self.anchors.has_comments(opener, closer):
            self.anchors.braces(opener, closer, path)
            for number, each in enumerate(node.children):
                at = statement.base + each.first
                self.anchors.statement(at, at, (*path, number))
        # A define's own pointer is its list's: what is beside its brace needs no list.
        behind_opener = opener + 1 if statement.rule == "define" else opener
        commented = self.anchors.has_comments(behind_opener, closer)
        return values if len(values) > 1 or commented else values[0]

    # Where they were written

    def plain(self, statement: Statement, path: Path) -> int:
        """A statement without a block; gives its last token."""
        last = statement.base + statement.shape.node.last
        if self.anchors:
            self.anchors.statement(statement.base, last, path)
        return last

    def block(self, statement: Statement, path: Path) -> None:
        if self.anchors:
            tokens = statement.source.tokens
            opener = tokens.index("{", statement.base)
            closer = _block_end(statement)
            self.anchors.block(statement.base, opener, closer, path)


def leaf(node: Node) -> Node:
    """The terminal of a rule that has but one."""
    while node.children:
        node = node.children[0]
    return node


def _closer(tokens: Sequence[str], last: int) -> int:
    """The first closing brace behind a token."""
    while tokens[last] != "}":
        last += 1
    return last


def _block_end(statement: Statement) -> int:
    tokens = statement.source.tokens
    if statement.body:
        inner = statement.body[-1]
        last = inner.base + inner.shape.node.last if inner.body is None else _block_end(inner)
        return _closer(tokens, last + 1)
    return _closer(tokens, statement.base)


# The statements of a farm


def _listen(builder: Builder, statement: Statement, path: Path) -> Members:
    builder.plain(statement, path)
    addresses, protocols, ports, *to = statement.shape.node.children
    found = {
        "address": builder.listed(statement, addresses, (*path, "address")),
        "protocol": builder.listed(statement, protocols, (*path, "protocol")),
        "port": builder.listed(statement, ports, (*path, "port")),
    }
    if to:
        found["to"] = builder.bare(statement, to[0])
    return found


def _backend(builder: Builder, statement: Statement, path: Path) -> Members:
    builder.plain(statement, path)
    name, address, *options = statement.shape.node.children
    found: Members = {
        "name": statement.text(leaf(name)),
        "address": builder.bare(statement, address),
    }
    for option in options:
        value = builder.bare(statement, option) if option.children else True
        builder.once(statement, found, option.rule, value)
    return found


def _check(builder: Builder, statement: Statement, path: Path) -> Members:
    kind = statement.text(leaf(statement.shape.node.children[0]))
    found: Members = {"kind": kind}
    options = {**check.COMMON, **check.KINDS.get(kind, {})}
    if kind not in check.KINDS:
        builder.context.error(f"{kind!r} is no kind of check", statement.place())
    for each in statement.body or ():
        name_node, *arguments = each.shape.node.children
        name = each.text(leaf(name_node))
        if name not in options:
            if kind in check.KINDS:
                builder.context.error(f"check {kind} has no option {name!r}", each.place())
            continue
        value = _option(builder, each, options[name].form, arguments)
        if options[name].many:
            several = found.setdefault(name, [])
            builder.plain(each, (*path, name, len(several)))
            several.append(value)
        else:
            builder.plain(each, (*path, name))
            builder.once(each, found, name, value)
    if statement.body is None:
        builder.plain(statement, path)
    else:
        builder.block(statement, path)
    return found


_SEVERAL: Mapping[str, tuple[str, Callable[[Builder, Statement, Path], Members]]] = {
    "listen": ("listen", _listen),
    "backend": ("backends", _backend),
    "check": ("check", _check),
}
"""By rule: the member with all statements of it, and what makes a value of each."""


def _word(builder: Builder, statement: Statement, path: Path) -> Any:
    return builder.bare(statement, statement.shape.node.children[0])


def _forward(builder: Builder, statement: Statement, path: Path) -> Any:
    way = statement.shape.node.children[0]
    if len(way.children) == 1:
        return builder.bare(statement, way)
    return {"snat": builder.listed(statement, way.children[2], (*path, "snat"))}


def _balance(builder: Builder, statement: Statement, path: Path) -> Any:
    way = statement.shape.node.children[0]
    scheduler = statement.text(leaf(way))
    if len(way.children) == 1:
        return scheduler
    found = {scheduler: builder.listed(statement, way.children[1], (*path, scheduler))}
    if len(way.children) == 4:
        found["slots"] = builder.bare(statement, way.children[3])
    return found


def _persist(builder: Builder, statement: Statement, path: Path) -> Any:
    keys, *options = statement.shape.node.children
    found: Members = {"keys": builder.listed(statement, keys, (*path, "keys"))}
    for option in options:
        name = {"timeout": "for"}.get(option.rule, option.rule)
        builder.once(statement, found, name, builder.bare(statement, option))
    return found


def _on_change(builder: Builder, statement: Statement, path: Path) -> Any:
    return _texts(builder, statement, statement.shape.node.children)


_SETTINGS: Mapping[str, Callable[[Builder, Statement, Path], Any]] = {
    "forward": _forward,
    "balance": _balance,
    "persist": _persist,
    "hairpin": lambda builder, statement, path: True,
    "count": lambda builder, statement, path: "traffic",
    "on_change": _on_change,
}
"""By rule; the others are a word or a number."""


# The arguments of a check's options


def _option(builder: Builder, statement: Statement, form: str, arguments: Sequence[Node]) -> Any:
    """By the option's form (``check.FORMS``, or ``word``)."""
    rules = [leaf(node).rule for node in arguments]
    quoted = bool(rules) and {*rules} <= {"STRING", "REFERENCE"}
    labelled = len(rules) == 2 and rules[0] != "STRING" and rules[1] in ("STRING", "REFERENCE")
    if form == "flag" and not rules:
        return True
    if form in ("text", "texts", "pair") and quoted:
        return _texts(builder, statement, arguments)
    if form == "statuses" and rules and "STRING" not in rules:
        values = [builder.bare(statement, node) for node in arguments]
        return values if len(values) > 1 else values[0]
    if form in ("match", "secret") and labelled:
        label, text = arguments
        return {statement.text(leaf(label)): builder.text(statement, text)}
    alone = len(rules) == 1 and rules != ["STRING"]
    if form not in ("flag", "text", "texts", "pair", "statuses") and alone:
        return builder.bare(statement, arguments[0])
    message = f"there is no {statement.text(leaf(statement.shape.node.children[0]))} like this"
    builder.context.error(message, statement.place())
    return None


def _texts(builder: Builder, statement: Statement, nodes: Sequence[Node]) -> Any:
    texts = [builder.text(statement, node) for node in nodes]
    return texts if len(texts) > 1 else texts[0]
