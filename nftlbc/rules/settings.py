"""What a farm's settings need of its listeners and its backends."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from nftlbc.diagnostics import Diagnostic, error, in_words, warning
from nftlbc.farms import Farm, Key, family_of
from nftlbc.rules.backends import MOST_BACKENDS

EXACT_SUM = 1_024
"""Up to this sum, reduced, weights are shared out exactly."""
MOST_SLOTS = 65_537
_STATIC = frozenset({"round-robin", "random", "hash"})
"""Schedulers whose slots follow from the weights of the file."""


def check(farm: Farm, found: list[Diagnostic]) -> None:
    balance = farm.balance
    if farm.forward.kind == "snat":
        found += _snat(farm)
    if farm.persistence is not None:
        found += _keys(farm, "persist", farm.persistence.keys)
        if any(key.field == "source-port" for key in farm.persistence.keys):
            message = f"persist by source-port in farm {farm.name}: each connection is a new client"
            found.append(warning(message, farm.place("persist source-port")))
    if balance.keys:
        found += _keys(farm, "balance", balance.keys)
    if balance.scheduler == "consistent":
        found += _slots(farm)
    elif balance.scheduler in _STATIC:
        found += _shares(farm)
    if "check" not in farm.mistaken:
        found += _measured(farm)
    if farm.slow_start and balance.scheduler == "consistent":
        found.append(
            warning(
                f"slow-start does nothing in farm {farm.name}: consistent has no weights that move",
                farm.place("slow-start"),
                "a returning backend gets exactly its own clients back",
            )
        )
    elif farm.slow_start and not farm.checks:  # with checks it has to run anyway
        found.append(
            warning(
                "slow-start is moved on by nftlbc probe alone",
                farm.place("slow-start"),
                "run it in a loop (probe --every 2s) or by a timer shorter than this time",
            )
        )


_NEEDS = {
    "least-response": ((), "the times of its checks", "check tcp"),
    "least-cpu": (("snmp", "agent"), "a check that tells the load", "check snmp or check agent"),
    "custom": (("exec",), "a command that prints the load", 'check exec { command "/..." }'),
}
"""What a scheduler follows: kinds of checks (none named: any), in words, and how it reads."""


def _measured(farm: Farm) -> Iterator[Diagnostic]:
    """Schedulers whose figures nobody measures."""
    needed = _NEEDS.get(farm.balance.scheduler)
    if needed is None:
        return
    kinds, what, how = needed
    if not any(not kinds or check.kind in kinds for check in farm.checks):
        yield warning(
            f"{farm.balance.scheduler} of farm {farm.name} follows {what}, and there is none",
            farm.place("balance"),
            f"add {how}; without it the weights stay as they are written",
        )


def _snat(farm: Farm) -> Iterator[Diagnostic]:
    if farm.mistaken & {"listen", "forward"}:
        return
    families = farm.families
    given = {family_of(address): address for address in farm.forward.addresses}
    missing = [family for family in families if family not in given]
    # In defaults, an address of each family is for farms of either.
    extra = [] if "forward" in farm.inherited else [each for each in given if each not in families]
    if missing:
        which = in_words([f"IPv{family}" for family in missing])
        addresses = in_words([str(address) for address in farm.forward.addresses])
        yield error(
            f"farm {farm.name} has {which} listeners, but snat to {addresses} is not {which}",
            farm.place("forward"),
            "clients of each family need a source address of that family",
        )
    elif extra:
        address = given[extra[0]]
        yield error(
            f"snat to {address} in farm {farm.name}, which has no IPv{extra[0]} listener",
            farm.place(f"forward {address}"),
            "take it away",
        )


def _keys(farm: Farm, keyword: str, keys: tuple[Key, ...]) -> Iterator[Diagnostic]:
    """Prefixes that fit the farm's families; one for each family fits any farm."""
    if farm.mistaken & {"listen", keyword}:
        return
    for key in keys:
        if key.prefix is None or key.prefix6 is not None:
            continue
        families = farm.families
        if len(families) > 1:
            help = f"{key.field}/{min(key.prefix, 24)}/{key.prefix if key.prefix > 32 else 56}"
            yield error(
                f"{key} in farm {farm.name}, which has listeners of both families:"
                " one prefix can't be for both",
                farm.place(f"{keyword} {key}"),
                f"write the one for IPv4, then the one for IPv6, such as {help}",
            )
        elif families == (4,) and key.prefix > 32:
            yield error(
                f"prefix length {key.prefix} is not between 1 and 32:"
                f" farm {farm.name} has IPv4 listeners alone",
                farm.place(f"{keyword} {key}"),
            )


def _slots(farm: Farm) -> Iterator[Diagnostic]:
    from nftlbc.schedule import is_prime, next_prime

    if "balance" in farm.mistaken:
        return
    slots = farm.balance.slots
    place = farm.place(f"balance {slots}")
    if not is_prime(slots):
        message = f"{slots} slots in farm {farm.name}: their number has to be a prime"
        yield error(message, place, f"the next one is {next_prime(slots)}")
        return
    if farm.mistaken & {"listen", "backend"}:
        return
    for family in farm.families:
        count = len(farm.pool(family))
        if count * 100 <= slots:
            continue
        wanted = next_prime(count * 100)
        help = f"write slots {wanted}" if wanted <= MOST_SLOTS else None
        if count > slots:
            message = f"{slots} slots are too few for the {count} backends of farm {farm.name}"
            yield error(message, place, help)
        else:
            message = (
                f"{slots} slots for the {count} backends of farm {farm.name}:"
                " shares may be off by more than 1 %"
            )
            yield warning(message, place, help)


def _shares(farm: Farm) -> Iterator[Diagnostic]:
    if sum([each.weight for each in farm.backends]) <= EXACT_SUM or farm.mistaken:
        return
    for family in farm.families:
        takers = [each.weight for each in farm.pool(family) if each.takes_new and not each.backup]
        if sum(takers) // (gcd(*takers) or 1) <= EXACT_SUM or len(takers) > MOST_BACKENDS:
            continue
        from nftlbc.schedule import slots

        found = slots(tuple(takers))
        which = f"the weights of farm {farm.name}"
        if len(farm.families) > 1:
            which += f" (IPv{family})"
        help = f"shares are exact where the sum of the weights, reduced, is at most {EXACT_SUM}"
        if found.error:
            message = (
                f"{which} can't be met exactly: shares are off by up to {float(found.error):.2%}"
            )
            yield warning(message, farm.place("name"), help)
