"""A Snapshot for people: a summary, then farm by farm, within a terminal's width."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from nftlbc.diagnostics import printable
from nftlbc.status.columns import (
    COLOURS,
    POOL_COLUMNS,
    Table,
    View,
    backend_columns,
    figures_of,
    painted,
    sum_of,
    table,
)
from nftlbc.status.model import STATES, BackendStatus, PoolStatus, Snapshot
from nftlbc.status.rates import who

_MANY = 100
"""Of more backends only those are shown that are not plainly up, and the farms' sums."""
_LISTENERS = 6
_NEARLY_FULL = 0.9


def lines(snapshot: Snapshot, view: View) -> Iterator[str]:
    """The lines, without their ends; none is wider than the view, but for a long word."""
    families = Counter(pool.farm for pool in snapshot.pools)
    named = [
        f"{printable(pool.farm)}{f' (IPv{pool.family})' if families[pool.farm] > 1 else ''}"
        for pool in snapshot.pools
    ]
    yield from _summary(snapshot, named, view)
    if not snapshot.pools:
        return
    names = [_row_name(each) for _, each in snapshot.backends()]
    if view.everything or len(names) <= _MANY:
        columns = backend_columns(each for _, each in snapshot.backends())
        rows = table("BACKEND", names, columns, view, snapshot.pools)
        for name, pool in zip(named, snapshot.pools, strict=True):
            yield ""
            yield from _pool(name, pool, rows, view, snapshot.time)
    else:
        rows = table("FARM", named, POOL_COLUMNS, view, snapshot.pools)
        yield ""
        yield rows.head()
        for name, pool in zip(named, snapshot.pools, strict=True):
            yield from rows.row(name, sum_of(pool, view), view)
            yield from _not_up(pool, view, snapshot.time)


def _summary(snapshot: Snapshot, named: Sequence[str], view: View) -> Iterator[str]:
    found = Counter(backend.state for _, backend in snapshot.backends())
    states = [
        painted(f"{found[state]} {state}", COLOURS[state], view) for state in STATES if found[state]
    ]
    total = found.total()
    at = "" if view.rates is None else time.strftime("%H:%M:%S  ", time.localtime(snapshot.time))
    yield (
        f"{at}{snapshot.farms} farm{'' if snapshot.farms == 1 else 's'}, "
        f"{total} backend{'' if total == 1 else 's'}{': ' if states else ''}{', '.join(states)}"
    )
    pools = list(zip(named, snapshot.pools, strict=True))
    below = [name for name, pool in pools if pool.degraded]
    closed = [name for name, pool in pools if pool.closed]
    warnings = [
        ("below its quorum" if len(below) == 1 else "below their quorum", below),
        ("nobody takes new clients in", closed),
    ]
    for words, names in warnings:
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            yield from _wrapped(f"{words}: {', '.join(names[:10])}{more}", view, "31")
    if snapshot.asleep:
        text = "the table is switched off: nothing is balanced; nftlbc apply switches it on"
        yield from _wrapped(text, view, "31")
    if snapshot.silence:
        text = f"{snapshot.silence}: who is up is not known; does nftlbc probe run?"
        yield from _wrapped(text, view, "31")
    if snapshot.astray:
        many = f"{snapshot.astray} backend{'' if snapshot.astray == 1 else 's'}"
        text = f"{many} of farms that listen nowhere: nftlbc plan tells more"
        yield from _wrapped(text, view, "33")
    if snapshot.gone:
        many = "connection is" if snapshot.gone == 1 else "connections are"
        text = f"{snapshot.gone} {many} open to backends that were removed: apply --cut ends them"
        yield from _wrapped(text, view, "33")
    if snapshot.unknown:
        yield from _wrapped(f"open connections are not known: {snapshot.unknown}", view, "33")


def _row_name(backend: BackendStatus) -> str:
    return f"{printable(backend.name)}{' (backup)' if backend.backup else ''}"


def _pool(name: str, pool: PoolStatus, rows: Table, view: View, now: float) -> Iterator[str]:
    yield from _wrapped(f"farm {name}: {pool.balance}", view, "1")
    if pool.closed:
        yield from _wrapped("  NOBODY TAKES NEW CLIENTS", view, "31")
    if pool.degraded:
        backups = any(each.backup and each.share for each in pool.backends)
        text = f"  BELOW ITS QUORUM: {pool.taking} of {pool.quorum} take new clients"
        yield from _wrapped(text + (", and its backups" if backups else ""), view, "31")
    listeners = [printable(str(each)) for each in pool.listeners[:_LISTENERS]]
    if len(pool.listeners) > _LISTENERS:
        listeners.append(f"and {len(pool.listeners) - _LISTENERS} more")
    yield from _wrapped(f"  {', '.join(listeners)}", view)
    if pool.persist:
        yield from _wrapped(f"  {_sticky(pool)}", view, "33" if _full(pool) else "")
    yield rows.head()
    for each in pool.backends:
        rate = view.rates.get(who(pool, each)) if view.rates else None
        yield from rows.row(_row_name(each), figures_of(each, rate), view)
        note = _note(each, now)
        if note:
            yield from _wrapped(f"    {note}", view)


def _full(pool: PoolStatus) -> bool:
    return pool.sticky is not None and pool.sticky.fullness >= _NEARLY_FULL


def _sticky(pool: PoolStatus) -> str:
    known = pool.sticky
    if known is None:
        return f"persist {pool.persist}: nobody is looked for while no backend lives"
    clients = f"{known.clients} client{'' if known.clients == 1 else 's'}"
    return (
        f"persist {pool.persist}: {clients}; map {known.fullness:.1%} full "
        f"({known.entries} of {known.size})"
    )


def _note(backend: BackendStatus, now: float) -> str:
    """Since when, by whom and why, where it is not plainly up."""
    if backend.state == "up" and backend.hand is None:
        return ""
    since = f"since {_moment(backend.since, now)}" if backend.since is not None else ""
    said = {
        "hand": f"by {printable(backend.by)}, by hand",
        "check": f"check: {printable(backend.reason) or 'failed'}",
        "file": "by the farms file",
    }[backend.cause]
    held = ""
    if backend.hand is not None and backend.cause != "hand":
        held = f"{backend.hand} by hand too"
    elif backend.hand == "let-go":
        held = "known clients are moved"
    return ", ".join(each for each in (since, said, held) if each)


def _moment(since: int, now: float) -> str:
    """The time of today, the date of longer ago; and how long that is."""
    then = time.localtime(since)
    today = time.strftime("%Y-%m-%d", then) == time.strftime("%Y-%m-%d", time.localtime(now))
    when = time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", then)
    return f"{when} ({_long(int(now) - since)})"


def _long(seconds: int) -> str:
    if seconds < 0:
        return "the clock was set back"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _not_up(pool: PoolStatus, view: View, now: float) -> Iterator[str]:
    for each in pool.backends:
        if each.state != "up" or each.hand:
            state = painted(each.state, COLOURS[each.state], view)
            text = f"    {_row_name(each)} {each.state} {_note(each, now)}"
            for line in _wrapped(text, view):
                yield line.replace(f" {each.state} ", f" {state} ", 1)


def _wrapped(text: str, view: View, colour: str = "") -> Iterator[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    found = textwrap.wrap(
        text.lstrip(),
        max(view.width, 20),
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in found:
        yield painted(line, colour, view)
