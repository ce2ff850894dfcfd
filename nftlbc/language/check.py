"""``check KIND { OPTION; ... }``: the kinds of health checks and their options.

The table below is all that the language knows of them: reading, the JSON form, its schema and
the reference follow it. Running them is ``probe``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nftlbc.diagnostics import Also, did_you_mean, in_words, near
from nftlbc.farms import Check, CheckValue
from nftlbc.language import check_sense, hosts, values
from nftlbc.language.shapes import BLOCKS, MISTAKE, PLAIN, TOP, Statement
from nftlbc.language.values import Context, Item
from nftlbc.source import Place

_FARM_STATEMENTS = {*BLOCKS, *PLAIN} - {*TOP}
Reader = Callable[[Context, str, list[Item], Place], CheckValue | None]
"""What it returns is not used where it told a mistake."""


class Option(NamedTuple):
    """What stands behind an option's name."""

    form: str
    """For the reference and the schema: a name from FORMS."""
    choices: tuple[str, ...] = ()
    """For ``word``: what it may be."""
    many: bool = False
    """It may be given more than once."""


def _one(context: Context, name: str, found: list[Item], place: Place, what: str) -> Item | None:
    if len(found) == 1:
        return found[0]
    count = "is nothing" if not found else f"are {len(found)} values"
    context.error(f"{name} takes {what}, and here {count}", place)
    return None


def _port(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    item = _one(context, name, found, place, "a port")
    return item and values.port(context, item)


def _address(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    item = _one(context, name, found, place, "an address")
    return item and hosts.address(context, item, "the source of a check")


def _duration(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    item = _one(context, name, found, place, "a time")
    return item and values.duration(context, item, name, 10 * values.LONGEST)


def _count(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    item = _one(context, name, found, place, "a number")
    return item and values.integer(context, item, name, 1, 100)


def _text(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    item = _one(context, name, found, place, 'a "string"')
    return item and values.string(context, item, name)


def _texts(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    texts = [values.string(context, item, f"an argument of {name}") for item in found]
    if not texts:
        context.error(f'{name} takes a command and its arguments, each a "string"', place)
    return tuple(text for text in texts if text is not None) or None


def _pair(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    if len(found) != 2:
        context.error(f'{name} takes a "name" and a "value"', place)
        return None
    return _texts(context, name, found, place)


def _match(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    if len(found) != 2 or found[0].text not in ("contains", "matches"):
        context.error(f'{name} reads: {name} contains "text", or: {name} matches "regex"', place)
        return None
    text = values.string(context, found[1], name)
    return None if text is None else (found[0].text, text)


def _secret(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    if len(found) != 2 or found[0].text not in ("file", "environment"):
        help = "secrets don't stand in a farms file"
        context.error(
            f'{name} reads: {name} file "/path", or: {name} environment "NAME"', place, help
        )
        return None
    text = values.string(context, found[1], name)
    return None if text is None else (found[0].text, text)


def _flag(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    if found:
        context.error(f"{name} takes nothing behind it", found[0].place)
        return None
    return True


def _statuses(context: Context, name: str, found: list[Item], place: Place) -> CheckValue | None:
    """HTTP statuses as pairs (first, last)."""
    ranges: list[tuple[int, int]] = []
    for item in found:
        parts = item.text.split("-") if item.kind in ("INT", "RANGE") else []
        first, last = (int(parts[0][:9]), int(parts[-1][:9])) if parts else (0, 0)
        if not 100 <= first <= last <= 599:
            context.wrong(
                item,
                f"{item.text!r} is not an HTTP status from 100 to 599",
                "as in: expect 200-299, 404",
            )
        else:
            ranges.append((first, last))
    if not found:
        context.error(f"{name} takes statuses: {name} 200-299, 404", place)
    return tuple(ranges) or None


FORMS: Mapping[str, Reader] = {
    "port": _port,
    "address": _address,
    "duration": _duration,
    "count": _count,
    "text": _text,
    "texts": _texts,
    "pair": _pair,
    "match": _match,
    "secret": _secret,
    "flag": _flag,
    "statuses": _statuses,
}

COMMON: Mapping[str, Option] = {
    "port": Option("port"),
    "source": Option("address"),
    "interval": Option("duration"),
    "timeout": Option("duration"),
    "fall": Option("count"),
    "rise": Option("count"),
}
_TLS: Mapping[str, Option] = {
    "server-name": Option("text"),
    "verify": Option("word", ("on", "off")),
    "ca": Option("text"),
    "expires-within": Option("duration"),
}
_HTTP: Mapping[str, Option] = {
    "method": Option("word", ("GET", "HEAD", "OPTIONS", "POST", "PUT")),
    "path": Option("text"),
    "host": Option("text"),
    "header": Option("pair", many=True),
    "expect": Option("statuses"),
    "body": Option("match"),
    "follow-redirects": Option("flag"),
}
KINDS: Mapping[str, Mapping[str, Option]] = {
    "tcp": {},
    "tls": _TLS,
    "http": _HTTP,
    "https": {**_HTTP, **_TLS},
    "icmp": {},
    "dns": {
        "name": Option("text"),
        "type": Option("word", ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT")),
        "expect": Option("word", ("noerror", "nxdomain", "servfail", "refused")),
        "answer": Option("text"),
        "over": Option("word", ("udp", "tcp")),
    },
    "udp": {"send": Option("text"), "expect": Option("text")},
    "smtp": {"hello": Option("text")},
    "agent": {"send": Option("text")},
    "exec": {"command": Option("texts")},
    "snmp": {
        "version": Option("word", ("2c", "3")),
        "community": Option("secret"),
        "user": Option("text"),
        "auth": Option("word", ("md5", "sha", "sha256", "sha512")),
        "auth-key": Option("secret"),
        "privacy": Option("word", ("des", "aes", "aes256")),
        "privacy-key": Option("secret"),
    },
}
"""Each kind's own options, beside the common ones."""

_DEFAULT = Check("tcp")

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "exec": ("command",),
    "dns": ("name",),
    "udp": ("send",),
    "agent": ("port",),
}


def read(context: Context, statement: Statement) -> Check | None:
    """The check, or None where something in it is wrong."""
    node = statement.shape.node.children[0]
    kind = statement.text(node)
    before = len(context.diagnostics)
    if kind not in KINDS:
        help = did_you_mean(kind, KINDS) or f"there are {in_words(list(KINDS))}"
        context.error(f"{kind!r} is no kind of check", statement.place(node), help)
        return None
    options = {**COMMON, **KINDS[kind]}
    found: dict[str, Any] = {}
    places: dict[str, Place] = {}
    mistaken = False
    for each in statement.body or ():
        if each.rule == MISTAKE:
            mistaken = True
        else:
            mistaken = not _read_option(context, each, kind, options, found, places) or mistaken
    for name in REQUIRED.get(kind, ()):
        if name not in places and not mistaken:
            place = statement.place()
            context.error(f"check {kind} needs a {name}", place, f"add {name} to its block")
    if not mistaken:
        for name, fault in check_sense.together(kind, found):
            context.error(fault.message, places.get(name, statement.place()), fault.help)
    if mistaken or len(context.diagnostics) > before:
        return None
    if "timeout" not in found and "interval" in found:
        found["timeout"] = min(_DEFAULT.timeout, found["interval"])
    own = {name: found.pop(name) for name in sorted(KINDS[kind]) if name in found}
    check = Check(kind, **found, options=tuple(own.items()))
    if check.timeout > check.interval:
        also = Also("the interval", places["interval"]) if "interval" in places else None
        default = "" if also else ", which is the default"
        context.error(
            f"the timeout of {check.timeout / 1000:g}s is longer than"
            f" the interval of {check.interval / 1000:g}s{default}",
            places["timeout"],
            "a check has to end before the next one begins",
            also,
        )
        return None
    return check


def _read_option(
    context: Context,
    statement: Statement,
    kind: str,
    options: Mapping[str, Option],
    found: dict[str, Any],
    places: dict[str, Place],
) -> bool:
    """Put an option into ``found``; False after a mistake in it."""
    name_node, *arguments = statement.shape.node.children
    name, place = statement.text(name_node), statement.place()
    option = options.get(name)
    if option is None:
        at = statement.place(name_node)
        help = did_you_mean(name, options) or f"it has {in_words(sorted(options))}"
        if name in _FARM_STATEMENTS:
            help = f"{name} belongs to the farm: is the }} of this check missing?"
        context.error(f"check {kind} has no option {name!r}", at, help)
        return False
    again = name in places and not option.many
    if again:
        context.error(f"{name} is given twice", place, None, Also("first here", places[name]))
    places.setdefault(name, place)
    listed = values.items(context, statement, arguments)
    before = len(context.diagnostics)
    if arguments and not listed:
        return False
    if option.form == "word":
        value = _word(context, name, option, listed, place)
    else:
        value = FORMS[option.form](context, name, listed, place)
    if len(context.diagnostics) > before:
        value = None
    elif value is not None and (fault := check_sense.fault(kind, name, value)) is not None:
        also = next((item.also for item in listed if item.used), None)
        context.error(fault.message, listed[fault.part].place, fault.help, also)
        value = None
    if value is not None and not again:
        found[name] = (*found.get(name, ()), value) if option.many else value
    return value is not None


def _word(
    context: Context, name: str, option: Option, found: list[Item], place: Place
) -> CheckValue | None:
    item = _one(context, name, found, place, in_words(option.choices))
    if item is None:
        return None
    if item.text not in option.choices:
        meant = near(item.text.strip('"'), [choice.lower() for choice in option.choices])
        written = [choice for choice in option.choices if choice.lower() == meant]
        help = f"did you mean {written[0]}?" if written else None
        context.wrong(item, f"{name} is {in_words(option.choices)}, not {item.text!r}", help)
        return None
    return item.text
