"""A trial as JSON.

The document, all keys always there (``format`` changes only when one of them is taken away or
means something else):

    {"format": 1,
     "file": "farms.lb",
     "as_promised": true,              what the exit status says: true 0, false 4
     "farms": 400, "tried": 20,        farms of the file, and how many of them were tried
     "notes": ["..."],
     "phases": [                       the second only with --down
       {"down": ["web/app1"],          put down for this phase
        "connections": 61,             made in it
        "pools": [                     one for each farm and family
          {"farm": "web", "family": 4,
           "scheduler": "round-robin", "forward": "dnat",
           "as_promised": true,
           "connections": 60,          that count for the shares
           "others": 1,                of the balancer, of a backend, to ports not met before
           "targets": ["203.0.113.10:80/tcp"],
           "listeners_left_out": 0,
           "turn": 5,                  connections after which a round robin begins again, else 1
           "backends": [
             {"names": ["app1"],       several where they can't be told apart
              "addresses": ["10.0.0.11:8080"],
              "got": 24,
              "due": 24.0, "least": 24, "most": 24,
              "judged": "exact",       exact, near, chance, hash, none (nobody may come), unknown
              "why_none": null,        down, drain, weight 0 or backup
              "as_promised": true}],   null: not judged
           "checks": [
             {"check": "source",       refused, answered, shares, address, takers, port, source,
                                       persistence, hash, moved, open, balancer, hairpin
              "text": "the backends saw the client's own address",
              "as_promised": true,     null: not judged
              "details": [],           each thing that went wrong
              "idea": null}]}]}]}      where to look
"""

from __future__ import annotations

import json

from nftlbc.trial.result import Check, Phase, PoolResult, Row, Trial

FORMAT = 1


def as_json(trial: Trial, file: str) -> str:
    """The document, ending with a newline."""
    document = {
        "format": FORMAT,
        "file": file,
        "as_promised": trial.ok,
        "farms": trial.farms,
        "tried": trial.tried,
        "notes": list(trial.notes),
        "phases": [_phase(phase, file) for phase in trial.phases],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _phase(phase: Phase, file: str) -> dict[str, object]:
    return {
        "down": list(phase.down),
        "connections": phase.connections,
        "pools": [_pool(pool, file) for pool in phase.pools],
    }


def _pool(pool: PoolResult, file: str) -> dict[str, object]:
    plan = pool.plan
    farm = plan.pool.farm
    return {
        "farm": farm.name,
        "family": plan.pool.family,
        "scheduler": str(farm.balance),
        "forward": farm.forward.kind,
        "as_promised": pool.ok,
        "connections": pool.counted,
        "others": pool.connections - pool.counted,
        "targets": [str(target) for target in plan.targets],
        "listeners_left_out": plan.left_out,
        "turn": plan.turn,
        "backends": [_row(row) for row in pool.rows],
        "checks": [_check(check, file) for check in pool.checks],
    }


def _row(row: Row) -> dict[str, object]:
    return {
        "names": [backend.name for backend in row.backends],
        "addresses": [str(backend) for backend in row.backends],
        "got": row.got,
        "due": round(float(row.due), 3),
        "least": row.low,
        "most": row.high,
        "judged": row.how,
        "why_none": row.why or None,
        "as_promised": row.ok,
    }


def _check(check: Check, file: str) -> dict[str, object]:
    return {
        "check": check.name,
        "text": check.text,
        "as_promised": check.ok,
        "details": list(check.details),
        "idea": check.idea and check.idea.replace("FILE", file),
    }
