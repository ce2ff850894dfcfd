"""Runs in a namespace made for it: steps come as JSON, their results go out as JSON."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from nftlbc import pipeline  # noqa: E402
from nftlbc.diagnostics import draw, has_errors  # noqa: E402
from nftlbc.doctor import Machine, examine, report  # noqa: E402

_MOVING = ("nf_conntrack_count", "stable_secret", "fib_sync_mem")
"""Settings that move by themselves, or can't be read."""
_STATE = (
    ("nft", "list", "ruleset"),
    ("ip", "address", "show"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("ip", "rule", "show"),
    ("ip", "link", "show"),
)


def shell(text: str) -> str:
    done = subprocess.run(
        ["sh", "-e", "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        sys.exit(f"{text}\n{done.stdout}{done.stderr}")
    return done.stdout


def doctor(text: str) -> Any:
    farms = ()
    if text:
        with tempfile.NamedTemporaryFile("w", suffix=".lb") as stream:
            stream.write(text)
            stream.flush()
            found, diagnostics = pipeline.read(stream.name)
        if has_errors(diagnostics):
            sys.exit(draw(diagnostics))
        farms = found
    root = os.environ.get("NFTLBC_TEST_ROOT")
    machine = Machine(Path(root)) if root else None
    return json.loads(report.as_json(examine(farms, machine)))


def mend(last: Any, name: str) -> str:
    """Runs the commands of the last report, as a person would."""
    commands = [
        command
        for finding in last["findings"]
        if finding["name"] == name
        for command in finding["commands"]
    ]
    if not commands:
        sys.exit(f"{name} has no command that mends it: {json.dumps(last, indent=1)}")
    return "".join(shell(command) for command in commands)


def state() -> dict[str, str]:
    """All that a command could have changed here."""
    found = {" ".join(argv): shell(" ".join(argv)) for argv in _STATE}
    for folder, _, files in os.walk("/proc/sys/net"):
        for file in files:
            path = Path(folder, file)
            if file not in _MOVING and os.access(path, os.R_OK):
                try:
                    found[str(path)] = path.read_text()
                except OSError as problem:
                    found[str(path)] = str(problem)
    return found


def main() -> None:
    results: list[Any] = []
    last: Any = None
    for step in json.load(sys.stdin):
        ((kind, text),) = step.items()
        if kind == "run":
            results.append(shell(text))
        elif kind == "doctor":
            last = doctor(text)
            results.append(last)
        elif kind == "mend":
            results.append(mend(last, text))
        else:
            results.append(state())
    json.dump(results, sys.stdout)


main()
