"""Hosts: from a value to the canonical text of a host's address."""

from __future__ import annotations

import functools
import re

from nftlbc.farms import Address
from nftlbc.language.values import Context, Item


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[Address, str | None] | None:
    """The canonical text of an address and what keeps it from being used; None: no address."""
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 6 and (address.ipv4_mapped is not None):
        return str(address), f"is IPv4 in IPv6's clothes: write {address.ipv4_mapped}"
    if address.is_unspecified:
        return str(address), "is no host's address"
    if address.is_multicast:
        return str(address), "is a multicast address"
    if address.version == 6 and address.is_link_local:
        return str(address), "is a link-local address, which means nothing without its interface"
    if address.version == 4 and (int(address) >= 0xF000_0000 or int(address) < 0x0100_0000):
        return str(address), "is no host's address"
    return str(address), None


_COMMON_IPV4 = re.compile(
    r"(?!127\.)(?:[1-9]|[1-9][0-9]|1[0-9][0-9]|2[01][0-9]|22[0-3])"
    r"(?:\.(?:0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])){3}\Z"
)


is_common_ipv4 = _COMMON_IPV4.match
"""Whether a text is the canonical IPv4 address of an ordinary host."""


def address(context: Context, item: Item, what: str) -> Address | None:
    """The canonical text of a host's address."""
    if item.kind == "IPV4" and _COMMON_IPV4.match(item.text):
        return item.text
    if item.kind == "PREFIX":
        context.wrong(
            item,
            f"{item.text} is a prefix, and {what} is one address",
            "write it without the / and what follows",
        )
        return None
    parsed = _parsed(item.text) if item.kind in ("IPV4", "IPV6") else None
    if parsed is None:
        context.wrong(item, f"{item.text!r} is not an address", _address_help(item))
        return None
    text, wrong = parsed
    if wrong:
        context.wrong(item, f"{item.text} can't be {what}: it {wrong}")
        return None
    return text


def _address_help(item: Item) -> str | None:
    if item.kind == "IPV4":
        parts = item.text.split(".")
        big = [part for part in parts if int(part[:9]) > 255]
        if big:
            return f"{big[0]} is above 255"
        return "a part with a leading zero is ambiguous: write it without"
    text = item.text.strip('"')
    with_port = re.fullmatch(r"(?:\[(.+)\]|([0-9.]+))(?::([0-9]+))?", text)
    if with_port and _parsed(with_port[1] or with_port[2] or ""):
        port = f" and behind it: port {with_port[3]}" if with_port[3] else ""
        return f"write {with_port[1] or with_port[2]}{port}"
    if text != item.text:
        return "write it without the quotes" if _parsed(text) else None
    if re.fullmatch(r"[0-9.]+", text):
        return "an IPv4 address is four numbers from 0 to 255"
    if ":" in text:
        return "an IPv6 address is at most eight groups of four digits, with one :: at most"
    return "names are not looked up: write the address" if text[:1] != "$" else None


def is_loopback(text: Address) -> bool:
    return text.startswith("127.") or text == "::1"
