"""What the options of a check must be to make sense: texts that a protocol can carry, and options
that need each other. Text from a farms file ends in requests; what could end one does not get in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

MOST_EXPRESSION = 1_000
"""Characters of a regular expression."""
MOST_REPETITIONS = 100_000
"""All {N} of it multiplied: what is repeated within repetitions is unfolded by that much, and
1 000 000 take a second."""
_REPEATED = re.compile(r"\{(?:[0-9]*,)?([0-9]+),?\}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_TARGET = re.compile(r"/[!-~]*\Z")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?\Z")
_NAME = re.compile(r"[A-Za-z0-9._:-]+\Z")
_HELLO = re.compile(r"(\[[0-9A-Za-z:.]+\]|[A-Za-z0-9.-]+)\Z")
_DNS_NAME = re.compile(r"(\.|([!-\-/-~]{1,63}\.)*[!-\-/-~]{1,63}\.?)\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OURS = {
    "host": "write: host",
    "connection": "a check asks one thing and goes",
    "content-length": "a check sends no body",
    "transfer-encoding": "a check sends no body",
}
"""Headers that are not the farm's to set."""


class Fault(NamedTuple):
    message: str
    help: str | None = None
    part: int = -1
    """Which of the option's values it is."""


Judge = Callable[[Any], "Fault | None"]


def fault(kind: str, name: str, value: Any) -> Fault | None:
    """What is wrong with the value of an option, which was read."""
    judge = _JUDGES.get(f"{kind}.{name}") or _JUDGES.get(name)
    return judge(value) if judge is not None else None


def together(kind: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Fault]]:
    """What is wrong with options that are each well, and the option where it is told; "" is
    for the whole check."""
    if kind in ("http", "https") and options.get("method") == "HEAD" and "body" in options:
        yield "body", Fault("an answer to HEAD has no body", "use GET")
    if kind == "snmp":
        yield from _snmp(options)


def _snmp(options: Mapping[str, Any]) -> Iterator[tuple[str, Fault]]:
    version = options.get("version", "2c")
    own = ("community",) if version == "2c" else ("user",)
    for name in own:
        if name not in options:
            yield "", Fault(f"SNMP {version} needs a {name}", f"add {name} to its block")
    strange = ("user", "auth", "auth-key", "privacy", "privacy-key")
    for name in strange if version == "2c" else ("community",):
        if name in options:
            other = "3" if version == "2c" else "2c"
            yield name, Fault(f"{name} is for SNMP {other}, and this is {version}")
    if version == "3":
        for name in ("auth", "privacy"):
            key = f"{name}-key"
            if name in options and key not in options:
                yield name, Fault(f"{name} needs {key}", f"add {key} to its block")
            elif key in options and name not in options:
                yield key, Fault(f"{key} needs {name}", f"add {name} to its block")
        if "privacy" in options and "auth" not in options:
            yield "privacy", Fault("privacy needs auth", "SNMP 3 encrypts what is signed alone")


def _path(text: str) -> Fault | None:
    if not text.startswith("/"):
        return Fault(f"path {text!r} does not begin with /")
    if not _TARGET.match(text):
        help = "write others in hexadecimal: %20 for a blank"
        return Fault("a path has visible ASCII characters and no blanks", help)
    return None


def _matching(pattern: re.Pattern[str], message: str, help: str | None = None) -> Judge:
    def judge(text: str) -> Fault | None:
        return None if pattern.match(text) else Fault(message, help)

    return judge


def _header(pair: tuple[str, str]) -> Fault | None:
    name, value = pair
    if not _TOKEN.match(name):
        return Fault(f"{name!r} can't be the name of a header", "letters, digits and -", 0)
    if name.lower() in _OURS:
        return Fault(f"header {name} can't be set", _OURS[name.lower()], 0)
    if _CONTROL.search(value.replace("\t", " ")) or value != value.strip(" \t"):
        return Fault("a header has no control characters, and no blanks around its value")
    return None


def _body(match: tuple[str, str]) -> Fault | None:
    how, text = match
    if not text:
        return Fault("every body has nothing in it", "write what must be there")
    if how == "contains":
        return None
    if len(text) > MOST_EXPRESSION:
        return Fault(f"an expression has at most {MOST_EXPRESSION} characters")
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as problem:
        return Fault(f"this is no regular expression: {problem}"[:120])
    if math.prod(max(1, int(number)) for number in _REPEATED.findall(text)) > MOST_REPETITIONS:
        return Fault(f"repetitions {{N}} that multiply to more than {MOST_REPETITIONS}")
    return None


def _bytes(text: str) -> Fault | None:
    if any(ord(char) > 255 for char in text):
        return Fault("what is sent and received are bytes", r"write others as \xHH, byte by byte")
    return None


def _command(texts: tuple[str, ...]) -> Fault | None:
    if any("\0" in text for text in texts):
        return Fault(r"no argument can hold \x00")
    if not texts[0].startswith("/"):
        return Fault(f"the command {texts[0]!r} is not an absolute path", "it begins with /", 0)
    return None


def _file(text: str) -> Fault | None:
    if not text.startswith("/") or "\0" in text:
        return Fault(f"{text!r} is not an absolute path", "it begins with /")
    return None


def _secret(where: tuple[str, str]) -> Fault | None:
    if where[0] == "file":
        return _file(where[1])
    if not _VARIABLE.match(where[1]):
        return Fault(f"{where[1]!r} can't be the name of a variable")
    return None


def _dns_name(text: str) -> Fault | None:
    if not _DNS_NAME.match(text) or len(text) > 253:
        help = "ASCII, in parts of 1 to 63 characters; other alphabets as xn--…"
        return Fault(f"{text[:40]!r} can't be a name in the DNS", help)
    return None


def _plain(text: str) -> Fault | None:
    if not text or _CONTROL.search(text) or len(text) > 255:
        return Fault("this is a text of 1 to 255 characters, without control characters")
    return None


_JUDGES: Mapping[str, Judge] = {
    "path": _path,
    "host": _matching(_HOST, "host is a name or an address, with or without a port"),
    "header": _header,
    "body": _body,
    "server-name": _matching(_NAME, "server-name is a name or an address"),
    "ca": _file,
    "dns.name": _dns_name,
    "answer": _plain,
    "send": _bytes,
    "udp.expect": _bytes,
    "hello": _matching(_HELLO, "hello is a name, or an address in brackets"),
    "command": _command,
    "user": _plain,
    "community": _secret,
    "auth-key": _secret,
    "privacy-key": _secret,
}
"""By option, or by kind and option where kinds differ."""
