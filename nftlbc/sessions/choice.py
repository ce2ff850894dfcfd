"""Which sticky entries are meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, inet_pton

from nftlbc.farms import Address, Family

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Choice:
    """Entries that are meant by all that is said; nothing is said by None."""

    farm: str | None = None
    client: Network | None = None
    """An address is a network of one."""
    backend: str | None = None
    """``BACKEND`` or ``FARM/BACKEND``."""

    @property
    def everything(self) -> bool:
        return self.farm is None and self.client is None and self.backend is None


def client(text: str) -> Network:
    """``198.51.100.7``, ``198.51.100.0/24``, ``2001:db8::/56``. Raises ValueError."""
    if "%" in text:
        raise ValueError(text)
    return ip_network(text, strict=False)


def among(
    addresses: Sequence[Address], family: Family, bits: int | None, wanted: Network
) -> Iterator[bool]:
    """Whether each address, or the network that it was cut to, meets the wanted network.

    Of two networks that meet, one holds the other: so where clients are known by theirs, it is
    enough to cut the wanted one's first address too.
    """
    if wanted.version != family:
        return iter([False] * len(addresses))
    kind, width = (AF_INET, 32) if family == 4 else (AF_INET6, 128)
    number = int(wanted.network_address)
    if bits is not None:
        number = number >> (width - bits) << (width - bits)
    first = number.to_bytes(width // 8, "big")
    last = wanted.broadcast_address.packed
    return (first <= inet_pton(kind, each) <= last for each in addresses)
