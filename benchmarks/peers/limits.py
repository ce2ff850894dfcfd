"""What the kernel does for less than balancing: the bounds that the balancers are held against."""

from __future__ import annotations

from benchmarks.farms import PORT, Farms, backend
from benchmarks.peers.peer import Peer


class Nothing(Peer):
    """The balancer forwards, and knows nothing of connections."""

    direct = True
    script = ""

    def write(self, wanted: Farms, *, checked: bool = False) -> None:
        pass

    def start(self) -> None:
        self.network.nft(self.script)


class Tracking(Nothing):
    """It follows connections."""

    script = """
table inet tracking {
    chain forward { type filter hook forward priority 0; ct state invalid drop; }
}
"""


class OneRule(Nothing):
    """One rule sends all to one backend."""

    direct = False
    script = f"""
table inet one {{
    chain prerouting {{
        type nat hook prerouting priority dstnat
        tcp dport 80 dnat ip to {backend(0, 0)}:{PORT}
    }}
}}
"""
