"""What has to follow a transaction: the kernel's list of connections is not part of the table.

Flows of UDP that are stuck to a backend that is gone are taken off that list, so that their next
packet is balanced anew. So are TCP connections that it has not answered: the client's next SYN, a
second after its first, goes to a backend that lives, and nothing is lost but that second. Clients
of backends that are cut off and only wait are reached.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from nftlbc.nft import conntrack, flows, waking
from nftlbc.nft.flows import TCP, Flow
from nftlbc.nft.program import NftError
from nftlbc.plan.planning import Plan

_ROUNDS: Final = 3
_PAUSE: Final = 0.2
"""Seconds for the answers of a round; on a way of more than that the next packet does it. And for
a backend that may be well to answer a SYN."""

_PATIENCE: Final = 5.0
"""Seconds after which no further round begins."""


@dataclass(frozen=True)
class Settled:
    """What was done about connections."""

    moved: int = 0
    """Flows whose next packet is balanced anew."""
    retried: int = 0
    """TCP connections that nobody had answered, whose next SYN is."""
    cut: int = 0
    """TCP connections to backends that are cut off."""
    waiting: int = 0
    """Of them, those not known to have ended: they end with their client's next packet."""
    problems: tuple[NftError, ...] = ()
    """What could not be done. The table is as it should be all the same."""

    def lines(self) -> Iterator[str]:
        """What was done, in words."""
        if self.moved:
            were = "1 UDP flow is" if self.moved == 1 else f"{self.moved} UDP flows are"
            yield f"{were} balanced anew with the next packet"
        if self.retried:
            were = "1 client without" if self.retried == 1 else f"{self.retried} clients without"
            yield f"{were} an answer: balanced anew at the next try"
        if self.cut:
            ended = self.cut - self.waiting
            if ended:
                were = "1 open connection was" if ended == 1 else f"{ended} open connections were"
                yield f"{were} reset"
            if self.waiting:
                ends = "1 open connection ends" if self.waiting == 1 else ""
                ends = ends or f"{self.waiting} open connections end"
                yield f"{ends} with the client's next packet"


def settle(plan: Plan) -> Settled:
    """After ``planning.apply`` or ``planning.change``, under the same lock; a service that has to
    be quick does it beside its next change, where at worst it finds less to do."""
    return settled(plan.left, plan.cut, plan.failed)


def settled(
    left: Collection[int], cut: Collection[int], failed: Collection[int] = frozenset()
) -> Settled:
    """The same for the numbers of backends.

    left: of those that are gone or down: their UDP flows move, their TCP connections go on.
    cut: of those whose connections end, of every protocol.
    failed: of both, those that have failed their checks, and will answer nobody.
    """
    marks = {*left, *cut}
    if not marks:
        return Settled()
    try:
        found = flows.of(marks)
    except NftError as refusal:
        remedy = "those of UDP go where they went until they pause for 30 s to 2 minutes"
        return Settled(problems=(NftError(refusal.message, remedy),))
    problems: list[NftError] = []
    moved = retried = 0
    # An association of SCTP can't go on elsewhere: without its entry it ends.
    gone = [each for each in found if each.protocol != TCP and _goes(each, cut)]
    asking = [each for each in found if _asks(each)]
    try:
        retried = flows.forget([each for each in asking if each.mark in failed])
        moved = flows.forget(gone)
        retried += _unanswered([each for each in asking if each.mark not in failed])
    except NftError as refusal:
        problems.append(NftError(f"UDP flows can't be moved: {refusal.message}", refusal.remedy))
    ending = [each for each in found if each.protocol == TCP and each.mark in cut]
    ending = [each for each in ending if not _asks(each)]
    opened = sum(each.state in conntrack.OPEN for each in ending)
    waiting = opened
    try:
        waiting = _woken(ending, cut) if ending else 0
    except NftError as refusal:
        if opened:
            problems.append(refusal)
    return Settled(moved, retried, opened, min(waiting, opened), tuple(problems))


def ended(plan: Plan) -> bool:
    """After ``apply`` has cut off removed backends: whether all that was open to them has ended,
    so that no packet has to be asked any more.

    The entries of what was reset go too: a client that did not get its reset would use its own
    again, and without one it is reset by whoever it is given to.
    """
    try:
        found = [each for each in flows.of(plan.cut) if each.protocol == TCP]
        if any(each.state in conntrack.OPEN | waking.WAITING for each in found):
            return False
        flows.forget(found)
    except NftError:
        return False
    return True


def _goes(flow: Flow, cut: Collection[int]) -> bool:
    return flow.protocol == flows.UDP or flow.mark in cut


def _asks(flow: Flow) -> bool:
    return flow.protocol == TCP and flow.state == conntrack.SYN_SENT


def _unanswered(asking: list[Flow]) -> int:
    """Forgets those that are not answered in a while either: who is well answers at once, and his
    client need not wait for its next try."""
    if not asking:
        return 0
    time.sleep(_PAUSE)
    before = {each.known_as for each in asking}
    now = flows.of({each.mark for each in asking})
    return flows.forget([each for each in now if _asks(each) and each.known_as in before])


def _woken(ending: list[Flow], cut: Collection[int]) -> int:
    """How many are open after their clients were reached."""
    deadline = time.monotonic() + _PATIENCE
    for _ in range(_ROUNDS):
        idle = [each for each in ending if each.state in waking.WAITING]
        if not idle or time.monotonic() > deadline or not waking.wake(idle):
            break
        time.sleep(_PAUSE)
        # The kernel notes a connection that a rule has reset as closed (since Linux 6.3).
        ending = [each for each in flows.of(cut) if each.protocol == TCP]
    return sum(each.state in conntrack.OPEN for each in ending)
