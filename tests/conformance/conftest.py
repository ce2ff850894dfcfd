"""nft's listing, read for the tests of netlink, serves here too."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "nft"))
pytest.register_assert_rewrite("chance", "conforming", "listing")
