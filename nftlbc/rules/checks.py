"""What a farm's checks need of its listeners and its backends."""

from __future__ import annotations

from collections.abc import Iterator

from nftlbc.diagnostics import Diagnostic, warning
from nftlbc.farms import Farm, family_of

_OVER_TCP = frozenset({"tcp", "tls", "http", "https", "smtp"})
"""Kinds that ask the service itself, over TCP."""


def check(farm: Farm, found: list[Diagnostic]) -> None:
    if farm.checks:
        found += _sources(farm)
        found += _protocols(farm)


def _protocols(farm: Farm) -> Iterator[Diagnostic]:
    """TCP asked of a service that is SCTP alone. (With UDP alone it may be right: a name server
    has both.)"""
    if "listen" in farm.mistaken or {each.protocol for each in farm.listeners} != {"sctp"}:
        return
    for number, each in enumerate(farm.checks):
        if each.kind in _OVER_TCP and each.port is None:
            yield warning(
                f"check {each.kind} of farm {farm.name} asks by TCP, and all of it is SCTP",
                farm.place(f"check {number}"),
                "SCTP has no check of its own: use icmp or exec, or give a port",
            )


def _sources(farm: Farm) -> Iterator[Diagnostic]:
    """Addresses that checks are sent from, and nobody of their family to send them to."""
    for number, each in enumerate(farm.checks):
        if each.source is not None and "backend" not in farm.mistaken:
            family = family_of(each.source)
            if not any(backend.family == family for backend in farm.backends):
                message = (
                    f"check {each.kind} of farm {farm.name} is sent from {each.source},"
                    f" and there is no IPv{family} backend"
                )
                yield warning(message, farm.place(f"check {number}"))
