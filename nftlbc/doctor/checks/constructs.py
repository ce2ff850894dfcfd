"""What the table is made of, each construct as the smallest script that needs it."""

from __future__ import annotations

from typing import Final, NamedTuple

from nftlbc.farms import Backend, Balance, Farm, Forward, Key, Listener, Persistence


class Construct(NamedTuple):
    name: str
    what: str
    """In words, and what it is for."""
    module: str
    """The kernel module that has it."""
    body: str
    """Of a table."""

    @property
    def script(self) -> str:
        return f"table inet nftlbc {{\n{self.body}\n}}\n"


_NAT: Final = "type nat hook prerouting priority -100;"

CONSTRUCTS: Final = (
    Construct("tables", "tables of the family inet", "nf_tables", "chain c { }"),
    Construct("nat-chains", "chains of type nat", "nft_chain_nat", f"chain c {{\n{_NAT}\n}}"),
    Construct(
        "verdict-maps",
        "maps from address, protocol and port to a chain (listeners)",
        "nf_tables",
        "map m { type ipv4_addr . inet_proto . inet_service : verdict; size 64; }\n"
        f"chain c {{\n{_NAT}\nip daddr . meta l4proto . th dport vmap @m\n}}",
    ),
    Construct(
        "ranges",
        "intervals in keys of several parts (ranges of ports)",
        "nf_tables",
        "map m { type ipv4_addr . inet_proto . inet_service : verdict; flags interval; }\n"
        f"chain c {{\n{_NAT}\nip daddr . meta l4proto . th dport vmap @m\n}}",
    ),
    Construct(
        "connection-marks",
        "connection marks from a map (slots)",
        "nft_ct",
        "map m { typeof ct mark : ct mark; size 64; }\n"
        f"chain c {{\n{_NAT}\nct mark set ct mark map @m\n}}",
    ),
    Construct(
        "counting",
        "numgen (round robin and random)",
        "nft_numgen",
        f"chain c {{\n{_NAT}\nct mark set numgen inc mod 3 offset 5\n"
        "ct mark set numgen random mod 3 offset 5\n}",
    ),
    Construct(
        "hashing",
        "jhash (hash and consistent, long persistence keys)",
        "nft_hash",
        f"chain c {{\n{_NAT}\nct mark set jhash ip saddr mod 3 seed 0x1 offset 5\n}}",
    ),
    Construct(
        "delivery",
        "dnat to address and port from a map (backends)",
        "nft_nat",
        "map m { type mark : ipv4_addr . inet_service; size 64; }\n"
        f"chain c {{\n{_NAT}\nmeta l4proto tcp dnat ip addr . port to ct mark map @m\n}}",
    ),
    Construct(
        "element-counters",
        "counters on the elements of a map (new connections)",
        "nft_counter",
        "map m { type mark : ipv4_addr . inet_service; size 64; counter; }",
    ),
    Construct(
        "set-counters",
        "counters on the elements of a set that a filter chain looks up (count traffic)",
        "nft_counter",
        "set m { type mark; size 64; counter; }\n"
        "chain c {\ntype filter hook forward priority -10;\n"
        "ct direction original ct mark and 0xbfffffff @m\n}",
    ),
    Construct(
        "ending",
        "reject in a filter chain (connections of backends that are cut off)",
        "nft_reject_inet",
        "set m { type mark; flags timeout; size 64; }\n"
        "chain e {\ntcp flags & rst == 0x0 reject with tcp reset\n}\n"
        "chain c {\ntype filter hook forward priority -10;\n"
        "ct mark and 0xbfffffff @m goto e\n}",
    ),
    Construct(
        "sticky-maps",
        "maps that rules add to and delete from (persist)",
        "nf_tables",
        "map m { typeof meta priority . ip saddr : ct mark; flags dynamic,timeout; size 64;"
        " timeout 60s; }\n"
        f"chain c {{\n{_NAT}\nmeta priority set 0:7\n"
        "delete @m { meta priority . ip saddr : ct mark }\n"
        "update @m { meta priority . ip saddr timeout 60s : ct mark }\n}",
    ),
    Construct(
        "refusing",
        "reject in a nat chain (farms without a living backend)",
        "nft_reject_inet",
        f"chain c {{\n{_NAT}\nmeta l4proto tcp reject with tcp reset\nreject\n}}",
    ),
    Construct(
        "masquerading",
        "masquerade",
        "nft_masq",
        "chain c {\ntype nat hook postrouting priority 100;\nct status dnat masquerade\n}",
    ),
    Construct(
        "source-nat",
        "snat to an address from a map (forward snat)",
        "nft_nat",
        "map m { type mark : ipv4_addr; size 64; }\n"
        "chain c {\ntype nat hook postrouting priority 100;\n"
        "snat ip to ct mark and 0xbfffffff map @m\n}",
    ),
    Construct(
        "own-processes",
        "nat of the machine's own connections",
        "nft_chain_nat",
        "chain c {\ntype nat hook output priority -100;\n}",
    ),
)

_SOURCE: Final = (Key("source-ip"),)
_LONG: Final = (
    Key("source-ip"),
    Key("source-port"),
    Key("destination-ip"),
    Key("destination-port"),
)
_ROUND_ROBIN: Final = Balance()
_DNAT: Final = Forward()


def _farm(
    name: str,
    balance: Balance = _ROUND_ROBIN,
    forward: Forward = _DNAT,
    persistence: Persistence | None = None,
    port: int | None = 8080,
    listeners: tuple[Listener, ...] = (),
) -> Farm:
    number = sum(name.encode()) % 200
    own = (
        Listener(f"203.0.113.{number}", "tcp", 80, 80),
        Listener(f"2001:db8::{number}", "tcp", 80, 80),
    )
    backends = (
        Backend("a", "10.0.0.1", port),
        Backend("b", "10.0.0.2", port),
        Backend("c", "2001:db8:1::1", port),
        Backend("d", "2001:db8:1::2", port),
    )
    return Farm(
        name,
        listeners or own,
        backends,
        forward,
        balance,
        persistence,
        hairpin=name == "hairpin",
        count_traffic=name == "counted",
    )


SAMPLE: Final = [
    _farm("plain"),
    _farm("random", Balance("random")),
    _farm("hash", Balance("hash", _SOURCE)),
    _farm("consistent", Balance("consistent", _SOURCE)),
    _farm("sticky", persistence=Persistence(_SOURCE)),
    _farm("long", persistence=Persistence(_LONG, size=1024)),
    _farm("masquerade", forward=Forward("masquerade")),
    _farm("snat", forward=Forward("snat", ("10.0.0.254", "2001:db8:1::254"))),
    _farm("hairpin"),
    _farm("counted"),
    _farm("asked", port=None),
    _farm(
        "ranges",
        listeners=(
            Listener("203.0.113.250", "udp", 5000, 5999),
            Listener("203.0.113.250", "tcp", 443, 443, to=8443),
            Listener("2001:db8::250", "sctp", 5000, 5999),
        ),
    ),
]
"""Farms that together use all of it."""
