"""Commands that let the farms' packets through a foreign chain, and past a rule of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

from nftlbc.doctor.finding import unique
from nftlbc.doctor.foreign.model import Chain, Table
from nftlbc.doctor.foreign.packet import Path
from nftlbc.doctor.interference import Standing
from nftlbc.table.model import OURS

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""Names that can be given to nft without its reading them as something else."""
_MOST: Final = 16
"""Commands of one finding."""


def translated_through(table: Table, chain: Chain) -> tuple[str, ...]:
    """Accepts all translated connections, both ways, at the chain's beginning."""
    if table.made_by == "nft":
        return _nft(table, chain, "ct status dnat accept")
    return (_iptables(table, chain, "-m conntrack --ctstate DNAT -j ACCEPT"),)


def by_destination(standings: Sequence[Standing]) -> tuple[str, ...]:
    """Accepts what goes to the listeners, and what their backends answer; accept ends a chain,
    not the packet's way through the others."""
    found: list[str] = []
    for each in standings:
        if each.table.made_by == "nft":
            found += _nft(each.table, each.chain, f"{_nft_match(each.path, each.answer)} accept")
        else:
            match = _iptables_match(each.path, each.answer)
            found.append(_iptables(each.table, each.chain, f"{match} -j ACCEPT"))
    return unique(found)[:_MOST]


def past_ours(table: Table, chain: Chain) -> tuple[str, ...]:
    """Leaves the chain, at its beginning, with every connection of ours."""
    if table.made_by == "nft":
        return _nft(table, chain, f"ct mark and 0x{OURS:x} != 0 return")
    return (_iptables(table, chain, f"-m connmark --mark 0x{OURS:x}/0x{OURS:x} -j RETURN"),)


def _nft(table: Table, chain: Chain, rule: str) -> tuple[str, ...]:
    names = (table.family, table.name, chain.name)
    if not all(_PLAIN.fullmatch(name) for name in names):
        return ()
    # The shell has no part in this: no name here holds a sign, and ! alone is none of its.
    return (f"nft insert rule {' '.join(names)} {rule}",)


def _iptables(table: Table, chain: Chain, rule: str) -> str:
    program = table.program + ("-legacy" if table.made_by == "iptables-legacy" else "")
    where = "" if table.name == "filter" else f" -t {table.name}"
    return f"{program}{where} -I {shlex.quote(chain.name)} {rule}"


def _nft_match(path: Path, answer: bool) -> str:
    ip = "ip6" if path.family == 6 else "ip"
    if answer:
        return f"{ip} saddr {path.backend} {path.protocol} sport {path.backend_port}"
    return f"{ip} daddr {path.listener} {path.protocol} dport {path.port}"


def _iptables_match(path: Path, answer: bool) -> str:
    if answer:
        return f"-s {path.backend} -p {path.protocol} --sport {path.backend_port}"
    return f"-d {path.listener} -p {path.protocol} --dport {path.port}"
