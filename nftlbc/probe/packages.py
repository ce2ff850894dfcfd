"""Python packages that only some checks need."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from nftlbc.diagnostics import Diagnostic, error
from nftlbc.farms import Check, Farm
from nftlbc.probe.target import Target, Use


class Package(NamedTuple):
    name: str
    module: str
    debian: str | None
    """None: Debian has none, or one that is too old."""


_H11: Final = Package("h11", "h11", "python3-h11")
_REGEX: Final = Package("regex", "regex", "python3-regex")
# From 3.0 on, which alone can wait for many answers at once: Debian 13's, but not Debian 12's.
_ICMPLIB: Final = Package("icmplib 3", "icmplib.multiping", "python3-icmplib (Debian 13)")
_DNSPYTHON: Final = Package("dnspython", "dns.message", "python3-dnspython")
_PYSNMP: Final = Package("pysnmp", "pysnmp.hlapi.v3arch.asyncio", None)
_CRYPTOGRAPHY: Final = Package("cryptography", "cryptography", "python3-cryptography")


def needed(check: Check) -> Iterator[Package]:
    options = dict(check.options)
    if check.kind in ("http", "https"):
        yield _H11
        body = options.get("body")
        if isinstance(body, tuple) and body[0] == "matches":
            yield _REGEX
    elif check.kind == "icmp":
        yield _ICMPLIB
    elif check.kind == "dns":
        yield _DNSPYTHON
    elif check.kind == "snmp":
        yield _PYSNMP
        if "privacy" in options:
            yield _CRYPTOGRAPHY


def missing(farms: Iterable[Farm]) -> list[Diagnostic]:
    """A mistake for each package that is not there, at the first check that needs it."""
    seen: set[Check] = set()
    judged: set[Package] = set()
    found: list[Diagnostic] = []
    for farm in farms:
        for number, check in enumerate(farm.checks):
            if check in seen:
                continue
            seen.add(check)
            for package in needed(check):
                if package not in judged and not _there(package.module):
                    message = f"check {check.kind} needs the Python package {package.name}"
                    place = farm.place(f"check {number}")
                    found.append(error(message, place, _remedy(package)))
                judged.add(package)
    return found


def askable(uses: Mapping[Target, list[Use]]) -> dict[Target, list[Use]]:
    """Without those whose package is missing: what only they would tell stays as it is known."""
    there: dict[Package, bool] = {}

    def is_there(package: Package) -> bool:
        if package not in there:
            there[package] = _there(package.module)
        return there[package]

    return {
        target: some
        for target, some in uses.items()
        if all(is_there(package) for package in needed(target.check))
    }


def _remedy(package: Package) -> str:
    pip = "pip install 'nftlbc[probe]'"
    return f"apt install {package.debian}, or: {pip}" if package.debian else pip


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
