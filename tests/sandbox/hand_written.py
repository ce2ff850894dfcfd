"""Scripts written by hand, as small as they can be, and what the tests ask of them."""

import os
import shutil
from pathlib import Path

from nftlbc.sandbox import Answer, Layout, Request

LISTENER4, LISTENER6 = "10.3.0.1", "2001:db8:3::1"
BACKENDS4 = ("10.2.0.1", "10.2.0.2", "10.2.0.3")
BACKENDS6 = ("2001:db8:2::1", "2001:db8:2::2", "2001:db8:2::3")
BACKENDS = {4: BACKENDS4, 6: BACKENDS6}
LISTENERS = {4: LISTENER4, 6: LISTENER6}

LAYOUT = Layout(
    listeners=(LISTENER4, LISTENER6),
    backends=BACKENDS4 + BACKENDS6,
    tcp_ports=(8080,),
    udp_ports=(8080,),
    sctp_ports=(8080,),
)

# Port 80: round robin over three backends, for the balancer's own processes too.
# Port 81: refused. Backends that ask the farm are masqueraded.
# No map of `typeof numgen`: nft 1.1.7 writes its keys in the wrong byte order (1 as 16777216).
ROUND_ROBIN = """
table inet nftlbc {
    map slots { typeof ct mark : ct mark; elements = { 0 : 1, 1 : 2, 2 : 3 } }
    map backends4 { type mark : ipv4_addr . inet_service; elements = {
        1 : 10.2.0.1 . 8080, 2 : 10.2.0.2 . 8080, 3 : 10.2.0.3 . 8080 } }
    map backends6 { type mark : ipv6_addr . inet_service; elements = {
        1 : 2001:db8:2::1 . 8080, 2 : 2001:db8:2::2 . 8080, 3 : 2001:db8:2::3 . 8080 } }
    chain refuse {
        meta l4proto tcp reject with tcp reset
        reject
    }
    chain farm4 {
        ct mark set numgen inc mod 3
        ct mark set ct mark map @slots
        meta l4proto { tcp, udp, sctp } dnat ip addr . port to ct mark map @backends4
    }
    chain farm6 {
        ct mark set numgen inc mod 3
        ct mark set ct mark map @slots
        meta l4proto { tcp, udp, sctp } dnat ip6 addr . port to ct mark map @backends6
    }
    chain listeners {
        ip daddr 10.3.0.1 th dport 80 goto farm4
        ip daddr 10.3.0.1 th dport 81 goto refuse
        ip6 daddr 2001:db8:3::1 th dport 80 goto farm6
        ip6 daddr 2001:db8:3::1 th dport 81 goto refuse
    }
    chain prerouting {
        type nat hook prerouting priority dstnat
        jump listeners
    }
    chain output {
        type nat hook output priority -100
        jump listeners
    }
    chain postrouting {
        type nat hook postrouting priority srcnat
        ip saddr 10.2.0.0/24 ip daddr 10.2.0.0/24 masquerade
        ip6 saddr 2001:db8:2::/64 ip6 daddr 2001:db8:2::/64 masquerade
    }
}
"""

MASQUERADE = """
table inet whole_farm {
    chain postrouting {
        type nat hook postrouting priority srcnat
        ip daddr 10.2.0.0/24 masquerade
        ip6 daddr 2001:db8:2::/64 masquerade
    }
}
"""


def to_farm(family: int = 4, port: int = 80, **rest: object) -> Request:
    """A request from a client to the farm, unless `rest` says otherwise."""
    given = {"host": "clients", "source": None, **rest}
    return Request(address=LISTENERS[family], port=port, **given)  # type: ignore[arg-type]


def outcomes(answers: list[Answer]) -> list[str]:
    return [answer.outcome for answer in answers]


def backends(answers: list[Answer]) -> list[str | None]:
    return [answer.backend for answer in answers]


def nft_versions() -> list[str]:
    """The machine's nft, and others that are unpacked beside it."""
    others = sorted(str(nft) for nft in Path("/tmp").glob("nft-*/nft") if os.access(nft, os.X_OK))
    return ["nft", *others]


def interpreter_for_all() -> str | None:
    """A Python that any user may execute: root's own is often below /root."""
    return next(
        filter(None, map(shutil.which, ("/usr/bin/python3", "/usr/local/bin/python3"))), None
    )
