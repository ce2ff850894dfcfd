"""Does the kernel pass on packets that are for other machines?"""

from __future__ import annotations

from collections.abc import Iterator

from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok, some
from nftlbc.doctor.settings import key, lasting, set_now
from nftlbc.doctor.situation import Situation

_WHY = (
    "what comes in there for another machine is dropped without a word:"
    " connections to the farms time out"
)


def ipv4(situation: Situation) -> Iterator[Finding]:
    """IPv4 forwards by interface: ``ip_forward`` is only a switch for all of them."""
    name = "ip-forward"
    overall = situation.machine.sysctl("net/ipv4/ip_forward")
    if overall is None:
        raise Unseen("this kernel tells nothing of IPv4")
    devices = situation.forwarding_devices(4) if situation.farms else ()
    keys = {each: key("net", "ipv4", "conf", each, "forwarding") for each in devices}
    off = [each for each in devices if situation.machine.sysctl(keys[each]) == 0]
    if overall and not off:
        yield ok(name, f"IPv4 forwarding is on{_on(devices)}")
    elif devices and not off:
        yield ok(name, f"IPv4 forwarding is off as a whole, and on{_on(devices)}")
    elif overall:
        yield Finding(
            name,
            Verdict.PROBLEM,
            f"IPv4 forwarding is on, but not for {some(off)}",
            _WHY,
            commands=tuple(set_now(keys[each], 1) for each in off),
            lasting=tuple(lasting(keys[each], 1) for each in off),
            affects=tuple(off),
        )
    else:
        yield Finding(
            name,
            Verdict.PROBLEM,
            f"IPv4 forwarding is off{f' for {some(off)}' if off else ''}",
            _WHY,
            commands=(set_now("net/ipv4/ip_forward", 1),),
            lasting=(lasting("net/ipv4/ip_forward", 1),),
            affects=tuple(off),
        )


def ipv6(situation: Situation) -> Iterator[Finding]:
    """IPv6 forwards as a whole; since Linux 6.17 an interface can force it for itself."""
    name = "ipv6-forward"
    overall = situation.machine.sysctl("net/ipv6/conf/all/forwarding")
    if situation.farms and not any(6 in farm.families for farm in situation.farms):
        yield ok(name, "no farm listens on IPv6")
        return
    devices = situation.forwarding_devices(6) if situation.farms else ()
    if overall is None:
        if situation.farms:
            yield Finding(
                name,
                Verdict.PROBLEM,
                "this kernel has no IPv6",
                "the farms' IPv6 listeners can't be reached",
                "boot without ipv6.disable=1",
            )
        else:
            yield ok(name, "this kernel has no IPv6")
    elif overall:
        yield ok(name, "IPv6 forwarding is on")
    elif devices and all(_forced(situation, each) for each in devices):
        yield ok(name, f"IPv6 forwarding is off as a whole, and forced{_on(devices)}")
    elif situation.farms and not devices:
        yield ok(name, "no IPv6 backend is behind this machine")
    else:
        yield _off(name, situation)


def _off(name: str, situation: Situation) -> Finding:
    # Turning it on lets the kernel forget the default route that it learned from a router's
    # advertisement, and hear no more of them: the machine could cut itself off.
    heard = [
        key("net", "ipv6", "conf", device, "accept_ra")
        for device in situation.network.advertised()
        if situation.machine.sysctl(key("net", "ipv6", "conf", device, "accept_ra")) == 1
    ]
    commands = [set_now(each, 2) for each in heard]
    last = [lasting(each, 2) for each in heard]
    return Finding(
        name,
        Verdict.PROBLEM if situation.farms else Verdict.WARNING,
        "IPv6 forwarding is off",
        _WHY if situation.farms else f"{_WHY}; of no matter without IPv6 farms",
        "the IPv6 default route comes from a router's advertisement; with forwarding on the"
        " kernel listens to those only with accept_ra=2, so set that first"
        if heard
        else None,
        commands=(*commands, set_now("net/ipv6/conf/all/forwarding", 1)),
        lasting=(*last, lasting("net/ipv6/conf/all/forwarding", 1)),
    )


def _forced(situation: Situation, device: str) -> bool:
    path = key("net", "ipv6", "conf", device, "force_forwarding")
    return situation.machine.sysctl(path) == 1


def _on(devices: tuple[str, ...]) -> str:
    return f" for {some(devices)}" if devices else ""
