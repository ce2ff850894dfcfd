"""What doctor's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import ground
import pytest


@pytest.fixture(scope="module", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Other tests, in the same process, look whether it has children."""
    yield
    ground.close()
