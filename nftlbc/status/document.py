"""A Snapshot as a JSON document, and the schema of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from nftlbc.status.model import STATES, BackendStatus, PoolStatus, Snapshot
from nftlbc.status.rates import Rate, Who, who

Json = dict[str, Any]


def as_json(snapshot: Snapshot, rates: Mapping[Who, Rate] | None = None) -> Json:
    """What the schema describes. Backends have their rates where there are some."""
    return {
        "time": snapshot.time,
        "digest": snapshot.digest,
        "asleep": snapshot.asleep,
        "probed": snapshot.probed,
        "connections": not snapshot.unknown,
        "astray": snapshot.astray,
        "gone": snapshot.gone,
        "farms": [
            {
                "name": name,
                "degraded": any(pool.degraded for pool in pools),
                "pools": [_pool(pool, rates) for pool in pools],
            }
            for name, group in groupby(snapshot.pools, key=lambda pool: pool.farm)
            for pools in [list(group)]
        ],
    }


def _pool(pool: PoolStatus, rates: Mapping[Who, Rate] | None) -> Json:
    sticky = pool.sticky
    return {
        "family": pool.family,
        "listeners": [str(each) for each in pool.listeners],
        "balance": pool.balance,
        "quorum": pool.quorum,
        "taking": pool.taking,
        "degraded": pool.degraded,
        "closed": pool.closed,
        "sticky": sticky
        and {
            "map": sticky.name,
            "clients": sticky.clients,
            "entries": sticky.entries,
            "size": sticky.size,
        },
        "backends": [
            _backend(each, rates.get(who(pool, each)) if rates else None) for each in pool.backends
        ],
    }


def _backend(backend: BackendStatus, rate: Rate | None) -> Json:
    traffic = backend.traffic
    found: Json = {
        "name": backend.name,
        "address": backend.address,
        "port": backend.port,
        "backup": backend.backup,
        "state": backend.state,
        "cause": backend.cause,
        "since": backend.since,
        "by": backend.by or None,
        "reason": backend.reason or None,
        "hand": backend.hand,
        "weight": backend.weight,
        "live_weight": backend.live_weight,
        "share": backend.share,
        "new_connections": backend.new,
        "open_connections": backend.open,
        "flows": backend.flows,
        "sticky_clients": backend.sticky,
        "traffic": traffic
        and {
            "packets_in": traffic.packets_in,
            "bytes_in": traffic.bytes_in,
            "packets_out": traffic.packets_out,
            "bytes_out": traffic.bytes_out,
        },
    }
    if rate is not None:
        found["rates"] = rate._asdict()
    return found


def schema() -> Json:
    """The JSON Schema of ``status --json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What nftlbc status --json prints",
        **_object(
            {
                "time": _number("Seconds since 1970."),
                "digest": {
                    "type": "string",
                    "pattern": "^[0-9a-f]{16}$",
                    "description": "The same where two tables were made from the same farms.",
                },
                "asleep": _flag("Somebody switched the table off: nothing is balanced."),
                "probed": _or_null(
                    _number(
                        "When checks were last made, since 1970; 0: not yet, though farms have "
                        "some; null: none has."
                    )
                ),
                "connections": _flag("Open connections could be counted."),
                "astray": _count("Backends in the table whose farm listens nowhere."),
                "gone": _count("Open TCP connections to backends that the table no longer has."),
                "farms": {"type": "array", "items": _farm()},
            }
        ),
    }


def _farm() -> Json:
    pool = _object(
        {
            "family": {"enum": [4, 6]},
            "listeners": {"type": "array", "items": {"type": "string"}},
            "balance": {"type": "string"},
            "quorum": _count(),
            "taking": _count("Backends, without the backups, that take new clients."),
            "degraded": _flag("Fewer than the quorum do; the backups serve, if there are some."),
            "closed": _flag("Nobody takes new clients."),
            "sticky": _or_null(
                _object(
                    {
                        "map": {"type": "string"},
                        "clients": _count("Known clients of this pool."),
                        "entries": _count("Of all farms that share the map."),
                        "size": _count("Entries that there is room for."),
                    }
                )
            ),
            "backends": {"type": "array", "items": _backend_schema()},
        }
    )
    return _object(
        {
            "name": {"type": "string"},
            "degraded": _flag("Some pool is below its quorum."),
            "pools": {
                "type": "array",
                "items": pool,
                "description": "One for each family in which the farm listens.",
            },
        }
    )


def _backend_schema() -> Json:
    seconds = {"type": "integer", "minimum": 0, "description": "Since 1970; null: not known."}
    text = {"type": "string"}
    traffic = ("packets_in", "bytes_in", "packets_out", "bytes_out")
    each_second = ("new", "bytes_in", "bytes_out")
    found = _object(
        {
            "name": text,
            "address": text,
            "port": _or_null({"type": "integer", "minimum": 1, "maximum": 65535}),
            "backup": {"type": "boolean"},
            "state": {"enum": list(STATES)},
            "cause": {"enum": ["file", "check", "hand"], "description": "Who says so."},
            "since": _or_null(seconds),
            "by": _or_null({**text, "description": "The user whose hand it was."}),
            "reason": _or_null({**text, "description": "What the check found."}),
            "hand": _or_null({"enum": ["drain", "let-go", "disable"]}),
            "weight": _count("What the farms file says."),
            "live_weight": _number("0 where it takes no new clients."),
            "share": {**_number("Of the pool's new clients."), "maximum": 1},
            "new_connections": _or_null(_count("Since the table has the backend.")),
            "open_connections": _or_null(_count("TCP; null: they can't be counted.")),
            "flows": _or_null(_count("UDP and SCTP that the kernel has not forgotten.")),
            "sticky_clients": _or_null(_count()),
            "traffic": _or_null(_object({name: _count() for name in traffic})),
        }
    )
    rates = _object({name: _or_null(_number("Each second.")) for name in each_second})
    found["properties"]["rates"] = rates
    return found


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _described(found: Json, description: str) -> Json:
    return {**found, "description": description} if description else found


def _count(description: str = "") -> Json:
    return _described({"type": "integer", "minimum": 0}, description)


def _number(description: str) -> Json:
    return _described({"type": "number", "minimum": 0}, description)


def _flag(description: str) -> Json:
    return _described({"type": "boolean"}, description)


def _or_null(found: Json) -> Json:
    return {"anyOf": [found, {"type": "null"}]}
