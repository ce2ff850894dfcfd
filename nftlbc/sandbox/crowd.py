"""The parent's side of the clients: who is asked what, and what comes back."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count, groupby
from threading import RLock

from nftlbc.sandbox.channel import Channel
from nftlbc.sandbox.clients import Ask, AskOn, Order, Release, SendRequests, Stop, Talk
from nftlbc.sandbox.errors import SandboxError
from nftlbc.sandbox.processes import Processes
from nftlbc.sandbox.request import Answer, Host, Request

# Seconds that a working sandbox may take beyond the time given to its requests.
_MARGIN = 30.0
# So that what several jobs of one host send stays apart: prime to the 64 512 ports.
_PORTS_A_JOB = 6_007


class Crowd:
    """One job of clients for each host that asks, started at the first request."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._channels: dict[Host, Channel] = {}
        # One set of orders at a time: a channel's answers come in the order asked.
        self._turn = RLock()
        self._jobs = count(1)

    def ask(self, requests: Sequence[Request], parallel: int, timeout: float) -> list[Answer]:
        """Answers in the order of the requests; with `parallel` 1 they are sent in it too,
        else each host sends its own."""
        if parallel > 1:
            return self._ask_hosts(requests, parallel, timeout)
        answers: list[Answer] = []
        for _, run in groupby(requests, key=lambda request: request.host):
            answers += self._ask_hosts(list(run), 1, timeout)
        return answers

    def start(
        self, requests: Sequence[Request], parallel: int, timeout: float, repeat: bool
    ) -> "Traffic":
        hosts = {request.host for request in requests}
        if len(hosts) != 1 or any(request.hold for request in requests):
            raise ValueError("traffic is of requests from one host, none of them held")
        job = SendRequests(next(self._jobs) * _PORTS_A_JOB)
        channel = self._processes.job(hosts.pop(), job)
        channel.send(AskOn(tuple(requests), parallel, timeout, repeat))
        return Traffic(channel, timeout + _MARGIN)

    def converse(self, held: Sequence[Answer], text: bytes, timeout: float) -> list[Answer]:
        """Speak on held connections, or (b"") only listen; answers in their order."""
        by_host: defaultdict[Host, list[tuple[int, int, Request]]] = defaultdict(list)
        for place, answer in enumerate(held):
            if answer.connection is None:
                raise ValueError(f"not a held connection: {answer}")
            by_host[answer.request.host].append((place, answer.connection, answer.request))
        orders: dict[Host, Order] = {
            host: Talk(tuple((number, request) for _, number, request in some), text, timeout)
            for host, some in by_host.items()
        }
        places = {host: [place for place, _, _ in some] for host, some in by_host.items()}
        return _in_place(places, self._tell(orders, timeout + _MARGIN))

    def release(self, held: Sequence[Answer] | None, *, reset: bool) -> None:
        orders: dict[Host, Order]
        if held is None:
            orders = {host: Release(None, reset) for host in self._channels}
        else:
            orders = {}
            for host in {answer.request.host for answer in held}:
                numbers = (a.connection for a in held if a.request.host == host)
                orders[host] = Release(tuple(n for n in numbers if n is not None), reset)
        self._tell(orders, _MARGIN)

    def _ask_hosts(
        self, requests: Sequence[Request], parallel: int, timeout: float
    ) -> list[Answer]:
        places: defaultdict[Host, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            places[request.host].append(place)
        orders: dict[Host, Order] = {
            host: Ask(tuple(requests[place] for place in some), parallel, timeout)
            for host, some in places.items()
        }
        patience = (len(requests) / parallel + 1) * timeout + _MARGIN
        return _in_place(places, self._tell(orders, patience))

    def _tell(self, orders: Mapping[Host, Order], patience: float) -> dict[Host, list[Answer]]:
        """Every host its order, all at the same time."""
        with self._turn:
            try:
                for host, order in orders.items():
                    if host not in self._channels:
                        self._channels[host] = self._processes.job(host, SendRequests())
                    self._channels[host].send(order)
                return {host: self._channels[host].expect(list, patience) for host in orders}
            except BaseException as error:
                # An answer that is still to come would be taken for the next order's.
                for host in orders:
                    if channel := self._channels.pop(host, None):
                        channel.close()
                if isinstance(error, OSError):
                    raise SandboxError("the sandbox's clients are gone") from None
                raise


def _in_place(
    places: Mapping[Host, Sequence[int]], answers: Mapping[Host, Sequence[Answer]]
) -> list[Answer]:
    """Each host's answers, put where its questions were."""
    placed = {
        place: answer
        for host, some in places.items()
        for place, answer in zip(some, answers[host], strict=True)
    }
    return [placed[place] for place in range(len(placed))]


class Traffic:
    """Requests that are being sent while the caller does other things."""

    def __init__(self, channel: Channel, patience: float) -> None:
        self._channel = channel
        self._patience = patience

    def stop(self) -> list[Answer]:
        """Send no more, wait for those on their way; all answers since the start, in the
        order in which the requests were sent.

        Raises SandboxError where the sandbox is gone.
        """
        try:
            self._channel.send(Stop())
            answers = self._channel.expect(list, self._patience)
        except OSError:
            raise SandboxError("the sandbox's clients are gone") from None
        finally:
            self._channel.close()
        return answers
