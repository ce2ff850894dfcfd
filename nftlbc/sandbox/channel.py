"""Messages between the parent and its own children: length-prefixed pickles on a socket pair.

Pickle is safe here and only here: both ends are the same program, and a socket pair has
no third end.
"""

import pickle
import socket
import struct
import traceback
from dataclasses import dataclass
from typing import Protocol, TypeVar

from nftlbc.sandbox.errors import NoAnswer, SandboxError

_LENGTH = struct.Struct("!Q")
T = TypeVar("T")


class Job(Protocol):
    """Something to do in a namespace: pickled by the parent, performed by a child there."""

    def perform(self, channel: "Channel") -> None: ...


@dataclass(frozen=True)
class Failure:
    """What a child says in place of a result: the exception, and where it came from."""

    text: str
    origin: str


def failure(error: Exception) -> Failure:
    """The exception at hand, fit to be sent."""
    return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


@dataclass(frozen=True)
class Refused:
    """The kernel refused a namespace, with this errno."""

    number: int


@dataclass(frozen=True)
class Ready:
    """A namespace is there; `pid` is its keeper's, as the machine's /proc has it."""

    pid: int


class _InAChild(Exception):
    """Carries a child's traceback as text, to be seen below the parent's."""


class Channel:
    """One end of a connection between two processes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def is_open(self) -> bool:
        return self._sock.fileno() >= 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def send(self, message: object) -> None:
        """Raises OSError when the other end is gone."""
        body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._sock.sendall(_LENGTH.pack(len(body)) + body)

    def pass_on(self, sock: socket.socket) -> None:
        """Give the other end a descriptor; ours stays open."""
        socket.send_fds(self._sock, [b"+"], [sock.fileno()])

    def take_over(self) -> "Channel | None":
        """A channel on the next descriptor given to us; None when the other end is gone."""
        _, fds, _, _ = socket.recv_fds(self._sock, 1, 1)
        return Channel(socket.socket(fileno=fds[0])) if fds else None

    def receive(self, timeout: float | None = None) -> object:
        """The next message.

        timeout: seconds to wait for its beginning; None waits for ever.
        Raises TimeoutError, and EOFError when the other end is gone.
        """
        self._sock.settimeout(timeout)
        first = self._sock.recv(1)
        self._sock.settimeout(None)
        if not first:
            raise EOFError
        (length,) = _LENGTH.unpack(first + self._exactly(_LENGTH.size - 1))
        message: object = pickle.loads(self._exactly(length))
        return message

    def expect(self, kind: type[T], timeout: float | None = None) -> T:
        """The next message, which must be of this type.

        Raises SandboxError when the child failed or died, NoAnswer (one of those) when
        it took longer than `timeout` seconds.
        """
        try:
            message = self.receive(timeout)
        except TimeoutError:
            raise NoAnswer(f"the sandbox did not answer within {timeout} s") from None
        except (EOFError, ConnectionError):
            raise SandboxError("a process of the sandbox has died") from None
        if isinstance(message, Failure):
            raise SandboxError(message.text) from _InAChild(message.origin)
        if not isinstance(message, kind):
            raise SandboxError(f"the sandbox answered {message!r}, not a {kind.__name__}")
        return message

    def _exactly(self, length: int) -> bytes:
        body = bytearray(length)
        view = memoryview(body)
        while view:
            count = self._sock.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(body)


def channel_pair() -> tuple[Channel, socket.socket]:
    """Our end, and the end to hand to a child."""
    ours, theirs = socket.socketpair()
    return Channel(ours), theirs
