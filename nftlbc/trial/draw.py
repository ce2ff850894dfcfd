"""The picture of a trial, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby

from nftlbc.farms import Farm, Listener
from nftlbc.trial.checks import expected
from nftlbc.trial.look import Look
from nftlbc.trial.result import Check, Phase, PoolResult, Row, Trial

_MANY = 10
"""From this many farms on, those that are right get a line each."""
_DETAILS = 3
"""Things that went wrong in one way, that are told one by one."""
_LISTENERS = 3
"""Lines of listeners."""
_ROWS = 32
"""Backends of a pool that are drawn."""
_NO_BREAK = "\u00a0"
_LONGEST_NAME = 32
_NARROWEST_BAR = 12
_WIDEST_BAR = 40


def draw(trial: Trial, look: Look) -> str:
    """All phases, and what to think of them in the last line."""
    lines: list[str] = []
    for number, phase in enumerate(trial.phases):
        if phase.down:
            lines += [look.paint(look.rule(f"with {', '.join(phase.down)} down"), "bold"), ""]
        lines += _phase(phase, look, brief=_brief(trial, number))
    lines += [look.paint(f"note: {note}", "note") for note in trial.notes]
    lines += _summary(trial, look)
    return "\n".join(lines) + "\n"


def _brief(trial: Trial, number: int) -> bool:
    """Whether farms that are right, and not concerned by what is down, get one line only."""
    return number > 0 or trial.tried >= _MANY


def _phase(phase: Phase, look: Look, *, brief: bool) -> Iterator[str]:
    concerned = {name.split("/")[0] for name in phase.down}
    lines_of_one = False
    for farm, group in groupby(phase.pools, key=lambda pool: pool.plan.pool.farm):
        pools = list(group)
        right = all(pool.ok for pool in pools)
        if brief and right and not look.whole and farm.name not in concerned:
            yield _one_line(farm, pools, look)
            lines_of_one = True
            continue
        if lines_of_one:
            yield ""
            lines_of_one = False
        yield from _farm(farm, pools, look)
        yield ""
    if lines_of_one:
        yield ""


def _one_line(farm: Farm, pools: Sequence[PoolResult], look: Look) -> str:
    backends = sum(len(pool.plan.pool.backends) for pool in pools)
    connections = sum(pool.connections for pool in pools)
    left = f"farm {farm.name}{look.dot}{look.cut(str(farm.balance), 28)}"
    right = f"{backends:4} backends {connections:5} connections"
    return look.ends(left, f"{look.paint(right, 'dim')}  {look.paint('ok', 'good')}")


def _farm(farm: Farm, pools: Sequence[PoolResult], look: Look) -> Iterator[str]:
    words = [str(farm.balance)]
    if farm.persistence is not None:
        words.append(f"persist {', '.join(map(str, farm.persistence.keys))}")
    words.append(" ".join([farm.forward.kind, *farm.forward.addresses]))
    if farm.hairpin:
        words.append("hairpin")
    rest = look.dot.join(["", *words])
    count = _many(pools[0].counted, "connection") if len(pools) == 1 else ""
    left = look.paint(f"farm {farm.name}", "bold")
    room = look.width - len(f"farm {farm.name}{rest}")
    if room < 0:
        yield left
        yield from look.wrap(look.dot.join(words), 2)
    elif count and room >= len(count) + 2:
        yield look.ends(left + rest, look.paint(count, "dim"))
    else:
        yield left + rest
    alone = bool(count) and room >= len(count) + 2
    for pool in pools:
        yield from _pool(pool, look, counted=not alone)


def _pool(pool: PoolResult, look: Look, *, counted: bool) -> Iterator[str]:
    plan = pool.plan
    family = [each for each in plan.pool.farm.listeners if each.family == plan.pool.family]
    lines = look.wrap("  ".join(_listeners(family)), 2, 0)
    if len(lines) > _LISTENERS:
        shown = sum(len(line.strip().split("  ")) for line in lines[:_LISTENERS])
        lines = [*lines[:_LISTENERS], f"  and {len(family) - shown} more"]
    if counted:
        count = look.paint(_many(pool.counted, "connection"), "dim")
        lines[-1] = look.ends(lines[-1], count)
    yield from (line.replace(_NO_BREAK, " ") for line in lines)
    yield from _rows(pool.rows, look)
    for check in pool.checks:
        yield from _check(check, look)


def _listeners(listeners: Sequence[Listener]) -> Iterator[str]:
    """``203.0.113.10:80/tcp``, ``:443/tcp to 8443``: an address is said once."""
    last = None
    for each in listeners:
        text = str(each)
        if each.address == last:
            text = text[text.rindex("]") + 1 :] if "]" in text else text[text.index(":") :]
        last = each.address
        # A listener is one word to whoever wraps the line.
        yield text if each.to is None else f"{text}{_NO_BREAK}to{_NO_BREAK}{each.to}"


# Rows


def _rows(rows: Sequence[Row], look: Look) -> Iterator[str]:
    names = [look.cut(row.name, _LONGEST_NAME) for row in rows]
    places = [_place(row) for row in rows]
    verdicts = [_verdict(row) for row in rows]
    total = sum(row.got for row in rows)
    most = max((max(Fraction(row.got), row.due) for row in rows), default=Fraction(0))
    counts = [str(row.got) for row in rows]
    name, place = max(map(len, names)), max(map(len, places))
    count, verdict = max(4, *map(len, counts)), max(map(len, verdicts))
    right = 2 + count + 2 + len("100.0 %") + 2 + verdict
    room = look.width - 4 - name - 2 - right
    two_lines = room - place - 2 < _NARROWEST_BAR
    bar = min(_WIDEST_BAR, room if two_lines else room - place - 2)
    shown = _shown(rows, look)
    for number in shown:
        row = rows[number]
        share = f"{100 * row.got / total:.1f} %" if total else ""
        left = f"    {names[number]:{name}}  "
        if not two_lines:
            left += look.paint(f"{places[number]:{place}}", "dim") + "  "
        drawn = look.bar(row.got, row.due, most, max(1, bar), ok=row.ok is not False)
        judged = look.paint(verdicts[number], _colour(row))
        yield f"{left}{drawn}  {counts[number]:>{count}}  {share:>7}  {judged}".rstrip()
        if two_lines:
            yield look.paint(f"      {places[number]}", "dim")

    if len(shown) < len(rows):
        yield look.paint(f"    and {len(rows) - len(shown)} more, as they should be", "dim")


def _shown(rows: Sequence[Row], look: Look) -> list[int]:
    """The numbers of the rows that are drawn: of very many the first, and all that are wrong."""
    if look.whole or len(rows) <= _ROWS:
        return list(range(len(rows)))
    return [number for number, row in enumerate(rows) if number < _ROWS or row.ok is False]


def _place(row: Row) -> str:
    places = {str(backend) for backend in row.backends}
    return places.pop() if len(places) == 1 else row.backends[0].address


def _verdict(row: Row) -> str:
    if row.ok is False:
        return f"{expected(row)} expected"
    if row.how == "none":
        return {"drain": "drains"}.get(row.why, row.why) if row.why else "none"
    if row.how == "exact":
        return "as promised"
    if row.how == "hash":
        return "as hashed"
    return f"{float(row.due):.1f} due"


def _colour(row: Row) -> str:
    if row.ok is False:
        return "bad"
    return "good" if row.ok and row.how != "none" else "dim"


# Checks and the end


def _check(check: Check, look: Look) -> Iterator[str]:
    mark = {True: ("ok", "good"), False: ("wrong", "bad"), None: ("-", "dim")}[check.ok]
    status = look.paint(*mark)
    lines = look.wrap(check.text, 4)
    if check.ok is False:
        lines = [look.paint(line, "bad") for line in lines]
    yield look.ends(lines[0], status)
    yield from lines[1:]
    details = () if check.name == "shares" else check.details  # the rows have told
    for detail in details[:_DETAILS]:
        yield from look.wrap(detail, 6)
    if len(details) > _DETAILS:
        yield f"      and {len(details) - _DETAILS} more"
    if check.idea and check.ok is False:
        yield from look.wrap(f"look at {check.idea.replace('FILE', look.file)}", 6)


def _summary(trial: Trial, look: Look) -> Iterator[str]:
    pools = [pool for phase in trial.phases for pool in phase.pools]
    connections = _many(sum(phase.connections for phase in trial.phases), "connection")
    if trial.ok:
        backends = sum(len(pool.plan.pool.backends) for pool in trial.phases[0].pools)
        farms, servers = _many(trial.tried, "farm"), _many(backends, "backend")
        yield look.paint(f"{farms}, {servers}, {connections}: all as the file promises", "good")
        return
    wrong = sorted({pool.plan.pool.farm.name for pool in pools if not pool.ok})
    farms = f"{len(wrong)} of {trial.tried} farms" if trial.tried > 1 else f"farm {wrong[0]}"
    yield look.paint(f"{farms}: not as the file promises ({connections})", "bad")
    yield from look.wrap(
        "Nothing but the compiled table stands between clients and backends here: what differs"
        f" is a defect of nftlbc, nft or the kernel. `nftlbc compile {look.file}`, `nft --version`"
        " and `uname -r` belong into a report of it.",
        0,
    )


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
