"""What `make demo` promises, measured by running it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from rich.console import Console

from evenbit.demo import run_demo


def test_demo_keeps_its_promises(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        result = run_demo(tmp_path, Console(quiet=True))
        again = run_demo(tmp_path, Console(quiet=True))
    finally:
        torch.set_num_threads(threads)
    assert json.loads((tmp_path / "result.json").read_text()) == again
    assert {**result, "latency_ms": 0} == {**again, "latency_ms": 0}
    assert result["float_accuracy"] >= 98
    assert result["gap_points"] <= 1.5
    assert abs(result["binary_accuracy"] - result["engine_accuracy"]) <= 0.3
    assert result["gap_points"] == result["float_accuracy"] - result["engine_accuracy"]
    assert result["packed_bytes"] * 6 < result["float_bytes"]
    assert 0 < result["latency_ms"] < 5
    assert f"{result['packed_bytes']:,}" in (tmp_path / "report.html").read_text(encoding="utf-8")
