"""The kinds of checks, one file each, imported only when asked for.

Each has ``async def check(target, attempt) -> Finding``. It may raise Failure and OSError; it is
cancelled when its time is over, and must then leave nothing behind. Whatever it reads is bounded.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Awaitable, Callable

from nftlbc.probe.attempt import Attempt
from nftlbc.probe.result import Finding
from nftlbc.probe.target import Target

Kind = Callable[[Target, Attempt], Awaitable[Finding]]

_MODULES = {"https": "http"}


@functools.cache
def of_kind(kind: str) -> Kind:
    module = importlib.import_module(f"{__name__}.{_MODULES.get(kind, kind)}")
    check: Kind = module.check
    return check
