"""How many sockets a process of the sandbox may have open."""

import resource
from contextlib import suppress
from pathlib import Path


def allow_many_descriptors() -> None:
    """As many as this user may have: each port and each connection is one.

    The usual soft limit is 1 024. Root may go beyond the hard one as well.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(OSError, ValueError):
        most = int(Path("/proc/sys/fs/nr_open").read_text())
        if hard != resource.RLIM_INFINITY and most > hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
