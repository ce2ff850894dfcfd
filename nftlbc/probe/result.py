"""What a check found."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final, Literal

Order = Literal["up", "drain", "down"]

MOST_WHY: Final = 160
"""Characters of a reason."""
MOST_WORD: Final = 14
"""Characters of its short form, which the kernel's table keeps."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one target, once."""

    passed: bool
    why: str
    """For people, printable: ``tcp 10.0.0.12:8080 connection refused``."""
    word: str
    """``refused``, ``timeout``, ``status-503``: letters, digits and ``_.+-``."""
    seconds: float
    """From the beginning to the answer, or to giving up."""
    silent: bool = False
    """Nothing came back at all: the network may be to blame, even this machine's own."""
    warning: str | None = None
    figure: float | None = None
    """``agent``: the percentage; ``snmp``: load of the CPUs, 1 is all busy; ``exec``: the number
    that it printed."""
    order: Order | None = None
    """What an agent wants."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a kind of check says: a Result without what all have in common."""

    text: str
    word: str = "ok"
    passed: bool = True
    silent: bool = False
    warning: str | None = None
    figure: float | None = None
    order: Order | None = None


class Failure(Exception):
    """Ends a check from wherever it is."""

    def __init__(self, word: str, text: str, *, silent: bool = False) -> None:
        super().__init__(text)
        self.finding = Finding(text, word, passed=False, silent=silent)


_REFUSED: Final = {
    errno.ECONNREFUSED: ("refused", "connection refused"),
    errno.ECONNRESET: ("reset", "connection reset"),
    errno.EPIPE: ("reset", "connection reset"),
    errno.ECONNABORTED: ("reset", "connection reset"),
}
"""What a machine that is there says."""
_SILENT: Final = {
    errno.ETIMEDOUT: ("timeout", "no answer"),
    errno.EHOSTUNREACH: ("unreachable", "host unreachable"),
    errno.ENETUNREACH: ("unreachable", "network unreachable"),
    errno.ENETDOWN: ("unreachable", "network down"),
    errno.EADDRNOTAVAIL: ("source", "the source address is not this machine's"),
    errno.EPERM: ("forbidden", "this machine forbids it"),
    errno.EACCES: ("forbidden", "this machine forbids it"),
    errno.EMFILE: ("files", "too many open files"),
    errno.ENFILE: ("files", "too many open files"),
    errno.ENOBUFS: ("memory", "this machine has no buffer left"),
    errno.ENOMEM: ("memory", "this machine has no memory left"),
}
"""What the network says, or this machine itself: nothing is known of the other one."""


def of_error(problem: OSError) -> Finding:
    """What a system call's refusal means."""
    number = problem.errno or 0
    if (known := _REFUSED.get(number)) is not None:
        return Finding(known[1], known[0], passed=False)
    if (known := _SILENT.get(number)) is not None:
        return Finding(known[1], known[0], passed=False, silent=True)
    name = errno.errorcode.get(number, "error").lower()
    return Finding(problem.strerror or "failed", name, passed=False)
