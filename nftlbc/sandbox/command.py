"""A command in one of the sandbox's namespaces."""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from nftlbc.sandbox.channel import Channel
from nftlbc.sandbox.errors import NoAnswer


@dataclass(frozen=True)
class Finished:
    """Status as subprocess has it (negative: the signal that ended it), and all output."""

    status: int
    output: bytes
    errors: bytes


@dataclass(frozen=True)
class NotStarted:
    """The command could not be executed."""

    text: str


@dataclass(frozen=True)
class RunCommand:
    """The job: run it, pass on the signals that the parent sends meanwhile, report."""

    argv: tuple[str, ...]
    input: bytes

    def perform(self, channel: Channel) -> None:
        try:
            process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            channel.send(NotStarted(f"{self.argv[0]}: {error.strerror}"))
            return
        # A daemon: this process ends without waiting for it.
        threading.Thread(target=_pass_signals, args=(channel, process.pid), daemon=True).start()
        output, errors = process.communicate(self.input)
        channel.send(Finished(process.returncode, output, errors))


def _pass_signals(channel: Channel, group: int) -> None:
    try:
        while True:
            _kill_group(group, int(str(channel.receive())))
    except (EOFError, OSError):
        _kill_group(group, signal.SIGKILL)


def _kill_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


class Command:
    """A command that runs beside what else the sandbox does; end it by `wait` or `stop`."""

    def __init__(self, argv: Sequence[str], channel: Channel) -> None:
        self.argv = tuple(argv)
        self._channel = channel

    def wait(self, timeout: float) -> "subprocess.CompletedProcess[str]":
        """Its exit status and output, as text.

        timeout: seconds; past them the command and its children are killed and
        subprocess.TimeoutExpired is raised.
        Raises FileNotFoundError where it could not be started, SandboxError where the
        sandbox is gone.
        """
        try:
            message = self._channel.expect(object, timeout)
        except NoAnswer:
            raise subprocess.TimeoutExpired(self.argv, timeout) from None
        finally:
            # What still runs is killed by this.
            self._channel.close()
        if isinstance(message, NotStarted):
            raise FileNotFoundError(message.text)
        if not isinstance(message, Finished):
            raise TypeError(message)
        return subprocess.CompletedProcess(
            self.argv,
            message.status,
            message.output.decode("utf-8", "replace"),
            message.errors.decode("utf-8", "replace"),
        )

    def stop(
        self, number: signal.Signals = signal.SIGTERM, timeout: float = 5.0
    ) -> "subprocess.CompletedProcess[str]":
        """Send a signal to the command and its children, then `wait`."""
        with suppress(OSError):
            self._channel.send(int(number))
        return self.wait(timeout)
