"""Do packets for the farms' addresses come to this machine, and answers to its own?"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from nftlbc.doctor.finding import Finding, Verdict, ok, some, unique
from nftlbc.doctor.network import Assigned, Interface
from nftlbc.doctor.processes import named
from nftlbc.doctor.settings import key
from nftlbc.doctor.situation import Situation
from nftlbc.farms import Address

_STANDBY: Final = frozenset({"keepalived", "ucarp", "pacemakerd", "vrrpd", "corosync"})
"""Programs that move addresses between machines: here may be the one that waits."""


def check(situation: Situation) -> Iterator[Finding]:
    name = "listener-address"
    absent = [address for address, here in situation.here.items() if not here]
    present = [address for address, here in situation.here.items() if here]
    found = [*_absent(situation, name, absent)]
    for address in present:
        found += _unheard(situation, name, address)
    found += _failed(situation, name, present)
    yield from found or [ok(name, f"on this machine: {some(present)}")]


def _absent(situation: Situation, name: str, absent: list[Address]) -> Iterator[Finding]:
    """One finding for those that nobody answers for, one for those that may be routed here."""
    standby = sorted(_STANDBY & named(situation.machine, _STANDBY))
    network = situation.network
    near = {address: network.neighbourhoods(address) for address in absent}
    groups = (
        (
            Verdict.PROBLEM,
            [address for address in absent if near[address]],
            "nobody answers when its neighbours ask for it: connections time out",
            "give it to the interface in whose network it is",
        ),
        (
            Verdict.WARNING,
            [address for address in absent if not near[address]],
            "clients reach it only if a router sends it here, which can't be seen from here",
            "if a router does send it here, put it on lo: then this machine, too, knows that it"
            " is its own",
        ),
    )
    for verdict, addresses, why, mend in groups:
        if not addresses:
            continue
        users = unique(user for address in addresses for user in situation.users(address))
        waits = f"; {', '.join(standby)} runs here: perhaps this is the machine that waits"
        are = "is" if len(addresses) == 1 else "are"
        yield Finding(
            name,
            Verdict.WARNING if standby else verdict,
            f"{some(addresses)} ({some(users)}) {are} not on this machine"
            + (waits if standby else ""),
            why,
            mend,
            commands=tuple(
                _add(address, near[address][0][1].name if near[address] else "lo")
                for address in addresses
            ),
            affects=tuple(addresses),
        )


def _unheard(situation: Situation, name: str, address: Address) -> Iterator[Finding]:
    """An address that is here, but not on the interface where its neighbours ask for it.

    For IPv6 the kernel answers only for addresses of the interface that was asked; for IPv4
    for all that it has, unless arp_ignore says otherwise.
    """
    around = situation.network.neighbourhoods(address)
    if not around:
        return
    interface = around[0][1]
    if any(held is interface for held, _ in situation.network.holders(address)):
        return
    path = key("net", "ipv4", "conf", interface.name, "arp_ignore")
    everywhere = key("net", "ipv4", "conf", "all", "arp_ignore")
    ignores = max(situation.machine.sysctl(each) or 0 for each in (path, everywhere))
    if ":" not in address and not ignores:
        return
    reason = (
        "for IPv6 the kernel answers only for the addresses of the interface that is asked"
        if ":" in address
        else f"arp_ignore is {ignores}, and the address is not on {interface.name}"
    )
    yield Finding(
        name,
        Verdict.PROBLEM,
        f"{address} ({some(situation.users(address))}) is on this machine, but its neighbours"
        f" on {interface.name} get no answer when they ask for it",
        f"{reason}: connections time out",
        "give it to that interface",
        commands=(_add(address, interface.name),),
        affects=(address,),
    )


def _failed(situation: Situation, name: str, present: list[Address]) -> Iterator[Finding]:
    for address in present:
        for interface, assigned in situation.network.holders(address):
            if assigned.failed:
                yield _duplicate(situation, name, interface, assigned)


def _duplicate(
    situation: Situation, name: str, interface: Interface, assigned: Assigned
) -> Finding:
    address = assigned.address
    device = shlex.quote(interface.name)
    return Finding(
        name,
        Verdict.PROBLEM,
        f"{address} ({some(situation.users(address))}) is on {interface.name}, but another"
        " machine has it too",
        "the kernel found it taken (duplicate address detection) and does not use it",
        "take it from the other machine, then give it to this one anew",
        commands=(
            f"ip address delete {address}/{assigned.length} dev {device}",
            f"ip address add {address}/{assigned.length} dev {device}",
        ),
        affects=(address,),
    )


def sources(situation: Situation) -> Iterator[Finding]:
    """The addresses of ``forward snat``: what backends answer to."""
    name = "snat-address"
    wanted = {
        address: f"farm {farm.name}"
        for farm in situation.farms
        for address in farm.forward.addresses
    }
    if not wanted:
        return
    here = situation.local(tuple(wanted))
    absent = [address for address in wanted if not here[address]]
    if not absent:
        yield ok(name, f"on this machine: {some(tuple(wanted))}")
        return
    yield Finding(
        name,
        Verdict.PROBLEM,
        f"{some(absent)}, which {some([wanted[each] for each in absent])} gives to its"
        " connections as their source, is not on this machine",
        "the backends' answers go to that address, and this machine does not take them",
        "give it to this machine, or write an address that it has",
        commands=tuple(_add(address, _device(situation, address)) for address in absent),
        affects=tuple(absent),
    )


def _device(situation: Situation, address: Address) -> str:
    around = situation.network.neighbourhoods(address)
    return around[0][1].name if around else "lo"


def _add(address: Address, device: str) -> str:
    length = 128 if ":" in address else 32
    return f"ip address add {address}/{length} dev {shlex.quote(device)}"
