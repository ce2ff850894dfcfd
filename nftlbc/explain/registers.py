"""A packet's fields as nft has them: as values in keys, and as bytes in its registers."""

from __future__ import annotations

import enum
import functools
import struct
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

from nftlbc.explain.jhash import jhash, scaled
from nftlbc.explain.outcome import Packet
from nftlbc.farms import Address
from nftlbc.table.model import Field, Hash, KeyPart

_PROTOCOL_NUMBERS: Final = {"tcp": 6, "udp": 17, "sctp": 132}


class Missing(enum.Enum):
    """Why a field has no value."""

    ABSENT = "the packet has no such field: the rule ends"
    UNKNOWN = "it was not told"


def packet_field(packet: Packet, field: Field) -> KeyPart | Missing:
    """A field of the packet itself, not of its connection."""
    match field.name:
        case "ip saddr" | "ip6 saddr":
            return _address(packet.source, field)
        case "ip daddr" | "ip6 daddr":
            return _address(packet.destination, field)
        case "th sport":
            return Missing.UNKNOWN if packet.source_port is None else packet.source_port
        case "th dport":
            return packet.port
        case "meta l4proto":
            return packet.protocol
        case name:
            raise ValueError(f"{name} is no field of a packet")


def hashed(value: Hash, parts: tuple[KeyPart, ...]) -> int:
    """The slot in ``[0, modulus)`` that the kernel's jhash gives for the fields' values."""
    pairs = zip(value.fields, parts, strict=True)
    data = [_bytes(field, part) for field, part in pairs]
    if len(data) > 1:  # each in registers of its own
        data = [each + bytes(-len(each) % 4) for each in data]
    return scaled(jhash(b"".join(data), value.seed), value.modulus)


def _address(address: Address, field: Field) -> Address | Missing:
    if (":" in address) != field.name.startswith("ip6"):
        return Missing.ABSENT
    if field.prefix is None:
        return address
    return cut(address, field.prefix)


@functools.lru_cache(maxsize=1024)
def cut(address: Address, prefix: int) -> Address:
    """The address with all bits after the prefix cleared."""
    kind, bits = (AF_INET6, 128) if ":" in address else (AF_INET, 32)
    number = int.from_bytes(inet_pton(kind, address), "big")
    number = number >> (bits - prefix) << (bits - prefix)
    return inet_ntop(kind, number.to_bytes(bits // 8, "big"))


def _bytes(field: Field, value: KeyPart) -> bytes:
    """In the byte order of the packet; what the kernel holds itself, in the machine's own."""
    match field.name, value:
        case (("th sport" | "th dport"), int(port)):
            return struct.pack(">H", port)
        case "meta l4proto", str(protocol):
            return bytes([_PROTOCOL_NUMBERS[protocol]])
        case (("meta priority" | "ct mark"), int(number)):
            return struct.pack("<I", number)
        case _, str(address):
            return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    raise ValueError(f"{value!r} is no {field.name}")
