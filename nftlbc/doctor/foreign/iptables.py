"""iptables' tables: the lines of iptables-save become statements as nft's JSON has them.

Of rules that iptables-nft made, nft shows the native parts and calls the rest ``xt``; of
iptables-legacy's it knows nothing. Only tables that are there already are asked for, because
iptables makes those that it is asked for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from nftlbc.doctor.finding import Unseen
from nftlbc.doctor.foreign.model import Chain, Family, Hook, Rule, Table
from nftlbc.doctor.foreign.options import statements
from nftlbc.doctor.machine import Machine

_TABLES: Final = ("raw", "mangle", "nat", "filter", "security")
_PRIORITIES: Final = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_SOURCE_NAT: Final = ("POSTROUTING", "INPUT")
_MOST_LINES: Final = 100_000
_CHAIN: Final = re.compile(r":(\S+) (\S+)")


def improve(machine: Machine, table: Table) -> Table:
    """A table that nft listed, its rules as iptables-save tells them where iptables made it."""
    if table.family not in ("ip", "ip6") or table.name not in _TABLES:
        return table
    if not any(_foreign(rule) for chain in table.chains.values() for rule in chain.rules):
        return table
    program = _saver(machine, table.family, "nft")
    if program is None:
        return replace(table, hidden=True)
    try:
        rules = _saved(machine, program, table.name)
    except Unseen:
        return replace(table, hidden=True)
    chains = {
        name: replace(chain, rules=rules.get(name, chain.rules))
        for name, chain in table.chains.items()
    }
    return replace(table, chains=chains, made_by="iptables-nft")


def legacy(machine: Machine) -> Iterator[Table | tuple[str, str]]:
    """The tables of iptables-legacy, or a table's name and why it could not be read."""
    families: tuple[tuple[Family, str], ...] = (("ip", "ip_tables"), ("ip6", "ip6_tables"))
    for family, file in families:
        try:
            names = (machine.read(f"proc/net/{file}_names") or "").split()
        except Unseen:
            continue  # whoever may not read this may not read nft's tables either
        for name in names:
            if name not in _TABLES:
                continue
            program = _saver(machine, family, "legacy")
            title = f"{'ip6tables' if family == 'ip6' else 'iptables'}-legacy's table {name}"
            if program is None:
                yield title, "iptables-legacy-save is not on this machine: apt install iptables"
                continue
            try:
                rules = _saved(machine, program, name)
            except Unseen as problem:
                yield title, problem.reason
                continue
            chains = {each: Chain(each, found, _hook(name, each)) for each, found in rules.items()}
            for each, policy in rules.policies.items():
                hook = chains[each].hook
                if hook is not None and policy == "DROP":
                    chains[each] = replace(chains[each], hook=replace(hook, policy="drop"))
            yield Table(family, name, chains, {}, made_by="iptables-legacy")


class _Rules(dict[str, tuple[Rule, ...]]):
    """The rules of a table by chain, and the chains' policies."""

    policies: dict[str, str]


def _foreign(rule: Rule) -> bool:
    return any(isinstance(each, dict) and "xt" in each for each in rule.statements)


def _saver(machine: Machine, family: Family, kind: str) -> str | None:
    """The save program for nft's or for the legacy tables, whatever it is called here."""
    base = "ip6tables" if family == "ip6" else "iptables"
    if machine.find(f"{base}-{kind}-save"):
        return f"{base}-{kind}-save"
    if machine.find(f"{base}-save"):
        told = machine.run([f"{base}-save", "--version"]).output
        if ("nf_tables" in told) == (kind == "nft"):
            return f"{base}-save"
    return None


def _saved(machine: Machine, program: str, name: str) -> _Rules:
    ran = machine.run([program, "-t", name])
    if ran.status != 0:
        raise Unseen(f"{program} refuses: {ran.errors.strip()[:200]}")
    lines = ran.output.split("\n")
    if len(lines) > _MOST_LINES:
        raise Unseen(f"it has more than {_MOST_LINES} rules")
    rules: dict[str, list[Rule]] = {}
    policies = {}
    for line in lines:
        if found := _CHAIN.match(line):
            rules[found.group(1)] = []
            policies[found.group(1)] = found.group(2)
        elif line.startswith("-A "):
            try:
                words = shlex.split(line)
            except ValueError:
                raise Unseen(f"{program} wrote a line that ends too early") from None
            made: list[Any] = statements(words[2:])
            rules.setdefault(words[1], []).append(Rule(tuple(made), line))
    found_rules = _Rules({chain: tuple(each) for chain, each in rules.items()})
    found_rules.policies = policies
    return found_rules


def _hook(table: str, chain: str) -> Hook | None:
    if chain not in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"):
        return None
    if table == "nat":
        priority = 100 if chain in _SOURCE_NAT else -100
        return Hook("nat", chain.lower(), priority, "accept")
    return Hook("filter", chain.lower(), _PRIORITIES[table], "accept")
