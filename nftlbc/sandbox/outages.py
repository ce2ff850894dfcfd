"""Backends that do not answer: a table of the sandbox's own in the servers' namespace.

The listeners there are bound to the wildcard address, so one backend cannot be closed by
closing a socket. Its packets are refused on their way in instead, open connections' too,
as if its process had ended.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal, TypeAlias

# In the words of what its clients will see.
Outage: TypeAlias = Literal["refused", "unreachable", "silent"]

# An address, and a port or None for all of the host.
Place: TypeAlias = tuple[str, int | None]

_CHAINS: dict[Outage, str] = {
    "refused": "now-refused",
    "unreachable": "now-unreachable",
    "silent": "now-silent",
}

_TABLE = """\
table inet outages {
    map hosts4 { type ipv4_addr : verdict; }
    map hosts6 { type ipv6_addr : verdict; }
    map ports4 { type ipv4_addr . inet_service : verdict; }
    map ports6 { type ipv6_addr . inet_service : verdict; }
    chain now-refused {
        meta l4proto tcp reject with tcp reset
        reject with icmpx type port-unreachable
    }
    chain now-unreachable {
        reject with icmpx type host-unreachable
    }
    chain now-silent {
        drop
    }
    chain arriving {
        type filter hook input priority filter
        meta l4proto != { tcp, udp, sctp } accept
        ip daddr vmap @hosts4
        ip6 daddr vmap @hosts6
        ip daddr . th dport vmap @ports4
        ip6 daddr . th dport vmap @ports6
    }
}
"""


def outage_script(outages: Mapping[Place, Outage]) -> str:
    """A script that makes these the only outages, whatever was loaded before."""
    lines = ["table inet outages\n", "delete table inet outages\n", _TABLE]
    for (address, port), outage in outages.items():
        version = ip_address(address).version
        if port is None:
            where, key = f"hosts{version}", address
        else:
            where, key = f"ports{version}", f"{address} . {port}"
        lines.append(f"add element inet outages {where} {{ {key} : goto {_CHAINS[outage]} }}\n")
    return "".join(lines)


# A kernel with SCTP of its own knows nothing of our raw sockets' associations and would
# abort them. Ours are marked.
SCTP_MARK = 0x6C62

OWN_SCTP_ONLY = f"""\
table inet own-sctp-only {{
    chain leaving {{
        type filter hook output priority filter
        meta l4proto sctp meta mark != {SCTP_MARK:#x} @th,96,8 6 drop
    }}
}}
"""
