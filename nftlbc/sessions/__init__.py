"""The sticky entries of the kernel's table: which client is known by which farm, for how long.

``entries.read`` finds them, ``choice.Choice`` says which are meant, ``telling`` says them and
``deleting`` takes them away. What the farms are called comes from the table alone.
"""

from __future__ import annotations

__all__ = ["Choice", "Group", "Sessions", "read"]

from nftlbc.sessions.choice import Choice
from nftlbc.sessions.entries import Group, Sessions, read
