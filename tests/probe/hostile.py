"""Servers that do what no server should, each on a port of its own; prints where, as JSON.

They run in a process of their own, so that what a check leaves open is seen in the test's.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable

OK = b"HTTP/1.1 200 OK\r\n"


def silent(sock: socket.socket) -> None:
    time.sleep(60)


def drip(sock: socket.socket) -> None:
    for byte in OK * 100:
        sock.send(bytes([byte]))
        time.sleep(0.1)


def never_closes(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.send(OK + b"\r\nhello")
    time.sleep(60)


def gigabytes(sock: socket.socket) -> None:
    sock.send(OK + b"\r\n")
    while True:
        sock.send(b"x" * 65_536)


def endless_line(sock: socket.socket) -> None:
    while True:
        sock.send(b"x" * 65_536)


def stops_in_tls(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.send(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
    time.sleep(60)


def reset_in_body(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.send(OK + b"Content-Length: 1000\r\n\r\nhello")
    time.sleep(0.05)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def many_headers(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(OK + b"".join(b"X-Header-%d: %d\r\n" % (n, n) for n in range(10_000)) + b"\r\n")


def garbage(sock: socket.socket) -> None:
    sock.sendall(bytes(range(256)) * 8 + b"\r\n\x1b[31m\x07\r\n\r\n")
    sock.recv(4096)


def too_little(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(OK + b"Content-Length: 1000\r\n\r\nhello")


def too_much(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(OK + b"Content-Length: 2\r\n\r\nhello")


def no_length(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(OK + b"Content-Length: -5\r\nContent-Length: many\r\n\r\nhello")


def closes(sock: socket.socket) -> None:
    sock.recv(4096)


def endless_continue(sock: socket.socket) -> None:
    while True:
        sock.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def turns_in_a_circle(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")


def leads_astray(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: gopher://10.9.9.9/\x1b[31m\r\n\r\n")


def invisible(sock: socket.socket) -> None:
    sock.sendall(b"\x1b[31m 75\xc2\xb2% \x07\xe2\x80\xae\n")


def as_long_as_it_says(sock: socket.socket) -> None:
    """DNS over TCP."""
    sock.recv(4096)
    sock.sendall(b"\xff\xff" + b"\x00" * 65_535)


SERVERS: list[Callable[[socket.socket], None]] = [
    silent,
    drip,
    never_closes,
    gigabytes,
    endless_line,
    stops_in_tls,
    reset_in_body,
    many_headers,
    garbage,
    too_little,
    too_much,
    no_length,
    closes,
    endless_continue,
    turns_in_a_circle,
    leads_astray,
    invisible,
    as_long_as_it_says,
]


def _serve(listener: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    def once(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            handle(sock)

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=once, args=(sock,), daemon=True).start()


def main() -> None:
    ports = {}
    for handle in SERVERS:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        ports[handle.__name__] = listener.getsockname()[1]
        threading.Thread(target=_serve, args=(listener, handle), daemon=True).start()
    dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dead.bind(("127.0.0.1", 0))
    ports["dead"] = dead.getsockname()[1]
    print(json.dumps(ports), flush=True)
    # The end of the input is the end of the test.
    while input():
        pass


if __name__ == "__main__":
    with contextlib.suppress(EOFError):
        main()
