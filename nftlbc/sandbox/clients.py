"""The clients of one namespace: a job that carries out the parent's orders.

It keeps what must last from one order to the next: connections held open, and which
source ports have been used.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Protocol, cast

from nftlbc.sandbox.channel import Channel
from nftlbc.sandbox.descriptors import allow_many_descriptors
from nftlbc.sandbox.flight import Conversation, Flight, SourcePorts, set_out
from nftlbc.sandbox.request import Answer, Request
from nftlbc.sandbox.volley import Volley


class Clients:
    """What lasts from one order to the next."""

    def __init__(self, ports_used: int) -> None:
        self.ports = SourcePorts(ports_used)
        self._held: dict[int, Conversation] = {}
        self._connections = 0

    def land(self, flight: Flight, answer: Answer) -> Answer:
        """Keep what is to be held and is alive, close the rest."""
        if not isinstance(flight, Conversation):
            flight.socket.close()
            return answer
        if flight.number is None:
            if not (answer.request.hold and answer.outcome == "answered"):
                flight.socket.close()
                return answer
            self._connections += 1
            flight.number = self._connections
            self._held[flight.number] = flight
        elif flight.is_stream and answer.outcome not in ("answered", "silent"):
            del self._held[flight.number]
            flight.socket.close()
            return answer
        return replace(answer, connection=flight.number)

    def resume(self, number: int, request: Request, text: bytes) -> Flight | Answer:
        """A held connection, spoken on."""
        conversation = self._held.get(number)
        if conversation is None:
            return Answer(request, "failed", error="not held")
        try:
            conversation.say(text)
        except OSError as error:
            return self.land(conversation, conversation.fail(error))
        return conversation

    def release(self, connections: tuple[int, ...] | None, *, reset: bool) -> None:
        for number in tuple(self._held) if connections is None else connections:
            if conversation := self._held.pop(number, None):
                conversation.hang_up(reset=reset)


class Order(Protocol):
    """What the parent can ask of the clients; each order is answered with a list of Answers."""

    def carry_out(self, clients: Clients, channel: Channel) -> list[Answer]: ...


@dataclass(frozen=True)
class Ask:
    """Send these requests."""

    requests: tuple[Request, ...]
    parallel: int
    timeout: float

    def carry_out(self, clients: Clients, channel: Channel) -> list[Answer]:
        starts = (partial(set_out, request, clients.ports) for request in self.requests)
        volley = Volley(starts, clients.land, parallel=self.parallel, timeout=self.timeout)
        return volley.answers()


@dataclass(frozen=True)
class AskOn:
    """Send these requests, over and over or once, until a `Stop` comes in."""

    requests: tuple[Request, ...]
    parallel: int
    timeout: float
    repeat: bool

    def carry_out(self, clients: Clients, channel: Channel) -> list[Answer]:
        requests = cycle(self.requests) if self.repeat else self.requests
        starts = (partial(set_out, request, clients.ports) for request in requests)
        volley = Volley(
            starts,
            clients.land,
            parallel=self.parallel,
            timeout=self.timeout,
            stop=channel.fileno(),
        )
        return volley.answers()


@dataclass(frozen=True)
class Stop:
    """Its coming is what ends an `AskOn`; nothing is left to do when it is read."""

    def carry_out(self, clients: Clients, channel: Channel) -> list[Answer]:
        return []


@dataclass(frozen=True)
class Talk:
    """Speak on held connections, all at once; b"" only listens."""

    connections: tuple[tuple[int, Request], ...]
    text: bytes
    timeout: float

    def carry_out(self, clients: Clients, channel: Channel) -> list[Answer]:
        starts = (partial(clients.resume, *held, self.text) for held in self.connections)
        volley = Volley(starts, clients.land, parallel=len(self.connections), timeout=self.timeout)
        return volley.answers()


@dataclass(frozen=True)
class Release:
    """Close held connections; None: all of them."""

    connections: tuple[int, ...] | None
    reset: bool

    def carry_out(self, clients: Clients, channel: Channel) -> list[Answer]:
        clients.release(self.connections, reset=self.reset)
        return []


@dataclass(frozen=True)
class SendRequests:
    """The job: one order after the other, until the channel is closed.

    ports_used: how many source ports to pass over, so that two jobs of a host start apart.
    """

    ports_used: int = 0

    def perform(self, channel: Channel) -> None:
        allow_many_descriptors()
        clients = Clients(self.ports_used)
        while True:
            order = cast(Order, channel.receive())
            channel.send(order.carry_out(clients, channel))
