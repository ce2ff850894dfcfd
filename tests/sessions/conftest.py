"""These tests run in namespaces as those of the difference do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "difference"))
