"""The kernel's table, as it is read by us and as nft lists it, against the typed one."""

from __future__ import annotations

from typing import Any

from nftlbc.nft import netlink
from nftlbc.nft.rules import digest
from nftlbc.table.model import Destination, Note, Table


def assert_same(found: netlink.KernelTable, table: Table) -> None:
    assert set(found.maps) == {each.name for each in table.maps}
    for each in table.maps:
        its = found.maps[each.name]
        assert its.declared_as(each), its
        assert its.readable
        if not each.dynamic:
            assert dict(its.elements) == dict(each.elements)
    assert set(found.chains) == {each.name for each in table.chains}
    for chain in table.chains:
        its_chain = found.chains[chain.name]
        assert [rule.comment for rule in its_chain.rules] == [digest(rule) for rule in chain.rules]
        if chain.hook is None:
            assert its_chain.hook is None
        else:
            assert its_chain.hook == (chain.hook.name, chain.hook.priority, chain.hook.type, True)


# nft's listing as the model's values


def part(value: Any, kind: str) -> Any:
    if isinstance(value, dict):
        first, last = value["range"]
        return part(first, kind), part(last, kind)
    if kind == "classid" and isinstance(value, str):
        if ":" not in value:
            return {"none": 0, "root": 0xFFFFFFFF}[value]
        major, minor = value.split(":")
        return int(major, 16) << 16 | int(minor, 16)
    return value


def parts_of(value: Any, its: netlink.KernelMap) -> Any:
    kinds = its.key.split(" . ")
    values = value["concat"] if isinstance(value, dict) and "concat" in value else [value]
    found = [part(each, kind) for each, kind in zip(values, kinds, strict=True)]
    if "interval" in its.flags:
        found = [
            (each, each) if kind == "inet_service" and isinstance(each, int) else each
            for each, kind in zip(found, kinds, strict=True)
        ]
    return found[0] if len(found) == 1 else tuple(found)


def data_of(value: Any, comment: str | None) -> Any:
    if isinstance(value, dict) and "goto" in value:
        return value["goto"]["target"]
    if isinstance(value, dict) and "jump" in value:
        return f"jump {value['jump']['target']}"
    if isinstance(value, dict) and "concat" in value:
        return Destination(*value["concat"], comment or "")
    if isinstance(value, str) and comment is not None:
        return Destination(value, None, comment)
    return value


Listed = dict[Any, tuple[Any, str | None, tuple[int, int] | None, int | None]]


def listed(objects: list[dict[str, Any]], its: netlink.KernelMap) -> Listed:
    """Data, comment, counter and timeout in seconds by key, as nft lists them."""
    kind = "set" if its.data is None else "map"
    rows = next(o[kind] for o in objects if kind in o and o[kind]["name"] == its.name)
    found: Listed = {}
    for row in rows.get("elem", []):
        key, data = (row, None) if its.data is None else row
        around = key.get("elem", {}) if isinstance(key, dict) else {}
        comment = around.get("comment")
        counter = around.get("counter")
        found[parts_of(around.get("val", key), its)] = (
            data_of(data, comment),
            comment,
            (counter["packets"], counter["bytes"]) if counter else None,
            # Not told where it is the map's.
            around.get("timeout", rows.get("timeout") if "expires" in around else None),
        )
    return found


def as_listed(its: netlink.KernelMap) -> Listed:
    return {
        key: (
            None if isinstance(data, Note) else data,
            its.comments.get(key),
            its.counters.get(key),
            its.leases[key].timeout // 1000 if key in its.leases else None,
        )
        for key, data in its.elements.items()
    }
