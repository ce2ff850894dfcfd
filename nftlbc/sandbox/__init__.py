"""Throw-away network namespaces in which real connections run through a compiled script.

    with Sandbox(Layout(listeners=("10.3.0.1",), backends=("10.2.0.1",), tcp_ports=(8080,))) as box:
        box.load(script).check_returncode()
        [answer] = box.ask([Request("clients", None, "10.3.0.1", 80)])
        print(answer.backend, answer.seen)

The engine of `nftlbc try` and of the traffic tests. Needs Linux 5.3, `ip` and `nft`; no root.
"""

from nftlbc.sandbox.command import Command
from nftlbc.sandbox.crowd import Traffic
from nftlbc.sandbox.errors import (
    NoAnswer,
    ProgramMissing,
    SandboxError,
    SandboxNotAllowed,
)
from nftlbc.sandbox.layout import Layout
from nftlbc.sandbox.outages import Outage
from nftlbc.sandbox.request import Answer, Family, Host, Outcome, Protocol, Request
from nftlbc.sandbox.sandbox import Sandbox

__all__ = [
    "Answer",
    "Command",
    "Family",
    "Host",
    "Layout",
    "NoAnswer",
    "Outage",
    "Outcome",
    "ProgramMissing",
    "Protocol",
    "Request",
    "Sandbox",
    "SandboxError",
    "SandboxNotAllowed",
    "Traffic",
]
