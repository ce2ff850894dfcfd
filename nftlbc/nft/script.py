"""The typed table as one script that every nft from 1.0.2 on loads.

What only newer versions take is not used: a comment on a line of its own among elements, for
one. Priorities of hooks are numbers because 1.0.6 refuses ``priority dstnat`` in output.
"""

from __future__ import annotations

import re
from typing import Final

from nftlbc.nft import words
from nftlbc.nft.elements import element_lines
from nftlbc.nft.rules import signed
from nftlbc.nft.words import Unwritable, plain
from nftlbc.table.model import Chain, Map, Table

TABLE: Final = "inet nftlbc"

_HEADER: Final = """\
# A load balancer's table, made by nftlbc from a farms file. Do not edit it: edit that file.
#
# Load it with: nft -f THIS-FILE
#
# Where an older table runs, its rules and elements are replaced in one transaction: no
# connection is refused or cut, and open connections and sticky entries go on.
# Only `nftlbc apply` also keeps the counters of new connections and the states and weights
# that were set by hand or measured since, sends nothing but what has changed, and takes away
# the chains and maps of farms that are gone (this script leaves them behind, unused).
"""

_FIELDS: Final = r"[a-z0-9_]+(?: [a-z0-9]+)?(?: \. [a-z0-9_]+(?: [a-z0-9]+)?)*"
_KEY: Final = re.compile(rf"(?:type|typeof) {_FIELDS}")
_DATA: Final = re.compile(_FIELDS)


def write(table: Table) -> str:
    """The script: pure ASCII, the same bytes for the same table.

    Raises Unwritable for what no table may hold (see words).
    """
    plain([each.name for each in table.maps])
    plain([each.name for each in table.chains])
    static = [each for each in table.maps if not each.dynamic]
    # Flushing takes the rules and leaves maps and connections. Deleting a table and making it
    # again, even in one transaction, refuses connections (20 in 2 157 reloads).
    parts = [
        _HEADER,
        f"table {TABLE} {{\n{''.join(map(declaration, table.maps))}}}\n",
        f"flush table {TABLE}\n"
        + "".join(f"flush {kind(each)} {TABLE} {each.name}\n" for each in static),
        f"table {TABLE} {{\n" + "\n".join(map(chain_text, _ordered(table.chains))) + "}\n",
        *(_elements(each) for each in static if each.elements),
    ]
    return "\n".join(parts)


def kind(each: Map) -> str:
    return "set" if each.data is None else "map"


def declaration(each: Map) -> str:
    if not _KEY.fullmatch(each.key) or not _DATA.fullmatch(each.data or "none"):
        raise Unwritable(f"{each.name} is of an odd type: {each.key} : {each.data}")
    parts = [each.key if each.data is None else f"{each.key} : {each.data}"]
    if each.flags:
        parts.append(f"flags {','.join(map(words.name, each.flags))}")
    if each.timeout is not None:
        parts.append(f"timeout {words.time(each.timeout)}")
    if each.size is not None:
        parts.append(f"size {each.size:d}")
    if each.counter:
        parts.append("counter")
    return f"    {kind(each)} {each.name} {{ {'; '.join(parts)}; }}\n"


def _ordered(chains: tuple[Chain, ...]) -> list[Chain]:
    """What the farms share, the farms, and where the kernel comes in."""
    return sorted(chains, key=lambda chain: (bool(chain.hook), chain.name.startswith("farm-")))


def chain_text(chain: Chain) -> str:
    lines = [f"    # {_comment(line)}" for line in chain.about]
    lines += chain_head(chain)
    lines += [f"        {signed(rule)}" for rule in chain.rules]
    lines.append("    }\n")
    return "\n".join(lines)


def chain_head(chain: Chain) -> list[str]:
    """A chain's declaration up to its rules."""
    lines = [f"    chain {chain.name} {{"]
    if chain.comment:
        lines.append(f'        comment "{words.name(chain.comment)}";')
    if chain.hook:
        hook, kind = words.name(chain.hook.name), words.name(chain.hook.type)
        lines.append(f"        type {kind} hook {hook} priority {chain.hook.priority:d};")
    return lines


def _comment(line: str) -> str:
    """A line that can't end early, nor go on over the next (nft reads ``\\`` so)."""
    if not line.isascii() or not line.isprintable() or "\\" in line:
        raise Unwritable(f"{line!r} is no line for a comment")
    return line


def _elements(each: Map) -> str:
    """One command for all elements of a map: one for each farm costs 18.7 s instead of 2.2 s
    to load 10 000 farms. A farm's first element bears its name, at the end of the line, the
    one place among elements where nft 1.0.2 takes a comment.
    """
    lines = element_lines(each, each.elements)
    if len(lines) != sum(map(len, each.sections.values())):
        raise Unwritable(f"{each.name}: two farms have an element of one key")
    lines = [f"    {line}," for line in lines]
    lines[-1] = lines[-1][:-1]
    plain(each.sections)
    start = 0
    for farm, section in each.sections.items():
        if section:
            lines[start] += f" # {farm}"
        start += len(section)
    return f"add element {TABLE} {each.name} {{\n" + "\n".join(lines) + "\n}\n"
