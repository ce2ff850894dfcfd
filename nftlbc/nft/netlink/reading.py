"""Reading our table, and no other, as it is at one moment."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from nftlbc.nft.netlink import parts
from nftlbc.nft.netlink.connection import Connection, Disturbed
from nftlbc.nft.netlink.elements import CATCH_ALL, Contents, read_elements
from nftlbc.nft.netlink.events import Events
from nftlbc.nft.netlink.kernel_table import KernelChain, KernelMap, KernelRule, KernelTable
from nftlbc.nft.netlink.messages import (
    GET_CHAIN,
    GET_ELEMENTS,
    GET_RULE,
    GET_SET,
    GET_TABLE,
    NEW_CHAIN,
    NEW_ELEMENTS,
    NEW_RULE,
    NEW_SET,
    NEW_TABLE,
    attribute_list,
    attributes,
    comment,
    name_attribute,
    number,
)
from nftlbc.nft.program import NftError

Found = TypeVar("Found")

_TABLE: Final = "nftlbc"
_TRIES: Final = 10
_DORMANT: Final = 0x1
_SIDE_BY_SIDE: Final = 4
"""Dumps at once; more only wait for memory."""


def every(_: KernelMap) -> bool:
    return True


def generation() -> int:
    """The number that every change to any table of this network namespace moves.

    Raises NftError where the kernel refuses, as all here do.
    """
    with Connection() as kernel:
        return kernel.generation()


def read(
    *, elements: Callable[[KernelMap], bool] = every, program: bool = True
) -> KernelTable | None:
    """table inet nftlbc of this network namespace; None where there is no such table.

    elements: the maps whose elements are read; the declarations of all are.
    program: chains and rules are read.

    What is returned was all there at one moment: where our table changes meanwhile it is read
    again, up to ten times. Changes to other tables don't matter. (Before kernel 6.16, elements
    may rarely be missing where a transaction of our table is refused meanwhile; see _check.)
    """
    return steadily(lambda kernel, now: _Reading(kernel).table(now, elements, program))


def steadily(attempt: Callable[[Connection, int], Found]) -> Found:
    """What ``attempt`` reads, given the ruleset's generation; again where our table changed
    meanwhile or it raises Disturbed, up to ten times."""
    with Events() as events:
        for number in range(_TRIES):
            # Let whoever changes it get ahead.
            time.sleep(0.01 * number)
            with Connection() as kernel:
                events.drain()
                before = kernel.generation()
                kernel.wait_for_transactions()
                try:
                    found = attempt(kernel, before)
                except Disturbed:
                    continue
                after = kernel.generation()
            if after == before or not events.drain_until(after):
                return found
    raise NftError(
        f"table inet {_TABLE} changed each of the {_TRIES} times that it was read",
        "is some other program changing it all the time? try again when it has ended",
    )


class _Reading:
    """One attempt. Raises Disturbed where something goes away meanwhile."""

    def __init__(self, kernel: Connection) -> None:
        self._kernel = kernel

    def table(
        self, generation: int, wanted: Callable[[KernelMap], bool], program: bool
    ) -> KernelTable | None:
        answer = self._kernel.get(GET_TABLE, NEW_TABLE, OURS)
        if answer is None:
            return None
        found = attributes(answer)
        sets = {each.name: each for each in map(parts.set_of, self._dump(SETS))}
        shapes = {
            name: each.shape
            for name, each in sets.items()
            if each.shape is not None and not each.anonymous and wanted(each.map)
        }
        asked = [elements_of(name) for name in shapes]
        if program:
            anonymous = [name for name, each in sets.items() if each.anonymous]
            asked += [_RULES, *map(elements_of, anonymous)]
            chains = self._bare_chains()
        dumps = at_once(asked)
        maps = {name: each.map for name, each in sets.items() if not each.anonymous}
        counts = {each.name: each.elements for each in map(parts.set_of, self._dump(SETS))}
        for (name, shape), dump in zip(shapes.items(), dumps, strict=False):
            contents, found_elements = read_elements(shape, map(list_of, dump))
            if maps[name].flags.isdisjoint(("dynamic", "timeout")):
                _check(contents, found_elements, counts.get(name))
            maps[name] = replace(maps[name], contents=contents)
        if program:
            rules, *held = dumps[len(shapes) :]
            digests = dict(zip(anonymous, map(_digest, held), strict=True))
            chains = _with_rules(chains, rules, digests)
        return KernelTable(
            handle=number(found.get(4)) or 0,
            dormant=bool((number(found.get(2)) or 0) & _DORMANT),
            comment=comment(found.get(6)),
            generation=generation,
            maps=maps,
            chains=chains if program else {},
        )

    def _bare_chains(self) -> dict[str, KernelChain]:
        """Without their rules. The kernel can't be asked for the chains of one table, and goes
        on where it was by counting those of all: a change to any other table spoils it."""
        for _ in range(_TRIES):
            found = [parts.chain_of(payload) for payload in self._dump(_CHAINS)]
            if not self._kernel.interrupted:
                return {chain.name: chain for table, chain in found if table == _TABLE}
        raise Disturbed

    def _dump(self, request: Request) -> list[bytes]:
        return self._kernel.dump(*request)


Request = tuple[int, int, bytes]
"""What is asked for, what is answered, and the attributes that say of what."""
OURS: Final = name_attribute(1, _TABLE)
SETS: Final[Request] = GET_SET, NEW_SET, OURS
_CHAINS: Final[Request] = GET_CHAIN, NEW_CHAIN, OURS
_RULES: Final[Request] = GET_RULE, NEW_RULE, OURS


def elements_of(name: str) -> Request:
    return GET_ELEMENTS, NEW_ELEMENTS, OURS + name_attribute(2, name)


def at_once(requests: Sequence[Request]) -> list[list[bytes]]:
    """Several dumps side by side, each over a socket of its own.

    Nearly all the time of a dump is the kernel's: for each 32 KiB it walks a map from its
    beginning to where it was. 190 000 slots and 100 000 backends take 0.95 s one after the
    other, and 0.5 s at once. What was read is decoded afterwards, because a thread that
    computes keeps Python from those that receive.
    """
    if len(requests) < 2:
        return [_dump(request) for request in requests]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(_dump, requests))


def _dump(request: Request) -> list[bytes]:
    with Connection() as kernel:
        return kernel.dump(*request)


def _check(contents: Contents, found: int, count: int | None) -> None:
    """Raises Disturbed where the kernel lost its way through a map that packets don't change.

    It goes on where it was by counting elements, those of a transaction that has not ended
    among them. Where that one is refused, or was only to be checked (``nft -c``), they are gone
    again, and as many elements are passed over without any other sign: of 60 000, 1 to 17 000.
    Some were then found twice before (in 251 of 260 such readings).
    """
    if found != len(contents.elements):
        raise Disturbed
    if count is not None and count != found - (CATCH_ALL in contents.elements):
        raise Disturbed


def _with_rules(
    chains: Mapping[str, KernelChain], payloads: Sequence[bytes], anonymous: Mapping[str, bytes]
) -> dict[str, KernelChain]:
    rules: dict[str, list[KernelRule]] = {name: [] for name in chains}
    for payload in payloads:
        chain, rule = parts.rule_of(payload, anonymous)
        if chain not in rules:
            raise Disturbed
        rules[chain].append(rule)
    return {name: replace(each, rules=tuple(rules[name])) for name, each in chains.items()}


def list_of(payload: bytes) -> bytes:
    return attributes(payload).get(3, b"")


def _digest(payloads: Sequence[bytes]) -> bytes:
    """What an anonymous set holds, in 16 bytes."""
    elements = sorted(value for each in payloads for _, value in attribute_list(list_of(each)))
    return hashlib.blake2b(b"".join(elements), digest_size=16).digest()
