"""A few of the kills of `benchmarks/kills.py`, which fails if one of them has cost more than it may."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "kills.py"


def test_killed_commands_lose_at_most_the_running_epoch_and_go_on(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "4", "--json", str(tmp_path / "kills.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    killed = json.loads((tmp_path / "kills.json").read_text())["killed"]
    assert {name: count["kills"] for name, count in killed.items()} == {"train": 2, "pack": 1, "sweep": 1}
    assert all(count["finished"] >= 1 and count["wrong"] == [] for count in killed.values())
