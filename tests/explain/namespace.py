"""What tests of the kernel need: a namespace, nft in its versions, and datagrams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NFTS = os.environ.get("NFTLBC_NFTS", "nft").split(":")
_UNSHARE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]


def inside(*command: str, input: str = "") -> str:
    """The standard output of a command in a namespace of its own."""
    done = subprocess.run(
        [*_UNSHARE, *command], input=input, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:4000]
    return done.stdout


def loopback(nft: str, ports: set[int], commands: list[dict[str, Any]]) -> list[Any]:
    """What became of each datagram; see loopback.py."""
    script = Path(__file__).with_name("loopback.py")
    arguments = [sys.executable, str(script), nft, *map(str, sorted(ports))]
    return json.loads(inside(*arguments, input=json.dumps(commands)))  # type: ignore[no-any-return]
