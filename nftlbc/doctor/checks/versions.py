"""Are nft and the kernel new enough?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from nftlbc.doctor.finding import Finding, Unseen, Verdict, ok
from nftlbc.doctor.situation import Situation
from nftlbc.nft import program

OLDEST_KERNEL: Final = (5, 10)


def nft(_: Situation) -> Iterator[Finding]:
    name = "nft-version"
    why = "without it nothing can be loaded"
    try:
        path = program.find()
        version = program.version(path)
    except program.NftError as refusal:
        apt = "apt install nftables"
        remedy = refusal.remedy or ""
        known = (apt,) if apt in remedy else ()
        mend = None if known else refusal.remedy
        yield Finding(name, Verdict.PROBLEM, refusal.message, why, mend, commands=known)
        return
    yield ok(name, f"nft {'.'.join(map(str, version))}")


def kernel(situation: Situation) -> Iterator[Finding]:
    name = "kernel-version"
    release = (situation.machine.read("proc/sys/kernel/osrelease", 256) or "").strip()
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None:
        raise Unseen("the kernel does not tell its version")
    found = int(numbers.group(1)), int(numbers.group(2))
    if found >= OLDEST_KERNEL:
        yield ok(name, f"Linux {release}")
        return
    oldest = ".".join(map(str, OLDEST_KERNEL))
    yield Finding(
        name,
        Verdict.PROBLEM,
        f"Linux {release} is older than {oldest}",
        "its nf_tables lacks what the table is made of",
        f"boot a kernel from {oldest} on: Debian 11 and Ubuntu 22.04 have one",
    )
