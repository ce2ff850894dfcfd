"""A Snapshot in Prometheus's text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from nftlbc import __version__
from nftlbc.status.model import STATES, BackendStatus, PoolStatus, Snapshot

Labels = Sequence[tuple[str, str]]
Sample = tuple[Labels, float | int | None]
"""Without a value it is left away."""


def text(snapshot: Snapshot) -> str:
    """All of it, each family once, under its HELP and TYPE."""
    return "".join(_lines(snapshot))


def _lines(snapshot: Snapshot) -> Iterator[str]:
    config = [(("digest", snapshot.digest), ("version", __version__))]
    yield from _family(
        "config_info", "gauge", "The farms that were applied.", [(each, 1) for each in config]
    )
    yield from _family(
        "asleep", "gauge", "1: the table is switched off.", [((), int(snapshot.asleep))]
    )
    yield from _family(
        "last_probe_timestamp_seconds",
        "gauge",
        "When checks were last made; 0: not yet, though farms have some.",
        [((), snapshot.probed)],
    )
    yield from _family(
        "removed_connections",
        "gauge",
        "Open TCP connections to backends that the table no longer has.",
        [((), None if snapshot.unknown else snapshot.gone)],
    )
    for name, help, pool_value in _POOLS:
        pools = ((_labels(pool), pool_value(pool)) for pool in snapshot.pools)
        yield from _family(f"pool_{name}", "gauge", help, pools)
    yield from _sticky_maps(snapshot)
    states = (
        ((*_labels(pool, each), ("state", state)), int(each.state == state))
        for pool, each in snapshot.backends()
        for state in STATES
    )
    yield from _family("backend_state", "gauge", "1: it is in this state.", states)
    for metric in _BACKENDS:
        samples = ((_labels(pool, each), metric.value(each)) for pool, each in snapshot.backends())
        yield from _family(f"backend_{metric.name}", metric.type, metric.help, samples)
    for unit in ("packets", "bytes"):
        traffic = (
            ((*_labels(pool, each), ("direction", direction)), value)
            for pool, each in snapshot.backends()
            if each.traffic is not None
            for direction, value in (
                ("in", getattr(each.traffic, f"{unit}_in")),
                ("out", getattr(each.traffic, f"{unit}_out")),
            )
        )
        help = f"{unit.capitalize()} from (in) and to (out) the clients, where counted."
        yield from _family(f"backend_{unit}_total", "counter", help, traffic)


_POOLS: Sequence[tuple[str, str, Callable[[PoolStatus], int | None]]] = (
    ("quorum", "Backends that shall take new clients.", lambda pool: pool.quorum),
    ("taking", "Backends, without backups, that take new clients.", lambda pool: pool.taking),
    ("below_quorum", "1: fewer than the quorum do.", lambda pool: int(pool.degraded)),
    ("closed", "1: nobody takes new clients.", lambda pool: int(pool.closed)),
    (
        "sticky_clients",
        "Clients that are known.",
        lambda pool: pool.sticky.clients if pool.sticky else None,
    ),
)


@dataclass(frozen=True)
class _Metric:
    name: str
    type: str
    help: str
    value: Callable[[BackendStatus], float | int | None]


_BACKENDS = (
    _Metric("weight", "gauge", "As the farms file says.", lambda each: each.weight),
    _Metric("live_weight", "gauge", "0: it takes no new clients.", lambda each: each.live_weight),
    _Metric("share_ratio", "gauge", "Of the pool's new clients.", lambda each: each.share),
    _Metric("new_connections_total", "counter", "Connections given to it.", lambda each: each.new),
    _Metric("open_connections", "gauge", "TCP connections.", lambda each: each.open),
    _Metric("flows", "gauge", "UDP and SCTP, not yet forgotten.", lambda each: each.flows),
    _Metric("sticky_clients", "gauge", "Clients known as its own.", lambda each: each.sticky),
    _Metric("since_timestamp_seconds", "gauge", "When its state began.", lambda each: each.since),
)


def _sticky_maps(snapshot: Snapshot) -> Iterator[str]:
    maps = {pool.sticky.name: pool.sticky for pool in snapshot.pools if pool.sticky}
    for name, help in (("entries", "Clients in a sticky map."), ("size", "Those it has room for.")):
        samples = (((("map", each.name),), getattr(each, name)) for each in maps.values())
        yield from _family(f"sticky_map_{name}", "gauge", help, samples)


def _labels(pool: PoolStatus, backend: BackendStatus | None = None) -> Labels:
    found = [("farm", pool.farm), ("family", f"ipv{pool.family}")]
    return found if backend is None else [*found, ("backend", backend.name)]


def _family(name: str, type: str, help: str, samples: Iterable[Sample]) -> Iterator[str]:
    begun = False
    for labels, value in samples:
        if value is None:
            continue
        if not begun:
            begun = True
            yield f"# HELP nftlbc_{name} {help}\n# TYPE nftlbc_{name} {type}\n"
        inside = ",".join(f'{label}="{_escaped(each)}"' for label, each in labels)
        yield f"nftlbc_{name}{f'{{{inside}}}' if inside else ''} {value!r}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
