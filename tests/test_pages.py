from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {
    "docs/reliability.md": "from pathlib import Path; from reliability_page import page; text = page(Path('results'))",
    "docs/results.md": "from results import pages; text = pages()['docs/results.md']",
    "docs/performance.md": "from results import pages; text = pages()['docs/performance.md']",
    "docs/front.md": "from pathlib import Path; from front_page import page; text = page(Path('results/front'))",
}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_what_the_kept_results_give(path: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks"), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", f"{PAGES[path]}; print(text, end='')"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / path).read_text(encoding="utf-8")


def test_the_page_tells_of_no_failure() -> None:
    assert "**0 times**" in (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
