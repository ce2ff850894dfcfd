"""The checks of a pool: each promise as a line of its own, kept or broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nftlbc.sandbox.request import Answer
from nftlbc.trial.plan import Connection
from nftlbc.trial.result import Check, CheckName, Row
from nftlbc.trial.tally import Fault, Tally

_IDEAS: dict[CheckName, str] = {
    "shares": "the weights in FILE; the farm's slots in `nftlbc compile FILE`",
    "takers": "the states in FILE; the farm's slots in `nftlbc compile FILE`",
    "port": "`port` of the listener and of the backend in FILE",
    "source": "`forward` in FILE; chain postrouting in `nftlbc compile FILE`",
    "persistence": "`persist` in FILE; the chains stick and learn in `nftlbc compile FILE`",
}


def checks(tally: Tally, rows: Sequence[Row], *, second: bool, certain: bool) -> tuple[Check, ...]:
    """All that is promised beside the rows; what goes without saying only where it is broken."""
    found = [
        _refused(tally),
        _unanswered(tally),
        _shares(tally, rows, certain),
        _broken(tally, "address", "arrived where no backend of the farm is"),
        _broken(tally, "takers", "went to backends that take no new clients"),
        _ports(tally),
        _source(tally),
        _persistence(tally, certain),
        _hash(tally),
        _moved(tally, certain) if second else None,
        _host(tally, "balancer", "the balancer's own process was served, too"),
        _host(tally, "hairpin", "a backend was served as a client, too"),
    ]
    return tuple(check for check in found if check is not None)


def open_connections(held: Sequence[Answer], now: Sequence[Answer]) -> Check:
    """Whether connections that were open before a change go on after it."""
    broken = [
        f"{then.request.source} to {then.backend}: {_fate(later)}"
        for then, later in zip(held, now, strict=True)
        if (later.outcome, later.backend) != ("answered", then.backend)
    ]
    text = f"open connections: {len(held) - len(broken)} of {len(held)} went on"
    return Check("open", text, not broken, tuple(broken))


def _fate(answer: Answer) -> str:
    return f"now {answer.backend}" if answer.outcome == "answered" else answer.outcome


def _check(
    tally: Tally, name: CheckName, text: str, faults: Sequence[Fault] | None = None
) -> Check:
    """Broken where there are faults, by default those of its name."""
    faults = tally.faults[name] if faults is None else faults
    if not faults:
        return Check(name, text, True)
    told = tuple(f"{fault.connection}: {fault.what}" for fault in faults)
    return Check(name, text, False, told, _IDEAS.get(name) or _way(faults[0].connection))


def _way(connection: Connection) -> str:
    start = str(connection).split(" to ", maxsplit=1)[0]
    return f"`nftlbc explain FILE {start} {connection.target}`"


def _broken(tally: Tally, name: CheckName, text: str) -> Check | None:
    faults = tally.faults[name]
    return _check(tally, name, f"{_many(len(faults), 'connection')} {text}") if faults else None


def _refused(tally: Tally) -> Check | None:
    if tally.plan.judged != "refused":
        return None
    count = tally.refusals
    met = count - sum(each.connection.counted for each in tally.faults["refused"])
    return _check(tally, "refused", f"nobody takes new clients: {met} of {count} refused at once")


def _unanswered(tally: Tally) -> Check | None:
    faults = [each for each in tally.faults["answered"] if each.connection.host == "clients"]
    if not faults:
        return None
    kinds = Counter(fault.what for fault in faults)
    how = ", ".join(f"{count} {what}" for what, count in kinds.most_common())
    text = f"{len(faults)} of {tally.own['clients']} connections were not answered: {how}"
    return _check(tally, "answered", text, faults)


def _shares(tally: Tally, rows: Sequence[Row], certain: bool) -> Check | None:
    plan = tally.plan
    if not certain:
        return Check("shares", "shares: shown only, clients may have been forgotten", None)
    wrong = [row for row in rows if row.ok is False]
    if wrong:
        details = tuple(f"{each.name} got {each.got}, not {expected(each)}" for each in wrong)
        text = f"{_many(len(wrong), 'backend')} got other shares than the file promises"
        return Check("shares", text, False, details, _IDEAS["shares"])
    if plan.judged == "random":
        return Check("shares", "shares as chance may have them (a false alarm in 10^6 runs)", True)
    if any(row.how == "unknown" for row in rows):
        return Check("shares", "shares: not judged, no round robin can have these weights", None)
    if any(row.how == "near" for row in rows):
        if tally.drawn % plan.turn:
            text = f"shares: {tally.drawn} of a turn's {plan.turn} connections, judged roughly"
            return Check("shares", text, None)
        return Check("shares", "shares: within 1/1024, as near as these weights allow", True)
    return None


def expected(row: Row) -> str:
    """How many should have come, in a word or three: ``24``, ``15 to 31``, ``none``."""
    if row.low == row.high:
        return str(row.low) if row.low else "none"
    return f"{row.low} to {row.high}"


def _ports(tally: Tally) -> Check | None:
    faults = tally.faults["port"]
    if faults:
        count = _many(len(faults), "connection")
        return _check(tally, "port", f"{count} arrived at a wrong port")
    count_ = len(tally.plan.targets)
    if count_ == 1 or not tally.got:
        return None
    return Check("port", f"{count_} ports were tried, each led to the right one", True)


def _source(tally: Tally) -> Check | None:
    if not tally.got:
        return None
    forward = tally.pool.farm.forward
    if forward.kind == "dnat":
        seen = "the client's own address"
    elif forward.kind == "masquerade":
        seen = "the balancer's address"
    else:
        six = tally.pool.family == 6
        seen = next(each for each in forward.addresses if (":" in each) == six)
    faults = tally.faults["source"]
    if not faults:
        return _check(tally, "source", f"the backends saw {seen}")
    return _check(tally, "source", f"{_many(len(faults), 'connection')} did not show {seen}")


def _persistence(tally: Tally, certain: bool) -> Check | None:
    if tally.pool.farm.persistence is None or not tally.returned:
        return None
    if not certain:
        return Check("persistence", "persistence: the time was over before the trial", None)
    faults = tally.faults["persistence"]
    count = len(tally.returned)
    met = count - len({each.connection.key for each in faults if each.connection.counted})
    text = f"persistence: {met} of {count} clients met their backend again"
    return _check(tally, "persistence", text)


def _hash(tally: Tally) -> Check | None:
    count = sum(tally.hashed.values())
    if tally.plan.judged != "keyed" or not count:
        return None
    met = tally.hash_met
    text = f"hash: {met} of {count} connections met the backend that it says"
    if met == count and not tally.faults["hash"]:
        return Check("hash", text, True)
    faults = [*tally.faults["hash"], *tally.faults["answered"], *tally.faults["address"]]
    return _check(tally, "hash", text, faults)


def _moved(tally: Tally, certain: bool) -> Check | None:
    """In the second phase: who had to move, and that nobody else did."""
    farm = tally.pool.farm
    if farm.persistence is not None:
        faults = tally.faults["persistence"]
    elif farm.balance.scheduler == "consistent":
        faults = tally.faults["stayed"]
    else:
        return None
    count = sum(tally.moved.values())
    if not certain or not (count or tally.returned):
        return None
    if faults:
        return _check(tally, "moved", f"{_many(len(faults), 'client')} moved without need", faults)
    if not count:
        return Check("moved", "no client had to move, and none did", True)
    names = ", ".join(tally.rows.name(row) for row in sorted(+tally.moved))
    return Check("moved", f"{_many(count, 'client')} of {names} moved, nobody else's did", True)


def _host(tally: Tally, name: CheckName, text: str) -> Check | None:
    host = "balancer" if name == "balancer" else "servers"
    if not tally.own[host] or tally.plan.judged == "refused":
        return None
    faults = [each for each in tally.faults["answered"] if each.connection.host == host]
    return _check(tally, name, text if not faults else text.replace("was", "was not", 1), faults)


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
