"""Reading the foreign tables, one by one and each by its name.

A table written by a newer nft makes older ones die (nft 1.0.2 to 1.0.9 crash on what 1.1.7
wrote), so each is a run of nft of its own: what one table does to it, the others don't feel.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from nftlbc.doctor.finding import Unseen
from nftlbc.doctor.foreign import iptables
from nftlbc.doctor.foreign.model import FAMILIES, Chain, Family, Hook, Rule, Table
from nftlbc.doctor.machine import Machine, documents

_OURS: Final = ("inet", "nftlbc")
# nft joins its arguments into one command, so a table that somebody called "a; flush ruleset"
# would be just that. No nft can make such a name, but netlink can.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./\\-]{0,127}")


@dataclass
class Ruleset:
    tables: list[Table] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    """``table ip x`` and why it could not be read."""


def read(machine: Machine) -> Ruleset:
    """All tables but ours. Raises Unseen where not even their names can be had."""
    ran = machine.run(["nft", "-j", "list", "tables"])
    if ran.status != 0:
        if "ermitted" in ran.errors:
            raise Unseen("this user may not read the kernel's tables: run it as root")
        raise Unseen(f"nft refuses to list the tables: {_line(ran.errors)}")
    ruleset = Ruleset()
    for row in _rows(ran.output):
        table = row.get("table")
        if not isinstance(table, dict):
            continue
        family, name = str(table.get("family")), str(table.get("name"))
        if family not in FAMILIES or (family, name) == _OURS:
            continue
        try:
            found = _table(machine, family, name)
        except Unseen as problem:
            ruleset.unread[f"table {family} {name}"] = problem.reason
            continue
        if found is not None:
            ruleset.tables.append(found)
    for legacy in iptables.legacy(machine):
        if isinstance(legacy, Table):
            ruleset.tables.append(legacy)
        else:
            ruleset.unread[legacy[0]] = legacy[1]
    return ruleset


def _table(machine: Machine, family: Family, name: str) -> Table | None:
    """A table; None where the kernel calls none of its chains. Raises Unseen."""
    if not _NAME.fullmatch(name):
        raise Unseen("its name is none that nft could be given")
    ran = machine.run(["nft", "-j", "list", "table", family, name])
    if ran.status != 0:
        raise Unseen(f"nft refuses to list it: {_line(ran.errors)}")
    try:
        table, flags = _parse(family, name, _rows(ran.output))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Unseen("nft lists it in a way that is not known here") from None
    if flags and _dormant(machine, table, flags):
        return None
    return iptables.improve(machine, table)


def _parse(family: Family, name: str, rows: Iterator[dict[str, Any]]) -> tuple[Table, Any]:
    chains: dict[str, Chain] = {}
    rules: dict[str, list[Rule]] = defaultdict(list)
    sets: dict[str, tuple[Any, ...]] = {}
    flags = None
    for row in rows:
        if "table" in row:
            flags = row["table"].get("flags")
        elif "chain" in row:
            chain = row["chain"]
            chains[str(chain["name"])] = Chain(str(chain["name"]), (), _hook(chain))
        elif "rule" in row:
            rule = row["rule"]
            statements = tuple(rule.get("expr", ()))
            rules[str(rule["chain"])].append(Rule(statements, f"handle {int(rule['handle'])}"))
        elif "set" in row or "map" in row:
            found = row.get("set") or row["map"]
            sets[str(found["name"])] = tuple(found.get("elem", ()))
    filled = {key: replace(each, rules=tuple(rules[key])) for key, each in chains.items()}
    return Table(family, name, filled, sets), flags


def _hook(chain: dict[str, Any]) -> Hook | None:
    if "hook" not in chain:
        return None
    devices = chain.get("dev")
    if isinstance(devices, str):
        devices = [devices]
    return Hook(
        str(chain["type"]),
        str(chain["hook"]),
        int(chain["prio"]),
        "drop" if chain.get("policy") == "drop" else "accept",
        tuple(map(str, devices)) if devices is not None else None,
    )


def _dormant(machine: Machine, table: Table, flags: Any) -> bool:
    """The kernel calls none of its chains. nft 1.0.6 writes the table's name for its flags."""
    listed = [flags] if isinstance(flags, str) else list(flags)
    if "dormant" in listed:
        return True
    if listed != [table.name]:
        return False
    ran = machine.run(["nft", "list", "table", table.family, table.name])
    first = [line.strip() for line in ran.output.split("\n")[:4]]
    return any(line.startswith("flags ") and "dormant" in line for line in first)


def _rows(output: str) -> Iterator[dict[str, Any]]:
    for document in documents(output, "nft"):
        rows = document.get("nftables") if isinstance(document, dict) else None
        if not isinstance(rows, list):
            raise Unseen("nft lists it in a way that is not known here")
        yield from (row for row in rows if isinstance(row, dict))


def _line(text: str) -> str:
    """The first line of what a program said, shortened."""
    return text.strip().split("\n", 1)[0][:200] or "without a word"
