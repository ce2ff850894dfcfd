"""The namespaces of the tests of apply serve here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "difference"))
