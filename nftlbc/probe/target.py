"""What is asked, once however many farms want to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from nftlbc.farms import Address, Backend, Check, Farm, Listener, Protocol

SNMP_PORT: Final = 161
_DEFAULT: Final = Check("tcp")


@dataclass(frozen=True, slots=True)
class Target:
    """A check of one thing."""

    check: Check
    """Without its interval, fall and rise, which are the business of who asks, and its port."""
    address: Address
    port: int
    """0 where there are no ports."""
    farm: str = ""
    """Of an ``exec`` check, whose command is told them; else empty, as ``backend``."""
    backend: str = ""

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address and self.port else self.address
        where = f"{address}:{self.port}" if self.port else address
        return f"{self.check.kind} {where}"

    @property
    def limit(self) -> float:
        """Seconds."""
        return self.check.timeout / 1000


class Use(NamedTuple):
    """Who wants to know."""

    farm: Farm
    backend: Backend
    check: Check


def targets(farms: Iterable[Farm]) -> dict[Target, list[Use]]:
    """All that is to be asked for these farms, in their order, and for whom."""
    found: dict[Target, list[Use]] = {}
    for farm in farms:
        for check in farm.checks:
            plain = replace(
                check,
                port=None,
                interval=_DEFAULT.interval,
                fall=_DEFAULT.fall,
                rise=_DEFAULT.rise,
            )
            for backend in farm.backends:
                own = (farm.name, backend.name) if check.kind == "exec" else ()
                target = Target(plain, backend.address, port(farm, backend, check), *own)
                found.setdefault(target, []).append(Use(farm, backend, check))
    return found


def port(farm: Farm, backend: Backend, check: Check) -> int:
    """The port that a check asks: its own, the backend's, or where the first listener leads."""
    if check.kind == "icmp":
        return 0
    if check.port is not None:
        return check.port
    if check.kind == "snmp":
        return SNMP_PORT
    listeners = _listeners(farm, backend, protocol(check))
    if backend.port is not None and (not listeners or any(each.to is None for each in listeners)):
        return backend.port
    return (listeners[0].to or listeners[0].first) if listeners else 0


def protocol(check: Check) -> Protocol | None:
    """What a check speaks to the service's own port; None: it asks no such port, or any."""
    if check.kind in ("icmp", "snmp", "exec"):
        return None
    if check.kind == "dns":
        return "tcp" if dict(check.options).get("over") == "tcp" else "udp"
    return "udp" if check.kind == "udp" else "tcp"


def _listeners(farm: Farm, backend: Backend, spoken: Protocol | None) -> list[Listener]:
    """Those that lead to the backend; of the protocol that is spoken, where there are such."""
    own = [each for each in farm.listeners if each.family == backend.family]
    return [each for each in own if each.protocol == spoken] or own
