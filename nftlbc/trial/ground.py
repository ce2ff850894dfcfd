"""The sandbox of a trial: what must be in it, and loading the compiled script there."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence

from nftlbc.farms import FAMILIES, Address, Family, Farm, Protocol
from nftlbc.nft import refusal
from nftlbc.nft.program import Answer, NftError
from nftlbc.sandbox.errors import SandboxError
from nftlbc.sandbox.layout import Layout
from nftlbc.sandbox.sandbox import Sandbox
from nftlbc.table.build import build
from nftlbc.table.model import Table
from nftlbc.trial.clients import Clients, clients_for
from nftlbc.trial.plan import Plan
from nftlbc.trial.rows import arrival

Write = Callable[[Table], str]
"""From the table to the script that is loaded."""

_TOO_LARGE = "Message too long"


def clients_of(farms: Sequence[Farm]) -> dict[Family, Clients]:
    """The clients of each family that the farms listen in.

    Raises SandboxError where the farms' addresses leave no room for any.
    """
    taken = [address for farm in farms for address in _addresses(farm)]
    families = {family for farm in farms for family in farm.families}
    try:
        return {
            family: clients_for(farms, family, taken) for family in FAMILIES if family in families
        }
    except ValueError as problem:
        raise SandboxError(f"the file can't be tried in a sandbox: {problem}") from None


def _addresses(farm: Farm) -> Iterable[Address]:
    yield from (each.address for each in farm.listeners)
    yield from (each.address for each in farm.backends)
    yield from farm.forward.addresses


def sandbox_of(plans: Sequence[Plan], clients: Mapping[Family, Clients], nft: str) -> Sandbox:
    """A sandbox for the plans' connections, not open yet.

    Raises SandboxError where their addresses don't fit together in one network.
    """
    try:
        return Sandbox(_layout(plans, clients), nft=nft, unlimited_icmp=True)
    except ValueError as problem:
        raise SandboxError(f"the file can't be tried in a sandbox: {problem}") from None


def _layout(plans: Sequence[Plan], clients: Mapping[Family, Clients]) -> Layout:
    """Every address and port that the plans' pools need."""
    ports: dict[Protocol, set[int]] = {"tcp": set(), "udp": set(), "sctp": set()}
    for plan in plans:
        for target in plan.targets:
            arrivals = {arrival(each, target) for each in plan.pool.backends}
            ports[target.listener.protocol] |= arrivals
    pools = [plan.pool for plan in plans]
    families = {pool.family for pool in pools}
    extra = {
        address
        for pool in pools
        for address in pool.farm.forward.addresses
        if (6 if ":" in address else 4) in families
    }
    return Layout(
        listeners=tuple({each.listener.address for plan in plans for each in plan.targets}),
        backends=tuple({each.address for pool in pools for each in pool.backends}),
        tcp_ports=tuple(sorted(ports["tcp"])),
        udp_ports=tuple(sorted(ports["udp"])),
        sctp_ports=tuple(sorted(ports["sctp"])),
        extra=tuple(extra),
        clients=tuple(str(clients[each].network) for each in FAMILIES if each in families),
    )


class TooLarge(NftError):
    """The script is more than one transaction may be where one is not root."""


def load(box: Sandbox, farms: Sequence[Farm], write: Write) -> Table:
    """Loads the farms' script at the balancer; the table that it is.

    Raises NftError with the reason and a remedy; TooLarge is one.
    """
    table = build(farms)
    script = write(table)
    try:
        done = box.load(script)
    except subprocess.TimeoutExpired as late:
        raise NftError(f"nft did not end within {late.timeout:g} s and was ended") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise NftError(
            f"nft died by {name}: a defect of nft, not of the farms file", "a newer nft may do"
        )
    if done.returncode != 0:
        error = refusal.explain(Answer(done.returncode, done.stdout, done.stderr), script)
        raise TooLarge(error.message, error.remedy) if _TOO_LARGE in done.stderr else error
    return table


def load_what_fits(
    box: Sandbox, farms: Sequence[Farm], wanted: Sequence[str], write: Write
) -> tuple[Sequence[Farm], Table]:
    """Loads all farms; where that is too much for one transaction, the wanted ones, the first
    half of these, and so on. Which farms those were, and their table.

    Raises NftError.
    """
    chosen, some = farms, list(wanted)
    while True:
        try:
            return chosen, load(box, chosen, write)
        except TooLarge:
            if len(some) == len(chosen):
                some = some[: len(some) // 2]
            if not some:
                raise
        names = set(some)
        chosen = [farm for farm in farms if farm.name in names]
