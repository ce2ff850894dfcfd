"""jhash: the published algorithm, and the kernel's own over nft's registers."""

from __future__ import annotations

import random
import struct
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

import pytest
from namespace import NFTS, loopback

from nftlbc.explain.jhash import jhash, scaled
from nftlbc.explain.outcome import Packet
from nftlbc.explain.registers import Missing, hashed, packet_field
from nftlbc.nft.rules import rule_text
from nftlbc.table.model import Field, Hash, SetMark


@pytest.mark.parametrize(
    ("key", "seed", "expected"),
    [
        (b"", 0, 0xDEADBEEF),
        (b"", 0xDEADBEEF, 0xBD5B7DDE),
        (b"Four score and seven years ago", 0, 0x17770551),
        (b"Four score and seven years ago", 1, 0xCD628161),
    ],
)
def test_the_vectors_that_came_with_the_algorithm(key: bytes, seed: int, expected: int) -> None:
    assert jhash(key, seed) == expected


def test_scaling_goes_by_the_upper_bits() -> None:
    assert scaled(0, 3) == 0
    assert scaled(0x55555555, 3) == 0
    assert scaled(0x55555556, 3) == 1
    assert scaled(0xFFFFFFFF, 3) == 2


FIELDS: list[tuple[Field, ...]] = [
    (Field("ip saddr"),),
    (Field("ip saddr", 24),),
    (Field("th sport"),),
    (Field("th dport"), Field("ip saddr")),
    (Field("th dport"), Field("th sport"), Field("ip daddr"), Field("ip saddr")),
    (Field("ip saddr", 16), Field("th dport")),
    (Field("th dport"), Field("ip daddr", 8), Field("ip saddr", 25)),
    (Field("meta l4proto"), Field("ip saddr")),
    (Field("ip6 saddr"),),
    (Field("ip6 saddr", 64),),
    (Field("th dport"), Field("ip6 saddr", 56)),
    (Field("th dport"), Field("th sport"), Field("ip6 daddr", 48), Field("ip6 saddr", 96)),
    (Field("ip6 saddr", 33), Field("th sport")),
]
MODULI = (0xFFFFFFFF, 4093, 1)
SEED = 0x9ABCDEF1


def packets() -> list[Packet]:
    """Half of each family; each has a source port of its own, by which it is known again."""
    drawn = random.Random(4)
    made = []
    for port in range(20_000, 20_080):
        kind, net, size = (AF_INET, b"\x0a", 3) if port % 2 else (AF_INET6, b"\x20\x01\x0d\xb8", 12)
        source, target = (inet_ntop(kind, net + drawn.randbytes(size)) for _ in "st")
        made.append(Packet(source, port, target, drawn.choice([53, 80, 8080]), "udp", "output"))
    return made


@pytest.mark.kernel
@pytest.mark.parametrize("nft", NFTS)
def test_the_kernel_hashes_alike(nft: str) -> None:
    hashes = {
        f"seen{number}_{modulus}": Hash(fields, modulus, SEED)
        for number, fields in enumerate(FIELDS)
        for modulus in MODULI
    }
    maps = "".join(
        f"map {name} {{ typeof udp sport : ct mark; flags dynamic; size 1024; }}\n"
        for name in hashes
    )
    rules = "".join(
        f"{rule_text((SetMark(value),))} add @{name} {{ udp sport : ct mark }}\n"
        for name, value in hashes.items()
    )
    script = (
        f"table inet nftlbc {{\n{maps}chain output {{\ntype filter hook output priority 0;\n"
        f"meta l4proto != udp accept\n{rules}}}\n}}\n"
    )
    sent = packets()
    answers = loopback(
        nft,
        {each.port for each in sent},
        [
            {"load": script},
            *({"send": [p.source, p.source_port, p.destination, p.port]} for p in sent),
            *({"list": name} for name in hashes),
        ],
    )
    compared = 0
    for (name, value), seen in zip(hashes.items(), answers[len(sent) :], strict=True):
        expected = {}
        for packet in sent:
            parts = tuple(packet_field(packet, field) for field in value.fields)
            if Missing.ABSENT not in parts:
                expected[packet.source_port] = hashed(value, parts)  # type: ignore[arg-type]
        assert {int(key): mark for key, mark in seen} == expected, name
        compared += len(expected)
    assert compared == len(MODULI) * len(sent) * (len(FIELDS) + 1) // 2


def test_registers_are_in_the_order_of_the_packet() -> None:
    """A port alone is hashed as 2 bytes, in a concatenation as 4."""
    alone = Hash((Field("th sport"),), 0xFFFFFFFF, 5)
    assert hashed(alone, (443,)) == scaled(jhash(struct.pack(">H", 443), 5), 0xFFFFFFFF)
    both = Hash((Field("th sport"), Field("ip saddr")), 0xFFFFFFFF, 5)
    key = struct.pack(">H", 443) + b"\0\0" + inet_pton(AF_INET, "192.0.2.1")
    assert hashed(both, (443, "192.0.2.1")) == scaled(jhash(key, 5), 0xFFFFFFFF)
