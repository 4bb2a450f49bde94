"""`benchmarks/headline.py` within a few seconds on digits."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import warm
from evenbit import plan_file
from evenbit.train import read_checkpoint

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "headline.py"


def test_it_trains_for_as_long_as_it_may_and_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [warm.command("python"), str(SCRIPT), "--seconds", "1", "--data", "digits", "--model", "resnet8"]
    command += ["--out", str(tmp_path / "run")]
    subprocess.run(command, check=True, capture_output=True)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    epochs = {method: read_checkpoint(tmp_path / "run" / method).recipe.epochs for method in ("float", "fd")}
    assert epochs == {"float": result["epochs"], "fd": result["epochs"]}
    assert result["epochs"] >= 1
    assert result["gap"] == pytest.approx(result["accuracy"]["float"] - result["accuracy"]["fd"])
    assert plan_file.load(tmp_path / "run" / "fd.evb").info["model"] == "resnet8"
    before = (tmp_path / "run" / "fd.evb").read_bytes()
    subprocess.run(command, check=True, capture_output=True)
    again = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    assert (tmp_path / "run" / "fd.evb").read_bytes() == before
