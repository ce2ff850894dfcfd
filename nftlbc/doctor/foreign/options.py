"""One rule of iptables-save: its options become statements as nft's JSON has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_STATES: Final = {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"}
_TARGETS: Final[dict[str, Any]] = {
    "ACCEPT": {"accept": None},
    "DROP": {"drop": None},
    "REJECT": {"reject": None},
    "RETURN": {"return": None},
    "DNAT": {"dnat": None},
    "REDIRECT": {"redirect": None},
    "NETMAP": {"dnat": None},
    "TPROXY": {"tproxy": None},
    "SNAT": {"snat": None},
    "MASQUERADE": {"masquerade": None},
    "NOTRACK": {"notrack": None},
    "QUEUE": {"queue": None},
    "NFQUEUE": {"queue": None},
}
_KNOWN_MATCHES: Final = frozenset(
    [
        *("comment", "tcp", "udp", "sctp", "conntrack", "state"),
        *("multiport", "addrtype", "mark", "connmark"),
    ]
)

_Option = tuple[bool, str, list[str]]
"""Whether ``!`` stands before it, its name, and the words behind it."""


def statements(words: list[str]) -> list[Any]:
    """The statements of a rule, from the words behind ``-A CHAIN``.

    An option that is not known here becomes ``xt``, which is a maybe.
    """
    conditions: list[Any] = []
    target: list[Any] = []
    transport = module = ""
    for negated, name, values in _options(words):
        value = values[0] if values else ""
        if name in ("-j", "-g"):
            target = [_target(name, value, words)]
            break
        if name == "-p" and not negated and value in ("tcp", "udp", "sctp"):
            transport = value
        if name == "-m":
            module = value
        if name == "--mark" and module == "connmark":
            found = _mark(value)
        else:
            found = _condition(name, value, transport or "th")
        if found is not None:
            conditions.append(_negated(found) if negated else found)
    return conditions + target


def _options(words: list[str]) -> Iterator[_Option]:
    position = 0
    while position < len(words):
        negated = words[position] == "!"
        position += negated
        name = words[position] if position < len(words) else ""
        position += 1
        values = []
        while position < len(words) and words[position] != "!" and not _is_option(words[position]):
            values.append(words[position])
            position += 1
        yield negated, name, values


def _is_option(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not word[1].isdigit()


def _condition(name: str, value: str, transport: str) -> Any:
    """The match of an option; None for one that is no condition."""
    if name in ("-s", "-d"):
        return _match(
            _payload("{ip}", "saddr" if name == "-s" else "daddr", value), _address(value)
        )
    if name in ("-i", "-o"):
        pattern = f"{value[:-1]}*" if value.endswith("+") else value
        return _match({"meta": {"key": "iifname" if name == "-i" else "oifname"}}, pattern)
    if name == "-p":
        return _match({"meta": {"key": "l4proto"}}, {"icmpv6": "ipv6-icmp"}.get(value, value))
    if name in ("--sport", "--dport"):
        return _match(_payload(transport, name[2:], value), _ports(value))
    if name in ("--sports", "--dports"):
        ports = {"set": [_ports(each) for each in value.split(",")]}
        return _match(_payload(transport, name[2:-1], value), ports)
    if name in ("--ctstate", "--state"):
        return _states(value)
    if name == "--ctdir":
        return _match({"ct": {"key": "direction"}}, value.lower())
    if name == "--ctorigdst":
        key = "ip6 daddr" if ":" in value else "ip daddr"
        return _match({"ct": {"key": key, "dir": "original"}}, _address(value))
    if name == "--ctorigdstport":
        return _match({"ct": {"key": "proto-dst", "dir": "original"}}, _ports(value))
    if name == "--dst-type":
        return _match({"fib": {"result": "type", "flags": ["daddr"]}}, value.lower())
    if name == "-m":
        return None if value in _KNOWN_MATCHES else _unknown(value)
    if name == "--comment":
        return None
    return _unknown(name)


def _match(left: Any, right: Any) -> Any:
    return {"match": {"op": "==", "left": left, "right": right}}


def _negated(statement: Any) -> Any:
    if "match" in statement:
        return {"match": {**statement["match"], "op": "!="}}
    return _unknown("!")


def _unknown(name: str) -> Any:
    return {"xt": {"type": "match", "name": name}}


def _payload(protocol: str, field: str, value: str) -> Any:
    if protocol == "{ip}":
        protocol = "ip6" if ":" in value else "ip"
    return {"payload": {"protocol": protocol, "field": field}}


def _address(text: str) -> Any:
    address, _, length = text.partition("/")
    if not length:
        return address
    if not length.isdigit():  # a netmask that is no prefix
        return {"unknown": text}
    return {"prefix": {"addr": address, "len": int(length)}}


def _ports(text: str) -> Any:
    first, _, last = text.partition(":")
    if not last:
        return int(first) if first.isdigit() else {"unknown": text}
    return {"range": [int(first or 0), int(last)]}


def _mark(text: str) -> Any:
    """``VALUE[/MASK]`` of connmark."""
    value, _, mask = text.partition("/")
    try:
        masked = {"&": [{"ct": {"key": "mark"}}, int(mask or "0xffffffff", 16)]}
        return _match(masked, int(value, 16))
    except ValueError:
        return _unknown("connmark")


def _states(value: str) -> Any:
    """States and the virtual states DNAT and SNAT; one of them is enough."""
    names = set(value.split(","))
    states = [name.lower() for name in sorted(names & _STATES)]
    found = []
    if states:
        found.append(_flags("state", states))
    if names & {"DNAT", "SNAT"}:
        found.append(_flags("status", [name.lower() for name in sorted(names & {"DNAT", "SNAT"})]))
    return found[0] if len(found) == 1 else {"any": [each["match"] for each in found]}


def _flags(key: str, names: list[str]) -> Any:
    return {"match": {"op": "in", "left": {"ct": {"key": key}}, "right": names}}


def _target(option: str, name: str, words: list[str]) -> Any:
    if option == "-g":
        return {"goto": {"target": name}}
    if name == "CT":
        return {"notrack": None} if "--notrack" in words else {"counter": None}
    if name == "CONNMARK":
        connection, packet = {"ct": {"key": "mark"}}, {"meta": {"key": "mark"}}
        if "--restore-mark" in words:
            return {"mangle": {"key": packet, "value": connection}}
        return {"mangle": {"key": connection, "value": packet}}
    if name in _TARGETS:
        return _TARGETS[name]
    # A chain, or a target that lets the packet go on: there is no chain of its name then.
    return {"jump": {"target": name}}
