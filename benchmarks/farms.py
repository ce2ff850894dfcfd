"""The farms that are measured, and the leanest script that does the same work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BACKENDS = 10
PORT = 8080
"""Of the backends; the listeners' is 80."""


@dataclass(frozen=True)
class Farms:
    """What each balancer gets, in its own words."""

    count: int
    persist: bool = True
    """By the client's address, for five minutes."""
    heavier: bool = False
    """The first backend of the first farm has one more weight: the smallest change."""

    def weight(self, number: int, each: int) -> int:
        return 1 + each % 3 + (self.heavier and number == each == 0)

    def weights(self, number: int) -> list[int]:
        return [self.weight(number, each) for each in range(BACKENDS)]


def text(count: int) -> str:
    """A farms file of so many farms of ten backends: 18 lines and 600 bytes each."""
    return written(Farms(count))


def written(wanted: Farms, more: str = "") -> str:
    """more: a statement that each farm has besides."""
    return "\n".join(_farm(wanted, number, more) for number in range(wanted.count))


def _farm(wanted: Farms, number: int, more: str) -> str:
    backends = "\n".join(
        f"    backend app{each + 1} {backend(number, each)} port 8080 weight {weight}"
        for each, weight in enumerate(wanted.weights(number))
    )
    persist = "    persist source-ip for 5m\n" * wanted.persist
    return (
        f"# customer {number}\n"
        f"farm farm{number} {{\n"
        f"    listen {listener(number)} tcp port 80\n"
        f"    balance round-robin\n"
        f"{persist}"
        f"{more and '    ' + more + chr(10)}"
        f"{backends}\n"
        f"    quorum 2\n"
        f"}}\n"
    )


def listener(number: int) -> str:
    return f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def backend(number: int, each: int) -> str:
    return f"10.{number >> 8 & 255}.{number & 255}.{each + 1}"


def targets(wanted: Farms, *, backends: bool = False) -> str:
    """Where connections go, for the load maker: the listeners, or the backends themselves."""
    places = (
        [(backend(n, each), PORT) for n in range(wanted.count) for each in range(BACKENDS)]
        if backends
        else [(listener(n), 80) for n in range(wanted.count)]
    )
    return "".join(f"{address} {port}\n" for address, port in places)


def leanest(count: int) -> str:
    """The same farms for the same traffic with nothing that it could do without.

    No comments, numbers counted from 1, one declaration of each map, no flush: it
    can't be loaded over itself or read. What a script costs beyond it is the price of those.
    """
    weights = [1 + each % 3 for each in range(BACKENDS)]
    slots = sum(weights)
    room = 1 << (count * slots).bit_length()
    return "".join(_lean_lines(count, weights, slots, room))


def _lean_lines(count: int, weights: list[int], slots: int, room: int) -> Iterator[str]:
    yield f"""table inet nftlbc {{
map slots {{ typeof ct mark : ct mark; size {room}; }}
map backends {{ type mark : ipv4_addr . inet_service; size {room}; counter; }}
map services {{ type ipv4_addr . inet_proto . inet_service : verdict; size {room}; }}
map sticky {{ typeof meta priority . ip saddr : ct mark; flags dynamic,timeout; size 262144; }}
chain refuse {{
meta l4proto tcp reject with tcp reset
reject
}}
chain pick {{
ct mark set ct mark map @slots
}}
chain deliver {{
meta priority set none
meta l4proto {{ tcp, udp, sctp }} dnat ip addr . port to ct mark map @backends
}}
chain serve {{
jump deliver
goto refuse
}}
chain stick {{
ct mark set meta priority . ip saddr map @sticky update @sticky {{ meta priority . ip saddr \
timeout 300s : ct mark }} jump deliver
}}
chain learn {{
delete @sticky {{ meta priority . ip saddr : ct mark }}
update @sticky {{ meta priority . ip saddr timeout 300s : ct mark }}
goto serve
}}
"""
    for number in range(count):
        farm, first = f"{number + 1 >> 16:x}:{number + 1 & 0xFFFF:x}", number * slots
        choose = f"ct mark set numgen inc mod {slots} offset {first}"
        yield f"chain f{number} {{\n"
        yield f"meta priority set {farm} jump stick\n"
        yield f"meta priority set {farm} {choose} jump pick\n"
        yield "goto learn\n}\n"
    yield "chain prerouting {\ntype nat hook prerouting priority -100\n"
    yield "ip daddr . meta l4proto . th dport vmap @services\n}\n}\n"
    yield "add element inet nftlbc slots {\n"
    for number in range(count):
        slot = number * slots
        for each, weight in enumerate(weights):
            for _ in range(weight):
                yield f"{slot} : {number * BACKENDS + each + 1},\n"
                slot += 1
    yield "}\nadd element inet nftlbc backends {\n"
    for number in range(count):
        for each in range(BACKENDS):
            yield f"{number * BACKENDS + each + 1} : {backend(number, each)} . 8080,\n"
    yield "}\nadd element inet nftlbc services {\n"
    for number in range(count):
        yield f"{listener(number)} . tcp . 80 : goto f{number},\n"
    yield "}\n"
