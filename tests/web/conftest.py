"""Makes the modules beside the tests, the cases of tests/capi and the Plans of tests/runtime importable."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "capi"), str(HERE.parent / "runtime")]
