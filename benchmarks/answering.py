"""``python -m benchmarks.answering PORT``: a server that costs as little as Python allows.

Every address of 127.0.0.0/8 is a backend of its own. A connection that says something gets an
answer of HTTP; one that says nothing is accepted. Its processor time is not the checks', but it is
taken from the same cores.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"


def main() -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", int(sys.argv[1])))
    listener.listen(4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    known: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sock, _ = listener.accept()
                        sock.setblocking(False)
                        known[sock.fileno()] = sock
                        poll.register(sock, select.EPOLLIN)
                continue
            sock = known[number]
            try:
                if sock.recv(4096):
                    sock.send(ANSWER)
                    continue
            except OSError:
                pass
            del known[number]
            sock.close()


main()
