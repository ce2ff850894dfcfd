"""Being told when our table changes."""

from __future__ import annotations

import contextlib
import errno
import select
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from nftlbc.nft.netlink.connection import enlarge, open_socket, receive, refused
from nftlbc.nft.netlink.messages import (
    FAMILY,
    INET,
    NEW_GENERATION,
    OWNER,
    attributes,
    messages,
    number,
    text,
)

_NFTABLES: Final = 7
"""NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h."""
_SOL_NETLINK, _ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 270, 1, 2
_ROOM: Final = 4 << 20
"""Bytes for notifications that have not been read yet: about 50 000 elements that were added."""


class Events:
    """The kernel's notifications of changes to tables, of which those to ours count.

        with Events() as events:
            poll.register(events, select.POLLIN)
            ...
            if events.drain():
                table = read()

    What packets change (sticky entries, counters) and what ends by its timeout is not told.
    Raises NftError where the kernel or its rights don't allow it.
    """

    def __init__(self, table: str = "nftlbc") -> None:
        self._table = table
        self._socket = open_socket(1 << _NFTABLES - 1)
        enlarge(self._socket, _ROOM)
        self._socket.setblocking(False)
        self._generation: int | None = None
        self._changed = False

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @contextlib.contextmanager
    def deaf(self) -> Iterator[None]:
        """Meanwhile nothing is told.

        The kernel writes a notification for each element where anybody listens, in whatever
        network namespace: a first load of 10 000 farms then takes two to three times as long.
        """
        self._socket.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, _NFTABLES)
        try:
            yield
        finally:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES)

    def fileno(self) -> int:
        """To poll: it can be read when something changed in some table."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Whether our table has changed since the last time; never waits.

        True as well where notifications were lost, which is what happens when very much is
        changed at once.
        """
        while self._read():
            pass
        changed, self._changed = self._changed, False
        return changed

    def drain_until(self, generation: int, patience: float = 2.0) -> bool:
        """The same, when all is known about the changes up to a generation.

        The generation moves before its notifications are sent. After ``patience`` seconds
        without them: True.
        """
        end = time.monotonic() + patience
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        while not self.drain():
            if self._reached(generation):
                return False
            left = end - time.monotonic()
            if left <= 0:
                return True
            waiting.poll(left * 1000)
        return True

    def _reached(self, generation: int) -> bool:
        return self._generation is not None and (
            # It is a number of 32 bits that goes round.
            (self._generation - generation) % (1 << 32) < 1 << 31
        )

    def _read(self) -> bool:
        """Takes in one datagram; False where there is none."""
        try:
            datagram = receive(self._socket)
        except BlockingIOError:
            return False
        except OSError as problem:
            if problem.errno != errno.ENOBUFS:
                raise refused(problem.errno or 0) from None
            self._changed = True
            return True
        for message in messages(datagram):
            found = attributes(message.payload, FAMILY.size)
            if message.kind == NEW_GENERATION:
                self._generation = number(found.get(1))
            elif message.payload[0] == INET and text(found.get(OWNER, b"")) == self._table:
                self._changed = True
        return True
