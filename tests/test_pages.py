from __future__ import annotations

import json
import subprocess
from pathlib import Path

import warm

ROOT = Path(__file__).parent.parent
CODE = """
import json, sys
from pathlib import Path
sys.path.insert(0, "benchmarks")
import reliability_page, results
print(json.dumps({**results.pages(), "docs/reliability.md": reliability_page.page(Path("results"))}))
"""


def test_pages_are_what_the_kept_results_give() -> None:
    command = [warm.command("python"), "-c", CODE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    pages = json.loads(done.stdout)
    assert len(pages) == 4
    for path, text in pages.items():
        assert text == (ROOT / path).read_text(encoding="utf-8"), path


def test_the_page_tells_of_no_failure() -> None:
    assert "**0 times**" in (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
