"""What a shell completes: the names that the running table has.

Shells put what is printed here on their command line, and zsh evaluates it: so there is nothing but
names as the language has them, whatever stands in the table. Who may not read it is offered
nothing, and nobody is told why in the middle of their typing.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_MOST = 1000
"""Names; nobody reads more, and the shells get slow."""


def farms(incomplete: str) -> list[str]:
    """The farms that begin so."""
    from nftlbc.nft.program import NftError
    from nftlbc.status import look

    try:
        known = look.names()
    except (NftError, OSError):
        return []
    return _safe(known, incomplete)


def backends(incomplete: str) -> list[str]:
    """The backends that begin so, each as FARM/BACKEND."""
    from nftlbc.nft import netlink
    from nftlbc.nft.program import NftError
    from nftlbc.plan.in_use import destinations

    try:
        kernel = netlink.read(elements=lambda each: each.name.startswith(("backends", "addresses")))
    except (NftError, OSError):
        return []
    if kernel is None:
        return []
    kinds = ("backends", "addresses")
    known = sorted({leads.name for kind in kinds for _, _, leads in destinations(kernel, kind)})
    return _safe(known, incomplete)


def _safe(known: list[str], incomplete: str) -> list[str]:
    fitting = (each for each in known if each.startswith(incomplete))
    safe = (each for each in fitting if all(_NAME.fullmatch(part) for part in each.split("/")))
    return [name for _, name in zip(range(_MOST), safe, strict=False)]
