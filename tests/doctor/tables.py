"""Tables of other people, as scripts that a shell loads."""

from __future__ import annotations

ANSWERS = "ct state established,related accept"

WEB4 = """\
farm web {
    listen 203.0.113.10 tcp port 80
    backend app1 10.0.0.11 port 8080
}
"""
DNS = """\
farm dns {
    listen 203.0.113.10 udp port 53
    backend ns1 10.0.0.53
}
"""


def load(table: str) -> str:
    return f"nft -f - <<'END'\n{table}\nEND\n"


def chain(table: str, hook: str, *rules: str, before: str = "") -> str:
    """``table`` with its family; ``hook`` as nft declares it, with its type and priority."""
    name, lines = hook.split()[2], "\n".join(rules)
    return load(f"table {table} {{\n{before}\nchain at-{name} {{\ntype {hook};\n{lines}\n}}\n}}")


def forward(*rules: str, family: str = "inet") -> str:
    """A firewall that drops what it does not know."""
    hook = "filter hook forward priority 0; policy drop"
    return chain(f"{family} fw", hook, *rules, before="chain other {\n}\n")


def nat(*rules: str, priority: int = -100) -> str:
    other = "chain other {\ndnat to 10.0.0.99\n}"
    return chain("ip theirs", f"nat hook prerouting priority {priority}", *rules, before=other)


def raw(*rules: str, priority: int = -300) -> str:
    return chain("ip theirs", f"filter hook prerouting priority {priority}", *rules)


def post(*rules: str) -> str:
    return chain("ip theirs", "nat hook postrouting priority 100", *rules)


def mangle(*rules: str, hook: str = "prerouting") -> str:
    return chain("inet wan", f"filter hook {hook} priority -150", *rules)
