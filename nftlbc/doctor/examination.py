"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from nftlbc.doctor.checks import CHECKS
from nftlbc.doctor.finding import Finding, Unseen, not_checked
from nftlbc.doctor.machine import Machine
from nftlbc.doctor.situation import Situation
from nftlbc.farms import Farm


def examine(farms: Sequence[Farm] = (), machine: Machine | None = None) -> list[Finding]:
    """What the checks found, in their order; without farms only those of the machine itself.

    farms: of a file without mistakes.
    """
    situation = Situation(machine or Machine(), farms)
    found: list[Finding] = []
    for check in CHECKS:
        if check.of_farms and not farms:
            continue
        try:
            for finding in check.look(situation):
                found.append(finding)  # noqa: PERF402 - what was found before it failed stays
        except Unseen as problem:
            found.append(not_checked(check.name, problem.reason))
    return found
