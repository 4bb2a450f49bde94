from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RENDER = "from pathlib import Path; from reliability_page import page; print(page(Path('results')), end='')"


def test_the_page_is_what_the_kept_results_give() -> None:
    environment = {"PYTHONPATH": str(ROOT / "benchmarks"), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", RENDER]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert "**0 times**" in done.stdout
