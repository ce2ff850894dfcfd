"""Where a table must send a connection, by the interpreter."""

from __future__ import annotations

from collections.abc import Callable

from nftlbc.explain.interpreter import Interpreter
from nftlbc.explain.outcome import Delivered, Packet
from nftlbc.table.model import Table
from nftlbc.trial.plan import Connection


def of(table: Table) -> Callable[[Connection], str | None]:
    """For connections of clients that nobody knows yet: the backend's name; None where the table
    refuses them, or leaves it to turns or chance."""
    interpreter = Interpreter(table)

    def predict(connection: Connection) -> str | None:
        packet = Packet(
            connection.source,
            connection.source_port,
            connection.target.listener.address,
            connection.target.port,
            connection.target.listener.protocol,
            "output" if connection.host == "balancer" else "prerouting",
        )
        outcome = interpreter.walk(packet).outcome
        return outcome.name.split("/")[1] if isinstance(outcome, Delivered) else None

    return predict
