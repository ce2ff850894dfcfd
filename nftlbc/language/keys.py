"""Keys: what a client is known by."""

from __future__ import annotations

from nftlbc.diagnostics import Also
from nftlbc.farms import Key, KeyField
from nftlbc.language.shapes import Node, Statement
from nftlbc.language.values import Context, Item, items


def keys(context: Context, statement: Statement, node: Node) -> tuple[Key, ...]:
    """What a client is known by; prefixes are held against the farm's families by the rules."""
    found: dict[KeyField, tuple[Key, Item]] = {}
    for item in items(context, statement, node.children):
        if item.kind != "KEY":
            context.wrong(
                item,
                f"{item.text!r} is nothing that a client is known by",
                "keys are source-ip[/PREFIX], source-port, destination-ip, destination-port",
            )
            continue
        key = _key(context, item)
        if key is None:
            continue
        if key.field in found:
            first = found[key.field][1]
            also = Also("first here", first.used or first.place)
            context.error(f"{key.field} is given twice", item.used or item.place, None, also)
        else:
            found[key.field] = key, item
    return tuple(key for key, _ in found.values())


def _key(context: Context, item: Item) -> Key | None:
    word, *texts = item.text.split("/")
    field: KeyField = word  # type: ignore[assignment]
    if texts and not word.endswith("-ip"):
        context.wrong(item, f"a port has no prefix: {item.text}", f"write {word}")
        return None
    prefixes = [int(text[:9]) for text in texts]
    limits = [32, 128] if len(prefixes) == 2 else [128]
    for prefix, limit in zip(prefixes, limits, strict=False):
        if not 1 <= prefix <= limit:
            context.wrong(item, f"prefix length {prefix} is not between 1 and {limit}")
            return None
    return Key(field, *prefixes)
