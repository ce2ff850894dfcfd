"""From the kernel's table and its list of connections to a Snapshot. No file is asked: the table
knows its farms."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nftlbc.farms import Backend, Family, Farm, family_of
from nftlbc.nft.conntrack import Open
from nftlbc.nft.netlink import Counted, KernelTable
from nftlbc.nft.sticky import map_of
from nftlbc.plan.in_use import destinations, probed
from nftlbc.plan.recall import Recalled, recall
from nftlbc.states import Seconds
from nftlbc.status.model import (
    BackendStatus,
    Cause,
    PoolStatus,
    Snapshot,
    State,
    StickyMap,
    Traffic,
)
from nftlbc.table import recorded
from nftlbc.table.model import BACKEND_BITS, OURS
from nftlbc.table.pool import pool_of

_NONE = Counted(0, 0)
_ROOM = 65_535
"""Of a map without a size."""


@dataclass
class _Seen:
    """What the table's maps say of backends, by their marks."""

    counters: dict[int, int] = field(default_factory=dict)
    traffic_in: dict[int, Counted] = field(default_factory=dict)
    traffic_out: dict[int, Counted] = field(default_factory=dict)
    slots: Counter[int] = field(default_factory=Counter)
    sticky: dict[str, Counter[int]] = field(default_factory=dict)
    """By map."""


def survey(
    kernel: KernelTable,
    open: Open | None,
    now: float,
    farm: str | None = None,
    unknown: str = "",
) -> Snapshot:
    """The load balancer as the table and the list of connections have it.

    farm: this one alone; that much of the table must have been read. Else all elements, and
        chains.
    open: None where it can't be read, for the reason ``unknown``.
    """
    recalled = recall(kernel, None if farm is None else (farm,))
    seen = _seen(kernel)
    pools = tuple(
        _pool(kernel, each, family, recalled, seen, open)
        for each in recalled.farms
        for family in each.families
    )
    shown = {pool.farm for pool in pools}
    there = {
        mark & BACKEND_BITS | OURS: each.name.partition("/")[0]
        for kind in ("backends", "addresses")
        for _, mark, each in destinations(kernel, kind)
    }
    gone = open.of(open.tcp.keys() - there.keys())[0] if open is not None else 0
    return Snapshot(
        time=now,
        digest=digest(recalled.farms),
        asleep=kernel.dormant,
        pools=pools,
        astray=sum(each not in shown for each in there.values()) if farm is None else 0,
        gone=gone if farm is None else 0,
        probed=probed(kernel),
        unknown=unknown,
    )


def digest(farms: Iterable[Farm]) -> str:
    """16 hex digits that tell whether two tables were made from the same farms, checks, commands
    and the order of files aside; what is known of backends beyond the file has no part in it."""
    found = hashlib.blake2b(digest_size=8)
    for farm in sorted(farms, key=lambda each: each.name):
        listeners = sorted(f"{each} {each.to}" for each in farm.listeners)
        backends = [f"{each.name} {each}" for each in farm.backends]
        lines = (farm.name, *listeners, *backends, recorded.record(farm), "")
        found.update("\n".join(lines).encode())
    return found.hexdigest()


def _seen(kernel: KernelTable) -> _Seen:
    found = _Seen()
    for name, each in kernel.maps.items():
        if each.contents is None:
            continue
        kind = name.partition("_")[0]
        if kind.rstrip("46") in ("backends", "addresses"):
            # A backend that is down rests without that bit; one may stand in both maps.
            for mark, counted in each.counters.items():
                if isinstance(mark, int):
                    before = found.counters.get(mark | OURS, 0)
                    found.counters[mark | OURS] = before + counted.packets
        elif kind in ("traffic-in", "traffic-out"):
            into = found.traffic_in if kind == "traffic-in" else found.traffic_out
            for mark, counted in each.counters.items():
                if isinstance(mark, int):
                    packets, bytes_ = into.get(mark, _NONE)
                    into[mark] = Counted(packets + counted.packets, bytes_ + counted.bytes)
        elif kind == "slots":
            found.slots.update(mark for mark in each.elements.values() if isinstance(mark, int))
        elif "dynamic" in each.flags:
            marks = each.elements.values()
            found.sticky[name] = Counter(
                mark & BACKEND_BITS for mark in marks if isinstance(mark, int)
            )
    return found


def _pool(
    kernel: KernelTable,
    farm: Farm,
    family: Family,
    recalled: Recalled,
    seen: _Seen,
    open: Open | None,
) -> PoolStatus:
    pool = pool_of(farm, family)
    marks = [recalled.mark(farm, each) for each in pool.backends]
    slots = sum(seen.slots[mark] for mark in marks)
    sticky = _sticky(kernel, farm, family, seen, marks)
    clients: Mapping[int, int] | None = None
    if sticky is not None:
        clients = seen.sticky[sticky.name]
    return PoolStatus(
        farm=farm.name,
        family=family,
        listeners=tuple(each for each in farm.listeners if family_of(each.address) == family),
        balance=str(farm.balance),
        persist=_persist(farm),
        quorum=farm.quorum,
        taking=sum(each.takes_new and not each.backup for each in pool.backends),
        sticky=sticky,
        counted=farm.count_traffic,
        backends=tuple(
            _backend(
                each,
                mark,
                seen.slots[mark] / slots if slots else 0.0,
                seen,
                open,
                None if clients is None else clients.get(mark, 0),
                farm.count_traffic,
            )
            for each, mark in zip(pool.backends, marks, strict=True)
        ),
    )


def _persist(farm: Farm) -> str:
    if farm.persistence is None:
        return ""
    return next(each[8:] for each in recorded.statements(farm) if each.startswith("persist "))


def _sticky(
    kernel: KernelTable, farm: Farm, family: Family, seen: _Seen, marks: list[int]
) -> StickyMap | None:
    """None also where the farm's rules look for nobody: no backend lives."""
    name = map_of(kernel, f"farm-{farm.name}-{family}")
    if name is None or name not in seen.sticky:
        return None
    entries, count = seen.sticky[name], kernel.maps[name].count
    return StickyMap(
        name=name,
        clients=sum(entries[mark] for mark in marks),
        entries=len(kernel.maps[name].elements) if count is None else count,
        size=kernel.maps[name].size or _ROOM,
    )


def _backend(
    backend: Backend,
    mark: int,
    share: float,
    seen: _Seen,
    open: Open | None,
    sticky: int | None,
    counted: bool,
) -> BackendStatus:
    state, cause, since = _state(backend)
    known = backend.remembered
    factor = known.measured.weight if known.measured else 1.0
    traffic = None
    if counted and (mark in seen.traffic_in or mark in seen.traffic_out):
        come, gone = seen.traffic_in.get(mark, _NONE), seen.traffic_out.get(mark, _NONE)
        traffic = Traffic(*come, *gone)
    return BackendStatus(
        name=backend.name,
        address=backend.address,
        port=backend.port,
        backup=backend.backup,
        weight=backend.weight,
        live_weight=backend.weight * factor if share else 0.0,
        share=share,
        state=state,
        cause=cause,
        since=since,
        by=known.hand.by if cause == "hand" and known.hand else "",
        reason=known.check.why if cause == "check" and known.check else "",
        hand=known.hand.state if known.hand else None,
        new=seen.counters.get(mark),
        open=open.tcp[mark] if open else None,
        flows=open.flows[mark] if open else None,
        sticky=sticky,
        traffic=traffic,
    )


def _state(backend: Backend) -> tuple[State, Cause, Seconds | None]:
    """The worst of what is said, who says it (of the same, a hand first), and since when."""
    hand, check = backend.remembered.hand, backend.remembered.check
    filed = backend.remembered.filed
    if hand and hand.state == "disable":
        return "disabled", "hand", hand.since
    if check and check.state == "down":
        return "down", "check", check.since
    if backend.state == "down":
        return "down", "file", filed
    if hand:
        return "draining", "hand", hand.since
    if check and check.state == "drain":
        return "draining", "check", check.since
    if backend.state == "drain":
        return "draining", "file", filed
    return ("up", "check", check.since) if check and check.since else ("up", "file", None)
