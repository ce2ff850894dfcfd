"""How each statement reads, in one line for a person."""

from __future__ import annotations

from collections.abc import Mapping

FORMS: Mapping[str, str] = {
    "include": 'include "FILES"',
    "define": "define NAME = VALUE, or: define NAME = { VALUE, VALUE }",
    "defaults": "defaults { STATEMENTS }",
    "farm": "farm NAME { STATEMENTS }",
    "listen": "listen ADDRESSES tcp port PORTS [to PORT]",
    "backend": "backend NAME ADDRESS [port PORT] [weight N] [backup] [state up|drain|down]",
    "forward": "forward dnat, forward masquerade, or: forward snat to ADDRESS",
    "balance": "balance round-robin, balance hash KEYS, and others",
    "persist": "persist KEYS [for TIME] [size N]",
    "quorum": "quorum N",
    "hairpin": "hairpin, with nothing behind it",
    "on-down": "on-down keep, or: on-down reset",
    "when-all-down": "when-all-down refuse, or: when-all-down keep",
    "slow-start": "slow-start TIME",
    "count": "count traffic",
    "on-change": 'on-change exec "/COMMAND" "ARGUMENT"',
    "check": "check KIND { OPTIONS }",
}
BALANCE_FORMS: Mapping[str, str] = {
    "hash": "balance hash KEYS",
    "consistent": "balance consistent KEYS [slots N]",
}
ELSEWHERE: Mapping[str, str] = {
    # nginx, HAProxy
    "upstream": "farm",
    "server": "backend",
    "bind": "listen",
    "mode": "listen",
    "stick": "persist",
    "sticky": "persist",
    "health_check": "check",
    "option": "check",
    # keepalived, IPVS
    "virtual_server": "farm",
    "real_server": "backend",
    "sorry_server": "backend",
    "lb_algo": "balance",
    "lvs_sched": "balance",
    "scheduler": "balance",
    "lb_kind": "forward",
    "lvs_method": "forward",
    "persistence_timeout": "persist",
    # nftlb
    "virtual-addr": "listen",
    "virtual-ports": "listen",
    "ip-addr": "backend",
    "persistence": "persist",
    "priority": "backend",
}
"""What other programs call it."""
