"""Promise against observation: the rows of a pool, and its checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

from nftlbc.sandbox.request import Answer
from nftlbc.schedule.round_robin import PRECISION
from nftlbc.schedule.round_robin import slots as round_robin
from nftlbc.trial import chance
from nftlbc.trial.plan import Connection, Plan, keys_of, shares_of, weights_of
from nftlbc.trial.result import Check, CheckName, How, PoolResult, Row
from nftlbc.trial.tally import Fault, Made, Memory, Setting, Tally

_SMOOTH = 2
"""A smooth round robin is less than one connection off its shares from its beginning on, so
less than two in any part of it."""

_IDEAS: dict[CheckName, str] = {
    "shares": "the weights in FILE, and the slots in `nftlbc compile FILE`",
    "takers": "what FILE says of its state, and the slots in `nftlbc compile FILE`",
    "port": "`port` of the listener and of the backend in FILE",
    "source": "`forward` of the farm in FILE, chain postrouting in `nftlbc compile FILE`",
    "persistence": "`persist` of the farm in FILE, the chains stick and learn in the script",
}


def judge(
    plan: Plan, made: Made, memory: Memory, setting: Setting, *, certain: bool = True
) -> PoolResult:
    """What came of a plan's connections beside what its farm promises.

    made: in the order of the waves; what was not made is not judged.
    memory: what the farm knows of its clients; changed as the connections change it.
    certain: False where the farm may have forgotten clients, its timeout having passed.
    """
    second = bool(memory)
    tally = Tally(plan, setting, memory)
    for connection, answer in made:
        tally.add(connection, answer)
    checks = _checks(tally, second=second, certain=certain)
    return PoolResult(plan, tally.made, tuple(_rows(tally, certain)), tuple(checks))


def open_connections(held: Sequence[Answer], now: Sequence[Answer]) -> Check:
    """Whether connections of the first phase go on after the change."""
    broken = [
        f"{then.request.source} to {then.backend}: {_then(later)}"
        for then, later in zip(held, now, strict=True)
        if (later.outcome, later.backend) != ("answered", then.backend)
    ]
    text = f"open connections: {len(held) - len(broken)} of {len(held)} went on"
    return Check("open", text, not broken, tuple(broken))


def _then(answer: Answer) -> str:
    return f"now {answer.backend}" if answer.outcome == "answered" else answer.outcome


# Rows


def _rows(tally: Tally, certain: bool) -> list[Row]:
    rows = []
    for row in range(len(tally.rows)):
        due, low, high, how = _due(tally, row)
        why = _why_none(tally, row)
        if not certain:
            how = "unknown"
        backends = tally.rows.backends(row)
        rows.append(Row(backends, tally.got[row], due, low, high, how, why))
    return rows


def _due(tally: Tally, row: int) -> tuple[Fraction, int, int, How]:
    """How many should have come to a row, the fewest and most that are right, and why."""
    plan, known, drawn = tally.plan, tally.known[row], tally.drawn
    how: How
    if plan.judged == "keyed":
        due = known + tally.hashed[row]
        return Fraction(due), due, due, "hash" if due or not _why_none(tally, row) else "none"
    shares = shares_of(plan.pool) if plan.judged != "refused" else {}
    share = sum((shares.get(each, Fraction(0)) for each in tally.rows.members[row]), Fraction(0))
    if not share:
        return Fraction(known), known, known, "none"
    due = share * drawn
    if plan.judged == "random":
        low, high = chance.likely(drawn, float(share), tally.setting.doubt)
        how = "chance"
    else:
        order = round_robin(weights_of(plan.pool))
        whole = drawn % plan.turn == 0
        stray = Fraction(0) if whole and order.exact else Fraction(_SMOOTH)
        if not order.exact:
            stray += Fraction(drawn, PRECISION)
        low, high = max(0, ceil(due - stray)), floor(due + stray)
        how = "unknown" if order.limited else "exact" if not stray else "near"
    return known + due, known + low, known + high, how


def _why_none(tally: Tally, row: int) -> str:
    """Why a row's backends get no new clients; empty where they do."""
    pool = tally.pool
    if any(each in pool.takers for each in tally.rows.members[row]):
        return ""
    backend = tally.rows.backends(row)[0]
    if backend.state != "up":
        return backend.state
    return "weight 0" if not backend.weight else "backup" if backend.backup else "not its turn"


# Checks


def _checks(tally: Tally, *, second: bool, certain: bool) -> list[Check]:
    checks: list[Check | None] = [
        _refused(tally),
        _unanswered(tally),
        _shares(tally, certain),
        _broken(tally, "address", "arrived where no backend of the farm is"),
        _broken(tally, "takers", "went to backends that take no new clients"),
        _ports(tally),
        _source(tally),
        _persistence(tally, certain),
        _hash(tally),
        _moved(tally, certain) if second else None,
        _host(tally, "balancer", "the balancer's own process is a client too"),
        _host(tally, "hairpin", "a backend is a client too"),
    ]
    return [check for check in checks if check is not None]


def _check(
    tally: Tally, name: CheckName, text: str, faults: Sequence[Fault] | None = None
) -> Check:
    """Broken when there are faults of that name."""
    faults = tally.faults[name] if faults is None else faults
    if not faults:
        return Check(name, text, True)
    return Check(name, text, False, _told(faults), _IDEAS.get(name) or _way(faults[0].connection))


def _told(faults: Sequence[Fault]) -> tuple[str, ...]:
    return tuple(f"{fault.connection}: {fault.what}" for fault in faults)


def _way(connection: Connection) -> str:
    source = connection.source
    at = f"[{source}]" if ":" in source else source
    return f"`nftlbc explain FILE {at}:{connection.source_port} {connection.target}`"


def _broken(tally: Tally, name: CheckName, text: str) -> Check | None:
    """A line only where something is wrong."""
    faults = tally.faults[name]
    return _check(tally, name, f"{len(faults)} connections {text}") if faults else None


def _refused(tally: Tally) -> Check | None:
    if tally.plan.judged != "refused":
        return None
    faults = tally.faults["refused"]
    count = tally.made - len(tally.returned)
    text = f"nobody takes new clients: {count - len(faults)} of {count} refused at once"
    return _check(tally, "refused", text)


def _unanswered(tally: Tally) -> Check | None:
    faults = [each for each in tally.faults["answered"] if each.connection.host == "clients"]
    if not faults:
        return None
    kinds = Counter(fault.what for fault in faults)
    how = ", ".join(f"{count} {what}" for what, count in kinds.most_common())
    text = f"{len(faults)} of {tally.own['clients']} connections were not answered: {how}"
    return _check(tally, "answered", text, faults)


def _shares(tally: Tally, certain: bool) -> Check | None:
    plan = tally.plan
    if not certain or plan.judged == "refused":
        return None
    rows = _rows(tally, certain)
    wrong = [row for row in rows if row.ok is False]
    if wrong and plan.judged != "keyed":
        details = tuple(f"{each.name} got {each.got}, {expected(each)} expected" for each in wrong)
        text = f"{len(wrong)} of {len(rows)} backends have other shares than the file promises"
        return Check("shares", text, False, details, _IDEAS["shares"])
    if plan.judged == "random":
        return Check("shares", "shares as chance may have it (one false alarm in 10⁶ runs)", True)
    if any(row.how in ("near", "unknown") for row in rows):
        text = (
            f"{tally.drawn} of the {plan.turn} connections of a full turn: "
            "shares shown, not exactly judged"
        )
        return Check("shares", text, None)
    return None


def expected(row: Row) -> str:
    """How many should have come, in a word: ``24``, ``15 to 31``, ``none``."""
    if row.low == row.high:
        return str(row.low) if row.low else "none"
    return f"{row.low} to {row.high}"


def _ports(tally: Tally) -> Check | None:
    faults = tally.faults["port"]
    count = len(tally.plan.targets)
    if not faults and count == 1:
        return None
    if faults:
        return _check(tally, "port", f"{len(faults)} connections arrived at a wrong port")
    return (
        None
        if tally.plan.judged == "refused"
        else Check("port", f"{count} ports, each led where it should", True)
    )


def _source(tally: Tally) -> Check | None:
    if not tally.got:
        return None
    forward = tally.pool.farm.forward
    if forward.kind == "dnat":
        seen = "the client's own address"
    elif forward.kind == "masquerade":
        seen = "the balancer's address"
    else:
        family = tally.pool.family
        seen = next(each for each in forward.addresses if (":" in each) == (family == 6))
    faults = tally.faults["source"]
    if faults:
        return _check(tally, "source", f"{len(faults)} connections did not show {seen}")
    return _check(tally, "source", f"the backends saw {seen}")


def _persistence(tally: Tally, certain: bool) -> Check | None:
    if tally.pool.farm.persistence is None or not tally.returned:
        return None
    faults = tally.faults["persistence"]
    count = len(tally.returned)
    met = count - len({fault.connection.key for fault in faults})
    text = f"persistence: {met} of {count} clients met their backend again"
    if not certain:
        return Check("persistence", "persistence: over before it could be tried", None)
    return _check(tally, "persistence", text)


def _hash(tally: Tally) -> Check | None:
    if tally.plan.judged != "keyed":
        return None
    faults = tally.faults["hash"]
    count = sum(tally.hashed.values())
    text = f"{count - len(faults)} of {count} connections met the backend that their hash says"
    return _check(tally, "hash", text)


def _moved(tally: Tally, certain: bool) -> Check | None:
    """In the second phase: who had to move, and that nobody else did."""
    if not certain or not keys_of(tally.pool):
        return None
    names = [tally.rows.name(row) for row in sorted(tally.moved)]
    count = sum(tally.moved.values())
    text = f"{count} clients of {', '.join(names)} moved" if count else "no client had to move"
    if tally.pool.farm.persistence is not None:
        if count and tally.plan.judged != "refused":
            text += " and stayed"
        faults = tally.faults["persistence"]
    elif tally.pool.farm.balance.scheduler == "consistent":
        faults = tally.faults["stayed"]
    else:
        return None
    return _check(
        tally,
        "moved",
        f"{text}; nobody else's did" if not faults else f"{len(faults)} clients moved without need",
        faults,
    )


def _host(tally: Tally, name: CheckName, text: str) -> Check | None:
    host = "balancer" if name == "balancer" else "servers"
    if not tally.own[host] or tally.plan.judged == "refused":
        return None
    faults = [each for each in tally.faults["answered"] if each.connection.host == host]
    return _check(tally, name, text, faults)
