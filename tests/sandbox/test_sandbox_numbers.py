"""Where links are moved to is found in the machine's /proc, whatever the sandbox counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from nftlbc.sandbox.processes import Processes


@pytest.mark.kernel
def test_the_namespaces_are_those_of_the_numbers() -> None:
    """ip 6.15 looks a number up in /proc; the machine's own network is what 2 has there."""
    processes = Processes()
    try:
        found = {Path(f"/proc/{pid}/ns/net").stat().st_ino for pid in processes.pids.values()}
    finally:
        processes.close()
    assert len(found) == len(processes.pids) == 3
    assert Path("/proc/self/ns/net").stat().st_ino not in found
