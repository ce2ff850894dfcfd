"""What was done by hand, in words: what it means now, and what would make it last."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from nftlbc import times
from nftlbc.farms import Backend, BackendState, Family, Farm
from nftlbc.plan.by_hand import Done, Touched
from nftlbc.plan.live import Live
from nftlbc.plan.returning import ENTERS_AT
from nftlbc.states import ByHand, HandState, Seconds
from nftlbc.table.pool import pool_of, shares, slots_of

_MOST: Final = 6
"""Shares and lines for the file that are told; more are counted."""
_ALIKE: Final = 4
"""Backends whose shares change alike are counted from so many on."""
_DONE: Final[Mapping[HandState, str]] = {
    "drain": "drained",
    "let-go": "drained, its sticky clients let go",
    "disable": "disabled",
}
_MEANS: Final[Mapping[HandState, str]] = {
    "drain": "drains: it takes no new clients",
    "let-go": "drains, and lets its sticky clients go",
    "disable": "is disabled: it is cut off",
}
_STAY: Final[Mapping[HandState, str]] = {
    "drain": "stay with it as long as they come",
    "let-go": "stay with it to their end",
}
_FILED: Final[Mapping[HandState, BackendState]] = {
    "drain": "drain",
    "let-go": "down",
    "disable": "down",
}
"""What in a file means about the same."""


def lines(done: Done, live: Live) -> Iterator[str]:
    """What was done, and what it means. live: read after the change."""
    for farm in done.after:
        touched = [each for each in done.touched if each.farm == farm]
        for each in touched:
            yield _line(each)
            yield from _besides(each.after)
        changed = [each for each in touched if each.changed]
        if changed:
            yield from _shares(done.before[farm], done.after[farm])
            yield from _climbs(done.after[farm], [each.after for each in changed])
            for each in changed:
                yield from _stakes(each, live)
    yield from done.settled.lines()
    yield from _until([each for each in done.touched if each.after.remembered.hand])


def _line(touched: Touched) -> str:
    backend, hand = touched.after, touched.after.remembered.hand
    where = f"farm {touched.farm}: backend {backend.name} ({backend})"
    if hand is not None:
        if touched.changed:
            return f"{where} {_MEANS[hand.state]}"
        return f"{where} is {by_whom(hand)} already"
    if not touched.changed:
        return f"{where} is not held by hand: nothing to do"
    if backend.takes_new:
        return f"{where} takes new clients again"
    return f"{where} is no longer held by hand"


def _besides(backend: Backend) -> Iterator[str]:
    """What else keeps it from new clients, and is not lifted by hand."""
    check = backend.remembered.check
    if backend.state != "up":
        yield f"    its farms file says state {backend.state}, which enable does not lift"
    if check is not None and check.state == "down":
        why = f" ({check.why})" if check.why else ""
        yield f"    its check says down{why} since {moment(check.since)}"


def by_whom(hand: ByHand) -> str:
    """``drained by root since 2026-11-26 01:05``."""
    return f"{_DONE[hand.state]} by {hand.by} since {moment(hand.since)}"


def moment(since: Seconds) -> str:
    """In the time of this machine."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(since))


def _shares(before: Farm, after: Farm) -> Iterator[str]:
    for family in after.families:
        old, new = _by_name(before, family), _by_name(after, family)
        alike: dict[str, list[str]] = {}
        for each in after.pool(family):
            was, now = old.get(each.name, "0 %"), new.get(each.name, "0 %")
            if was != now:
                alike.setdefault(f"{was} -> {now}", []).append(each.name)
        if alike:
            which = f"IPv{family} " if len(after.families) > 1 else ""
            texts = [
                f"{', '.join(names) if len(names) < _ALIKE else f'{len(names)} backends'} {change}"
                for change, names in alike.items()
            ]
            more = f" and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
            yield f"    shares of new {which}clients: {', '.join(texts[:_MOST])}{more}"


def _climbs(farm: Farm, backends: Iterable[Backend]) -> Iterator[str]:
    """Who begins with a part of its weight, and what brings it to the rest."""
    names = [
        each.name
        for each in backends
        if each.takes_new and each.remembered.measured and each.remembered.measured.weight < 1
    ]
    if names:
        some = ", ".join(names) if len(names) < _ALIKE else f"{len(names)} backends"
        begin = "begins" if len(names) == 1 else "begin"
        how = f"within {times.left(farm.slow_start)}" if farm.slow_start else "as its load allows"
        part = f"{ENTERS_AT * 100:.0f} % of the weight"
        yield f"    {some} {begin} with {part}; nftlbc probe gives the rest {how}"


def _by_name(farm: Farm, family: Family) -> dict[str, str]:
    pool = pool_of(farm, family)
    return {
        pool.backends[number].name: f"{float(share) * 100:.4g} %"
        for number, share in shares(slots_of(pool)).items()
    }


def _stakes(touched: Touched, live: Live) -> Iterator[str]:
    hand = touched.after.remembered.hand
    if hand is None:
        return
    name, mark = touched.after.name, [touched.mark]
    if live.open is None:
        yield f"    {name}: the kernel does not tell how many connections are open"
    sticky = live.of_sticky(mark)
    if hand.state == "drain":
        stakes = live.of(mark)
        if stakes:
            yield f"    {name}: {', '.join(stakes)} {_STAY['drain']}"
        return
    stakes = [each for each in live.of(mark) if "open" in each]
    if hand.state == "let-go" and stakes:
        yield f"    {name}: {', '.join(stakes)} {_STAY['let-go']}"
    if sticky:
        yield f"    {name}: {sticky} to be given to others when coming next"


def _until(held: Iterable[Touched]) -> Iterator[str]:
    held = list(held)
    if not held:
        return
    names = " ".join(f"{each.farm}/{each.after.name}" for each in held[:_MOST])
    some = names if len(held) <= _MOST else f"{names} ..."
    yield f"it ends with: nftlbc enable {some}"
    yield "and with a reboot of this machine; to make it last, write in the farms file"
    several = len({each.farm for each in held}) > 1
    for each in held[:_MOST]:
        hand = each.after.remembered.hand
        assert hand is not None
        of = f"  # farm {each.farm}" if several else ""
        yield f"    {statement(each.after, _FILED[hand.state])}{of}"
    if len(held) > _MOST:
        yield f"    and so on for {len(held) - _MOST} more"


def statement(backend: Backend, state: BackendState) -> str:
    """The backend's statement in the language, with a state."""
    port = f" port {backend.port}" if backend.port is not None else ""
    weight = f" weight {backend.weight}" if backend.weight != 1 else ""
    backup = " backup" if backend.backup else ""
    return f"backend {backend.name} {backend.address}{port}{weight}{backup} state {state}"


def warnings(farms: Iterable[Farm]) -> Iterator[str]:
    """Farms in which nobody, or too few, take new clients."""
    for farm in farms:
        for family in farm.families:
            pool = pool_of(farm, family)
            which = f"farm {farm.name}" + f", IPv{family}" * (len(farm.families) > 1)
            if not pool.takers:
                yield f"{which}: no backend takes new clients, they are refused"
            elif pool.degraded:
                backups = sum(pool.backends[each].backup for each in pool.takers)
                regular = len(pool.takers) - backups
                steps = "; its backups step in" if backups else ""
                yield f"{which} is below its quorum: {regular} of {farm.quorum}{steps}"


def held(farms: Iterable[Farm]) -> Iterator[dict[str, Any]]:
    """All that is held by hand: farm, backend, state, by, since, and all of it in words."""
    for farm in farms:
        for each in farm.backends:
            hand = each.remembered.hand
            if hand is not None:
                yield {
                    "farm": farm.name,
                    "backend": each.name,
                    "state": hand.state,
                    "by": hand.by,
                    "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(hand.since)),
                    "text": f"farm {farm.name} backend {each.name} {by_whom(hand)}",
                }
