"""try as its users run it, where a promise needs the whole command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.kernel
def test_open_connections_go_on_when_the_last_backend_of_all_goes_down() -> None:
    down = [word for n in range(1, 5) for word in ("--down", f"web/app{n}")]
    done = subprocess.run(
        [sys.executable, "-m", "nftlbc", "try", str(EXAMPLES / "web.lb"), "--json", *down],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)
