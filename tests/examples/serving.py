"""Servers of the examples' kinds, each at an address of its own on the loopback."""

from __future__ import annotations

import contextlib
import getpass
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from asking import program
from certificates import Authority


def addresses(some: Iterable[str]) -> None:
    """Makes them this namespace's own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in some:
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


class Place:
    """A server at an address and a port, until it is ended. ``says`` is what it answers."""

    def __init__(self, server: socketserver.BaseServer, says: list[bytes]) -> None:
        self.says = says
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Quiet(HTTPServer):
    def handle_error(self, *_: object) -> None:
        """A check that has its status hangs up; others only shake hands."""


def secure(address: str, port: int, folder: Path) -> Place:
    """An HTTPS server: ``says`` is the one path at which it is well."""
    says: list[bytes] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.encode() in says else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    if not (folder / "server.pem").exists():
        Authority(folder).sign("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server = _Quiet((address, port), Answers, bind_and_activate=False)
    server.allow_reuse_address = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.server_bind()
    server.server_activate()
    return Place(server, says)


def speaking(address: str, port: int) -> Place:
    """A TCP server that says a line to everybody: an agent."""
    says = [b""]

    class Says(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.sendall(says[0])

    socketserver.TCPServer.allow_reuse_address = True
    return Place(socketserver.TCPServer((address, port), Says), says)


def answering(address: str, port: int) -> Place:
    """A UDP server that answers one question: ``says`` is question and answer."""
    says = [b"", b""]

    class Answers(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            question, sock = self.request
            if question == says[0]:
                sock.sendto(says[1], self.client_address)

    return Place(socketserver.UDPServer((address, port), Answers), says)


@contextlib.contextmanager
def processes() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts servers that are programs, and ends those that are left."""
    started: list[subprocess.Popen[bytes]] = []

    def start(address: str, port: int, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)
        until = time.monotonic() + 20
        while not _listens(address, port):
            assert process.poll() is None, command
            assert time.monotonic() < until, command
            time.sleep(0.02)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()


def _listens(address: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) == 0


def names(address: str) -> tuple[str, ...]:
    """A name server that knows www.example.org."""
    return (
        program("dnsmasq"),
        *("--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv"),
        *(f"--listen-address={address}", "--bind-interfaces", "--pid-file="),
        *(f"--user={getpass.getuser()}", "--address=/www.example.org/192.0.2.1"),
    )


def mail(address: str) -> tuple[str, ...]:
    """An SMTP server."""
    return (sys.executable, "-m", "aiosmtpd", "-n", "-l", f"{address}:25")
