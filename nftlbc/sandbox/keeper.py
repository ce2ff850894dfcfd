"""A keeper stays in one namespace and forks a process there for each job.

A job may take as long as it likes and others go on beside it: commands, a volley of
requests, servers. It ends by itself or when the parent closes its channel.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from nftlbc.sandbox.channel import Channel, Job, failure


def keep(door: Channel) -> None:
    """Fork for every channel that comes in through the door, until the parent is gone."""
    # Children that have ended are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while (channel := door.take_over()) is not None:
        if os.fork() == 0:
            door.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _perform(channel)
            finally:
                os._exit(0)
        channel.close()


def _perform(channel: Channel) -> None:
    # A channel closed by the parent, at whatever point, is the end of the job.
    with suppress(EOFError, ConnectionError):
        try:
            cast(Job, channel.receive()).perform(channel)
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            channel.send(failure(error))


@dataclass(frozen=True)
class Settings:
    """The job: write values below /proc/sys, in order. Answers with the errno of the first
    one refused (0: none) and its path."""

    values: tuple[tuple[str, str], ...]

    def perform(self, channel: Channel) -> None:
        for path, value in self.values:
            try:
                Path("/proc/sys", path).write_text(f"{value}\n")
            except OSError as error:
                channel.send((error.errno or 0, path))
                return
        channel.send((0, ""))
