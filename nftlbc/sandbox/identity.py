"""The line by which a backend says who it is and whom it sees.

10.0.0.11 8080 198.18.0.5 40001
10.0.0.11 8080 198.18.0.5 40001 whatever the client had said
"""

from typing import NamedTuple


class Identity(NamedTuple):
    """Where a request arrived, where it seemed to come from, and what it said."""

    backend: str
    backend_port: int
    seen: str
    seen_port: int
    said: bytes = b""


def identity_line(local: tuple[object, ...], peer: tuple[object, ...], said: bytes = b"") -> bytes:
    """The line for two socket addresses (address, port, ...)."""
    names = f"{local[0]} {local[1]} {peer[0]} {peer[1]}".encode("ascii")
    return names + b" " + said + b"\n" if said else names + b"\n"


def read_identity(line: bytes) -> Identity:
    """Raises ValueError for anything but such a line."""
    backend, backend_port, seen, seen_port, *said = line.rstrip(b"\n").split(b" ", 4)
    return Identity(
        backend.decode("ascii"),
        int(backend_port),
        seen.decode("ascii"),
        int(seen_port),
        said[0] if said else b"",
    )
