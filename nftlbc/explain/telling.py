"""A story as lines for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nftlbc.diagnostics import position, printable
from nftlbc.explain.outcome import Delivered, NotOurs, Refused, Share, Sure
from nftlbc.explain.story import Absent, Choice, Known, Story, Value
from nftlbc.farms import Address, Farm, Milliseconds
from nftlbc.source import Place
from nftlbc.times import left

_LABEL = 10
"""Width of the first column."""
_NEAREST = 5
"""Near listeners that are named; more are counted."""
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))

Row = tuple[str, str]


def lines(story: Story, drift: Sequence[str] = ()) -> list[str]:
    """What happens, a step a line; labels in the first column.

    drift: how the kernel's table differs from what its farms make.
    """
    packet = story.packet
    target = f"{_endpoint(packet.destination, packet.port)}/{packet.protocol}"
    rows: list[Row] = [("from", _client(story)), ("to", target)]
    if story.farm is None or story.listener is None:
        rows += _not_ours(story)
    else:
        where = _place(story.listener.place)
        text = f"{story.listener} of farm {story.farm.name}, IPv{packet.family}{where}"
        rows.append(("listener", text))
        if story.known is not None:
            rows += _known(story.farm, story.known)
        rows += _choice_rows(story, story.farm)
        rows += _end_rows(story, story.farm)
        rows += _absent_rows(story, story.farm)
    rows += [("drift", text) for text in drift]
    if drift:
        rows.append(("drift", "told by its elements and its farms' rules; see nftlbc plan FILE"))
    return _labelled(rows)


def _labelled(rows: Iterable[Row]) -> list[str]:
    told, before = [], ""
    for label, text in rows:
        told.append(f"{'' if label == before else label:{_LABEL}}{text}".rstrip())
        before = label
    return told


def _client(story: Story) -> str:
    packet = story.packet
    own = ", the balancer itself" if packet.hook == "output" else ""
    if packet.source_port is None:
        return f"{packet.source}, any port{own}"
    return f"{_endpoint(packet.source, packet.source_port)}{own}"


def _endpoint(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _place(place: Place | None) -> str:
    return f" ({position(place.location())})" if place else ""


def _time(time: Milliseconds) -> str:
    parts = []
    for unit, name in _UNITS:
        count, time = divmod(time, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts)


def _values(values: Sequence[Value]) -> str:
    """``source-ip/24 198.51.100.0, destination-port 443``."""
    texts = []
    for each in values:
        cut = "" if each.bits is None else f"/{each.bits}"
        value = "not told" if each.value is None else each.value
        texts.append(f"{each.key.field}{cut} {value}")
    return ", ".join(texts)


def _known(farm: Farm, known: Known) -> list[Row]:
    said = {
        "new": ": not known yet",
        "known": ": known, and its backend serves it",
        "gone": ": known, but its backend is gone: another one is chosen and remembered",
        "not told": ": taken for new, as the client's port was not told",
    }
    text = "" if known.backend else said[known.state]
    time = f" for {_time(farm.persistence.timeout)}" if farm.persistence else ""
    rows = [("persist", f"{_values(known.values)}{time}{text}")]
    if known.backend:
        rest = "" if known.left is None else f" for another {left(known.left)}"
        gone = ", which is down: another one is chosen" if known.state == "gone" else ""
        client = f"known as a client of {printable(known.backend)}{rest}{gone}"
        rows.append(("sticky", client))
    return rows


def _choice_rows(story: Story, farm: Farm) -> list[Row]:
    choice = story.choice
    if choice is None:
        return []
    text = _choice(farm, choice)
    if len(story.shares) == 1:
        alone = choice.slot is None and bool(story.delivered)
        scheduler = farm.balance.scheduler
        return [("balance", f"{scheduler}: there is no other backend" if alone else text)]
    turn = ", in turn" if choice.how == "inc" else ""
    table = [("balance", f"  {row}") for row in _table(story.shares)]
    return [("balance", f"{text}: one of these{turn}"), *table]


def _choice(farm: Farm, choice: Choice) -> str:
    scheduler = farm.balance.scheduler
    if choice.how == "hash":
        of = f"slot {choice.slot} of {choice.slots}"
        return f"{scheduler} {_values(choice.values)}: {of}"
    if choice.how == "source port":
        return f"{scheduler} {_values(choice.values)}: it depends on the client's port"
    if scheduler in ("round-robin", "random"):
        return scheduler
    return f"{scheduler}, shared out by weight"


def _table(shares: Sequence[Share]) -> list[str]:
    """Backend, where it is, and its share; aligned."""
    rows = []
    for each in shares:
        outcome = each.outcome
        name, where = _where(outcome)
        fraction = f"{each.share.numerator}/{each.share.denominator}"
        rows.append((name, where, fraction, f"{float(each.share):.1%}"))
    first, second, third, fourth = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        f"{name:{first}}  {where:{second}}  {fraction:>{third}}  {percent:>{fourth}}"
        for name, where, fraction, percent in rows
    ]


def _where(outcome: Sure) -> tuple[str, str]:
    if isinstance(outcome, Delivered):
        return outcome.backend_name, _endpoint(outcome.address, outcome.port)
    return ("refused" if isinstance(outcome, Refused) else "let through"), ""


def _end_rows(story: Story, farm: Farm) -> list[Row]:
    rows: list[Row] = []
    outcome = story.walk.outcome
    match outcome:
        case Delivered():
            where = _endpoint(outcome.address, outcome.port)
            rows.append(("backend", f"{outcome.backend_name}, {where}"))
        case Refused():
            rows.append(("refused", _refused(outcome, farm, story)))
        case NotOurs():
            rows.append(("nothing", "the table lets it through, although a farm listens here"))
    if story.delivered:
        rows.append(("port", _ports(story.delivered)))
        rows.append(("source", _source(story, farm, story.delivered[0])))
    return rows


def _refused(outcome: Refused, farm: Farm, story: Story) -> str:
    how = {
        "tcp reset": "at once, with a TCP reset",
        "icmp": "at once, by ICMP (as far as the kernel's rate limit lets it)",
        "silence": "without a word",
    }
    family = f"IPv{story.packet.family}"
    return f"{how[outcome.how]}: no {family} backend of farm {farm.name} takes new clients"


def _ports(delivered: Sequence[Delivered]) -> str:
    said = {
        "listener": "the listener's own",
        "backend": "the backend's",
        "client": "the one that was asked for",
    }
    ports = {(each.port, each.port_of) for each in delivered}
    if len(ports) == 1:
        (port, whose) = ports.pop()
        return f"{port}, {said[whose]}"
    return " or ".join(said[whose] for whose in sorted({whose for _, whose in ports}))


def _source(story: Story, farm: Farm, delivered: Delivered) -> str:
    client = story.packet.source
    if delivered.source == "kept":
        return f"kept: the backend sees {client}"
    if delivered.source != "masqueraded":
        return f"{delivered.source} in place of {client} (snat)"
    if farm.forward.kind == "dnat":
        return f"masqueraded: {client} is itself a backend of farm {farm.name} (hairpin)"
    return f"masqueraded: the backend sees the balancer's address in place of {client}"


def _absent_rows(story: Story, farm: Farm) -> list[Row]:
    rows: list[Row] = []
    if story.degraded:
        takers = len(farm.pool(story.packet.family)) - len(story.absent)
        rows.append(("quorum", f"{farm.quorum} is missed: {_who_serves(story, takers)}"))
    return rows + [
        ("without", f"{each.backend.name}: {each.why}{_absent_place(each)}")
        for each in story.absent
    ]


def _who_serves(story: Story, takers: int) -> str:
    if takers == 0:
        return "nobody takes new clients"
    absent = {each.backend.name for each in story.absent}
    farm = story.farm
    backups = [each.name for each in farm.backends if each.backup] if farm else []
    serving = [name for name in backups if name not in absent]
    return f"{', '.join(serving)} steps in" if serving else "there is no backup"


def _absent_place(absent: Absent) -> str:
    backend = absent.backend
    part = "state" if backend.standing != "up" else "weight" if backend.weight == 0 else "name"
    return _place(backend.place(part) or backend.place("name"))


def _not_ours(story: Story) -> list[Row]:
    rows = [("no farm", "listens there: nftlbc leaves the connection alone")]
    for each in story.near[:_NEAREST]:
        what = f"{each.listener} of farm {each.farm.name}: another {each.differs}"
        rows.append(("near", f"{what}{_place(each.listener.place)}"))
    if len(story.near) > _NEAREST:
        rows.append(("near", f"and {len(story.near) - _NEAREST} more"))
    return rows
