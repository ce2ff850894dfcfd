"""The parent's side of the namespaces: starting what holds them, jobs in them, ending it all."""

import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock

from nftlbc.sandbox.channel import Channel, Job, Ready, Refused, channel_pair
from nftlbc.sandbox.errors import SandboxError, SandboxNotAllowed
from nftlbc.sandbox.programs import search_path
from nftlbc.sandbox.refusal import explain_refusal
from nftlbc.sandbox.request import HOSTS, Host

# Isolated (-I) from the environment and the working folder: the one nftlbc that it can
# find is this one.
_HOLD = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from nftlbc.sandbox.holder import main; main()"
)
_HERE = str(Path(__file__).resolve().parents[2])

# Seconds. A machine that is busy with tests takes one at most.
_START = 30.0
_END = 10.0


class Processes:
    """Three namespaces and what runs in them; `close` ends it all.

    Raises SandboxNotAllowed where the system allows no namespaces.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._lock = Lock()
        self._jobs: set[Channel] = set()
        self._doors: dict[Host, Channel] = {}
        self.pids: dict[Host, int] = {}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def job(self, host: Host, job: Job) -> Channel:
        """Have a job done in a namespace; the channel to it, closed at the latest by `close`."""
        ours, theirs = channel_pair()
        with self._lock:
            self._jobs = {channel for channel in self._jobs if channel.is_open} | {ours}
        try:
            self._doors[host].pass_on(theirs)
            ours.send(job)
        except OSError:
            raise SandboxError(f"the sandbox's {host} are gone") from None
        finally:
            theirs.close()
        return ours

    def close(self) -> None:
        """End every process; returns when the last is gone."""
        for channel in self._jobs:
            channel.close()
        self._open.close()

    def _start(self) -> None:
        # An anonymous file: what Python says when a process of ours fails badly.
        errors = self._open.enter_context(TemporaryFile())  # noqa: SIM115
        control, control_end = channel_pair()
        ends = [control_end]
        for host in HOSTS:
            self._doors[host], end = channel_pair()
            self._open.callback(self._doors[host].close)
            ends.append(end)
        try:
            holder = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-c",
                    _HOLD,
                    _HERE,
                    str(os.getpid()),
                    *(str(end.fileno()) for end in ends),
                ],
                pass_fds=[end.fileno() for end in ends],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # Ctrl-C is for the parent, which then ends this.
                start_new_session=True,
                env={**os.environ, "PATH": search_path()},
            )
        finally:
            for end in ends:
                end.close()
        self._open.callback(_end, holder, control)
        try:
            for host in HOSTS:
                self.pids[host] = self._ready(host, control)
        except SandboxError as error:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()
            if not said:
                raise
            raise SandboxError(said.splitlines()[-1]) from error

    def _ready(self, host: Host, control: Channel) -> int:
        """The keeper's process number, as /proc has it."""
        try:
            message = self._doors[host].receive(_START)
        except EOFError:
            message = control.expect(Refused, _START)
        if isinstance(message, Refused):
            raise SandboxNotAllowed(explain_refusal(message.number))
        if not isinstance(message, Ready):
            raise SandboxError(f"a keeper said {message!r}")
        return message.pid


def _end(holder: "subprocess.Popen[bytes]", control: Channel) -> None:
    # Said, not only done by closing: a process forked meanwhile may have the socket too.
    with suppress(OSError):
        control.send("end")
    control.close()
    try:
        holder.wait(_END)
    except subprocess.TimeoutExpired:
        holder.kill()
        holder.wait()
