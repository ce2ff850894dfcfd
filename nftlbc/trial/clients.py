"""Whose addresses the clients of a trial have.

Where farms know a client by a part of its address, every client needs a part of its own: sixty
clients of one /24 are one client to ``persist source-ip/24``. So clients stand a *stride* of
addresses apart, the widest part that any farm looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from nftlbc.farms import Address, Family, Farm, family_of

MOST_CLIENTS = 4096
"""Fewer where so many parts of an address don't exist: 223 clients differ in their /8."""

_FEWEST_CLIENTS = 16

_BITS: dict[Family, int] = {4: 32, 6: 128}
# What no packet may come from.
_RESERVED = tuple(IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"))


@dataclass(frozen=True, slots=True)
class Clients:
    """A network of clients of one family."""

    network: IPv4Network | IPv6Network
    stride: int
    """Addresses from one client to the next."""
    count: int

    def address(self, client: int, neighbour: int = 0) -> Address:
        """The client numbered ``client``, from 0; or one whose address begins like its own.

        Raises IndexError past the last client.
        """
        if not 0 <= client < self.count:
            raise IndexError(f"there are {self.count} clients, none numbered {client}")
        # The network's own address is nobody's.
        return str(self.network[client * self.stride + 1 + neighbour])

    @property
    def neighbours(self) -> int:
        """How many there are of each client, itself included."""
        return max(1, self.stride - 2)


def clients_for(farms: Iterable[Farm], family: Family, taken: Iterable[Address]) -> Clients:
    """Clients that all farms can tell apart, in a network that holds no address of ``taken``.

    Raises ValueError where no such network is left, which takes thousands of addresses, each in
    another one.
    """
    bits = _BITS[family]
    numbers = [int(ip_address(each)) for each in taken if family_of(each) == family]
    # The widest first; a width of which there are too few (no two clients differ in their first
    # two bits alone) would leave the other farms without clients.
    for length in sorted({bits, *(_shortest(farm, family) for farm in farms)}):
        stride = 1 << (bits - length)
        count = MOST_CLIENTS
        while count >= _FEWEST_CLIENTS:
            size = max(count * stride, count + 2)
            network = _free(family, bits - (size - 1).bit_length(), numbers)
            if network is not None:
                return Clients(network, stride, count)
            count //= 2
    raise ValueError(f"the farms' addresses leave no IPv{family} network for clients")


def _free(family: Family, length: int, taken: Sequence[int]) -> IPv4Network | IPv6Network | None:
    """The first candidate of this length that holds none of the addresses."""
    if length < 1:
        return None
    rest = _BITS[family] - length
    blocked = {number >> rest for number in taken}
    return next(
        (
            network
            for network in _candidates(family, length)
            if int(network.network_address) >> rest not in blocked
        ),
        None,
    )


def _shortest(farm: Farm, family: Family) -> int:
    """The fewest bits of a client's address that a farm looks at."""
    keys = (*farm.balance.keys, *(farm.persistence.keys if farm.persistence else ()))
    lengths = (key.bits(family) for key in keys if key.field == "source-ip")
    return min((bits for bits in lengths if bits is not None), default=_BITS[family])


def _candidates(family: Family, length: int) -> Iterator[IPv4Network | IPv6Network]:
    """Networks of a prefix length: of test and private ranges first, then any."""
    if family == 6:
        # Unique local; the sandbox's own links are elsewhere among these (fd6e:...).
        for block6 in map(IPv6Network, ("fdc1:1e47::/32", "fd80::/9", "2000::/3", "4000::/2")):
            if length >= block6.prefixlen:
                yield from block6.subnets(new_prefix=length)
        return
    # Set apart for benchmarks (RFC 2544) and for carriers (RFC 6598).
    for block in map(IPv4Network, ("198.18.0.0/15", "100.64.0.0/10", "0.0.0.0/0")):
        if length >= block.prefixlen:
            for network in block.subnets(new_prefix=length):
                if not any(network.overlaps(other) for other in _RESERVED):
                    yield network
