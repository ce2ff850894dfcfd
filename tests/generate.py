"""Farms files nobody wrote: valid ones with every construct of the language, by a seed.

``farms_text`` gives the same text for the same ``Random``; ``farms_texts`` is the strategy for
Hypothesis. All listeners are distinct, each family has its backends and its quorum, every define
is used: nothing in such a file is an error. Warnings are possible (weights that can't be met
exactly, a slow-start without a loop).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

KEYWORD_NAMES = ("port", "backup", "check", "farm", "tcp", "listen", "to", "list", "x" * 32)
PLAIN_WORDS = ("a", "web", "mail", "x1", "long-name_with-all", "Z")
COMMENTS = (
    "# text",
    "#text",
    "#",
    "#!bang",
    "## two",
    "#\ttab",
    '# "{ ; } ,',
    "# ünïcode ☃",
    "#   in ",
)
STRINGS = (
    "/healthz",
    "example.org",
    'a "quoted" one',
    "back\\slash",
    "#no; comment { }",
    "tab\tand\nnewline",
    "ünïcode ☃",
    "$dollar",
    "$$two",
    "80",
    "10.0.0.1",
    "",
)
PATHS = ("/etc/one", "/etc/with blank", "/ünïcode ☃", '/"quoted"', "/#no; comment { }")
TEXTS: dict[str, tuple[str, ...]] = {
    "path": ("/", "/healthz", "/a?b=%20#no;comment{}"),
    "host": ("example.org", "10.0.0.1:80", "[2001:db8::1]:8080"),
    "header": ("X-One", "80", "$dollar", "$$two", "back-slash"),
    "server-name": ("example.org", "10.0.0.1", "80"),
    "body": ("/healthz", "ünïcode ☃", "$dollar", "tab\tand\nnewline"),
    "ca": PATHS,
    "name": ("example.org", "_sip._tcp.example.org.", "80", "."),
    "answer": ("10.0.0.1", "80", "ünïcode ☃", "$dollar"),
    "send": ("", "80", "tab\tand\nnewline", "$dollar", "ünïcode"),
    "expect": ("", "80", "tab\tand\nnewline", "$dollar"),
    "hello": ("example.org", "[10.0.0.1]"),
    "command": PATHS,
    "user": ("admin", "ünïcode ☃", "80"),
    "community": PATHS,
    "auth-key": ("NAME", "_key_2"),
    "privacy-key": PATHS,
}
"""What a text may be, by option."""
KINDS: dict[str, tuple[str, ...]] = {
    "tcp": (),
    "tls": ("server-name S", "verify off", "ca S", "expires-within 14d"),
    "http": (
        "method OPTIONS",
        "path S",
        "host S",
        "header S S",
        "header S S",
        "expect 200-299, 404",
        "body contains S",
        "follow-redirects",
    ),
    "https": ("path S", "body matches S", "verify on", "server-name S", "expect 200"),
    "icmp": (),
    "dns": ("name S", "type AAAA", "expect noerror", "answer S", "over tcp"),
    "udp": ("send S", "expect S"),
    "smtp": ("hello S",),
    "agent": ("port 8081", "send S"),
    "exec": ("command S S S",),
    "snmp": (
        "version 3",
        "community file S",
        "user S",
        "auth sha256",
        "auth-key environment S",
        "privacy aes",
        "privacy-key file S",
    ),
}
"""Options of each kind of check, S for a string; the first of a few kinds is needed."""
NEEDED = ("dns", "udp", "exec", "agent")


@dataclass
class Block:
    """A statement with a block."""

    header: list[str]
    body: list[Statement]


@dataclass
class Braces:
    """A list that may stand in braces."""

    values: list[str]


Statement = list["str | Braces"] | Block


def farms_texts(**options: object) -> st.SearchStrategy[str]:
    """Texts of ``farms_text`` with these options."""
    return st.integers(0, 2**32 - 1).map(lambda seed: farms_text(Random(seed), **options))  # type: ignore[arg-type]


def farms_text(
    random: Random,
    *,
    farms: int = 3,
    backends: int = 5,
    weights: Sequence[int] = (0, 1, 1, 1, 2, 3, 10),
    defines: bool = True,
    checks: bool = True,
    defaults: bool = True,
    includes: Iterable[str] = (),
    untidy: bool = True,
) -> str:
    """A farms file with up to ``farms`` farms of up to ``backends`` backends in each family.

    ``untidy``: with comments, blanks, semicolons and braces wherever they may stand.
    """
    maker = _Maker(random, backends, weights, defines, checks)
    farms_made: list[Statement] = [maker.farm() for _ in range(random.randint(1, farms))]
    if defaults and random.random() < 0.6:
        farms_made.append(Block(["defaults"], maker.settings((4, 6), 1, in_defaults=True)))
    statements: list[Statement] = [["include", quoted(name)] for name in includes]
    statements += [*_used(maker.defined, farms_made), *farms_made]
    if untidy:
        random.shuffle(statements)
    return _Writer(random, untidy).text(statements)


def _words(statement: Statement) -> set[str]:
    if isinstance(statement, Block):
        return {word for each in statement.body for word in _words(each)}
    lists = [part.values if isinstance(part, Braces) else [part] for part in statement]
    return {word for words in lists for word in words}


def _used(defined: list[Statement], statements: list[Statement]) -> list[Statement]:
    """The defines that are used; a define is made before those that use it."""
    words = {word for each in statements for word in _words(each)}
    found: list[Statement] = []
    for each in reversed(defined):
        assert isinstance(each, list)
        if f"${each[1]}" in words:
            found.insert(0, each)
            words |= _words(each)
    return found


def quoted(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


@dataclass
class _Maker:
    random: Random
    backends: int
    weights: Sequence[int]
    defines: bool
    checks: bool
    defined: list[Statement] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    hosts: int = 0

    def chance(self, share: float = 0.5) -> bool:
        return self.random.random() < share

    def name(self, used: set[str]) -> str:
        name = self.random.choice((*KEYWORD_NAMES, *PLAIN_WORDS))
        while name in used:
            name = f"{name[:20]}{self.random.randint(0, 9)}"
        used.add(name)
        return name

    def address(self, family: int, net: str) -> str:
        """Never the same twice."""
        self.hosts += 1
        if family == 4:
            first = {"front": "198.18.0.0", "back": "10.0.0.0"}[net]
            return str(ipaddress.IPv4Address(first) + self.hosts)
        host = ipaddress.IPv6Address(f"2001:db8:{'f' if net == 'front' else 'b'}::") + self.hosts
        return self.random.choice([str(host), host.exploded.upper()])

    # Values, some by way of a define

    def define(self, values: list[str]) -> str:
        name = f"d{len(self.defined)}"
        self.defined.append(["define", name, "=", Braces(values)])
        return f"${name}"

    def value(self, value: object) -> str:
        return self.define([str(value)]) if self.defines and self.chance(0.1) else str(value)

    def string(self, option: str) -> str:
        text = quoted(self.random.choice(TEXTS.get(option, STRINGS)))
        return self.define([text]) if self.defines and self.chance(0.1) else text

    def listed(self, values: Iterable[object]) -> Braces:
        texts = [str(value) for value in values]
        if self.defines and self.chance(0.2):
            size = self.random.randint(1, len(texts))
            texts = [self.define(self.listed(texts[:size]).values), *texts[size:]]
        return Braces(texts)

    def duration(self) -> str:
        return self.random.choice(["500ms", "5s", "1m30s", "2h", "1d", "007s"])

    def keys(self, families: Sequence[int]) -> Braces:
        prefix = {(4,): "/24", (6,): "/56"}.get(tuple(families), "/24/56")
        fields = ["source-ip", "source-port", "destination-ip", "destination-port"]
        chosen = self.random.sample(fields, self.random.randint(1, 3))
        return self.listed(
            key + (prefix if key.endswith("ip") and self.chance(0.3) else "") for key in chosen
        )

    # Statements

    def farm(self) -> Block:
        families = self.random.choice([(4,), (6,), (4, 6)])
        body: list[Statement] = [self.listen(family) for family in families]
        body += [
            self.listen(self.random.choice(families)) for _ in range(self.random.randint(0, 2))
        ]
        names: set[str] = set()
        quorum = self.random.randint(1, max(1, self.backends - 1))
        for family in families:
            for number in range(self.random.randint(quorum, max(quorum, self.backends))):
                body.append(self.backend(family, names, number >= quorum))
        body += self.settings(families, quorum)
        self.random.shuffle(body)
        return Block(["farm", self.name(self.names)], body)

    def listen(self, family: int) -> Statement:
        addresses = [self.address(family, "front") for _ in range(self.random.randint(1, 3))]
        protocols = self.random.sample(["tcp", "udp", "sctp"], self.random.randint(1, 2))
        edges = sorted(self.random.sample(range(1, 65536), 2 * self.random.randint(1, 3)))
        ports = [
            str(first) if self.chance() else f"{first}-{last}"
            for first, last in zip(edges[::2], edges[1::2], strict=True)
        ]
        found: Statement = [
            *("listen", self.listed(addresses), self.listed(protocols), "port", self.listed(ports))
        ]
        return [*found, "to", self.value(8443)] if self.chance(0.3) else found

    def backend(self, family: int, names: set[str], may_be_backup: bool) -> Statement:
        options = [
            ["port", self.value(self.random.randint(1, 65535))],
            ["weight", self.value(self.random.choice(self.weights))],
            ["state", self.random.choice(["up", "up", "drain", "down"])],
        ]
        if may_be_backup:
            options.append(["backup"])
        chosen = self.random.sample(options, self.random.randint(0, len(options)))
        address = self.value(self.address(family, "back"))
        return ["backend", self.name(names), address, *(word for each in chosen for word in each)]

    def settings(
        self, families: Sequence[int], quorum: int, *, in_defaults: bool = False
    ) -> list[Statement]:
        sources = [self.address(family, "front") for family in families]
        forward: list[Statement] = [
            ["forward", "dnat"],
            ["forward", "masquerade"],
            ["forward", "snat", "to", self.listed(sources)],
        ]
        balance: list[Statement] = [
            *(["balance", word] for word in ("round-robin", "random", "custom")),
            *(["balance", f"least-{word}"] for word in ("connections", "response", "cpu")),
            ["balance", "hash", self.keys(families)],
            ["balance", "consistent", self.keys(families)],
            ["balance", "consistent", self.keys(families), "slots", self.value(1009)],
        ]
        persist: Statement = ["persist", self.keys(families)]
        persist += ["for", self.value(self.duration())] if self.chance() else []
        persist += ["size", self.value(65536)] if self.chance() else []
        found: list[Statement] = [
            self.random.choice(forward),
            self.random.choice(balance),
            persist,
            ["quorum", self.value(quorum)],
            ["hairpin"],
            ["on-down", self.random.choice(["keep", "reset"])],
            ["when-all-down", self.random.choice(["refuse", "keep"])],
            ["slow-start", self.value("60s")],
            ["count", "traffic"],
            ["on-change", "exec", quoted("/etc/x"), *(self.string("") for _ in range(2))],
        ]
        chosen = self.random.sample(found, self.random.randint(0, len(found)))
        if not in_defaults and ["quorum"] not in [each[:1] for each in chosen]:  # type: ignore[index]
            chosen.append(["quorum", str(quorum)])
        if self.checks:
            chosen += [self.check() for _ in range(self.random.choice([0, 0, 1, 2]))]
        return chosen

    def check(self) -> Statement:
        kind = self.random.choice(list(KINDS))
        options = list(KINDS[kind])
        chosen = [option for option in options[1:] if self.chance()]
        if options and (kind in NEEDED or self.chance()):
            chosen.insert(0, options[0])
        if kind == "snmp":
            version, community, *rest = options
            chosen = self.random.choice(
                [[community], *([version, *rest[:count]] for count in (1, 3, 5))]
            )
        common = ["port 8081", "interval 5s", "timeout 1s", "fall 3", "rise 2", "source 10.255.0.1"]
        chosen += [each for each in common if each not in chosen and self.chance(0.4)]
        body: list[Statement] = [
            [self.string(option.split()[0]) if word == "S" else word for word in words]
            for option in chosen
            for words in [option.replace(",", " ,").split()]
        ]
        return Block(["check", kind], body) if body or self.chance() else ["check", kind]


class _Writer:
    """Statements as text, tidy or as untidy as the language allows."""

    def __init__(self, random: Random, untidy: bool) -> None:
        self.random = random
        self.untidy = untidy

    def text(self, statements: list[Statement]) -> str:
        text = "".join(self.above() + self.statement(each, "") for each in statements)
        if self.untidy and self.random.random() < 0.3:
            return text + self.above() + self.random.choice(["# the end", "", "# the end\n\n"])
        return text

    def comment(self) -> str:
        return self.random.choice(COMMENTS)

    def above(self) -> str:
        """What may stand on lines of its own."""
        if not self.untidy:
            return ""
        lines = self.random.choice(
            [[], [], [], [""], ["", ""], ["", self.comment()], [self.comment()]]
        )
        if self.random.random() < 0.1:
            lines = [*lines, self.comment(), self.comment(), ""]
        return "".join(f"{self.random.choice(['', '  ', chr(9)])}{line}\n" for line in lines)

    def end(self) -> str:
        """What may stand behind a statement."""
        if not self.untidy:
            return "\n"
        return self.random.choice(
            ["\n", "\n", "\n", ";", " ; ;", ";\n", f" {self.comment()}\n", f";{self.comment()}\n"]
        )

    def blank(self) -> str:
        return self.random.choice([" ", " ", "  ", "\t"]) if self.untidy else " "

    def statement(self, statement: Statement, indent: str) -> str:
        if not isinstance(statement, Block):
            parts = [self.listed(p) if isinstance(p, Braces) else p for p in statement]
            return indent + self.blank().join(parts) + self.end()
        begin = indent + " ".join(statement.header) + self.random.choice([" {", "{"])
        inner = "".join(
            self.above() + self.statement(each, indent + "    ") for each in statement.body
        )
        begin += self.end() if self.untidy else "\n"
        return f"{begin}{inner}{self.above()}{indent}}}{self.end()}"

    def listed(self, braces: Braces) -> str:
        if not self.untidy:
            several = len(braces.values) > 1
            text = ", ".join(braces.values)
            return f"{{ {text} }}" if several else text
        if self.random.random() < 0.4:
            return self.random.choice([", ", ",", " ,"]).join(braces.values)
        text = self.random.choice(["{", "{ ", "{\n"]) + self.above_in_list()
        for number, value in enumerate(braces.values):
            last = number == len(braces.values) - 1
            comma = (
                self.random.choice([",", " ,", ", "])
                if not last or self.random.random() < 0.3
                else ""
            )
            broken = self.above_in_list() if self.random.random() < 0.2 else ""
            text += value + broken + comma + self.above_in_list()
        return text + "}"

    def above_in_list(self) -> str:
        return self.random.choice(
            ["", "", " ", "\n", "\n\n\n", f" {self.comment()}\n", f"\n{self.comment()}\n"]
        )
