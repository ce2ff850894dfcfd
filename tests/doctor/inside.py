"""Steps come as lines of JSON, their results go out as lines of JSON. Each line's steps run in a
child with namespaces of its own, which finds all that is slow to import already there.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import frames

from nftlbc import pipeline
from nftlbc.diagnostics import draw, has_errors
from nftlbc.doctor import examine, report
from nftlbc.farms import Farm

_NEW_MOUNTS, _NEW_USERS, _NEW_NETWORK = 0x20000, 0x10000000, 0x40000000
_PRIVATE = 0x44000
"""MS_REC | MS_PRIVATE"""
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


def read(text: str) -> tuple[Farm, ...]:
    if not text:
        return ()
    with tempfile.NamedTemporaryFile("w", suffix=".lb") as stream:
        stream.write(text)
        stream.flush()
        farms, diagnostics = pipeline.read(stream.name)
    if has_errors(diagnostics):
        sys.exit(draw(diagnostics))
    return farms


def doctor(text: str) -> Any:
    return json.loads(report.as_json(examine(read(text))))


def load(text: str) -> None:
    script = pipeline.script(read(text))
    subprocess.run(["nft", "-f", "-"], input=script, text=True, timeout=60, check=True)


def mend(last: Any, name: str) -> str:
    """Runs the commands of the last report, as a person would."""
    commands = [
        command
        for finding in last["findings"]
        if finding["name"] == name
        for command in finding["commands"]
    ]
    if not commands:
        wrong = [each for each in last["findings"] if each["verdict"] != "ok"]
        sys.exit(f"{name} has no command that mends it: {json.dumps(wrong, indent=1)}")
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


def perform(steps: list[dict[str, str]]) -> list[Any]:
    results: list[Any] = []
    last: Any = None
    for step in steps:
        ((kind, text),) = step.items()
        if kind == "run":
            results.append(shell(text))
        elif kind == "doctor":
            last = doctor(text)
            results.append(last)
        elif kind == "apply":
            results.append(load(text))
        elif kind == "frame":
            frames.send(*text.split())
            results.append(None)
        elif kind == "passes":
            results.append(frames.passes(text))
        elif kind == "mend":
            results.append(mend(last, text))
        else:
            results.append(state())
    return results


def enter() -> None:
    """As ``unshare --net --mount`` does, with a user namespace where this is not root."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = _NEW_NETWORK | _NEW_MOUNTS | (_NEW_USERS if user else 0)
    if libc.unshare(flags):
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if libc.mount(b"none", b"/", None, _PRIVATE, None):
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")


def answer(line: str) -> None:
    """In the child."""
    signal.alarm(100)
    asked = json.loads(line)
    os.environ.update(asked["environment"])
    try:
        enter()
        said = {"results": perform(asked["steps"])}
    except BaseException:
        said = {"failed": traceback.format_exc()}
    print(json.dumps(said), flush=True)


def main() -> None:
    read("farm a { listen 203.0.113.10 tcp port 80; backend b 10.0.0.1 }")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            answer(line)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({"failed": f"status {status}"}), flush=True)


main()
