"""Two processes train as one does: the same losses but for rounding."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import warm
from evenbit.train import Recipe, Result, read_checkpoint

SCRIPT = """
import sys
from pathlib import Path
from evenbit.train import train
from evenbit.train.recipe import Recipe

train(Recipe.model_validate_json(sys.argv[1]), Path(sys.argv[2]), progress=lambda done, total: print("done", done))
"""


def train_with_processes(recipe: Recipe, out: Path, count: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = []
    for rank in range(count):
        env = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env["ACCELERATE_USE_CPU"] = "true"
        command = [warm.command("python"), "-c", SCRIPT, recipe.model_dump_json(), str(out)]
        environment = {**os.environ, **{key: str(value) for key, value in env.items()}}
        workers.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    told = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * count, [errors for _, errors in told]
    assert ["epoch" in output and "done" in output for output, _ in told] == [True] + [False] * (count - 1)
    assert {output for output, _ in told[1:]} == {""}


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# With plain weights a rounding decides which slope of RPReLU holds for some sums of dense layers, in one process too.
# Muon takes full steps in directions in which the gradient is nearly zero, and so follows the rounding there.
STANDARDIZED = {"weight_standardized": True, "weight_estimator": "identity"}
DENSE = {"model": "mlp", "balance": 1.0, "balance_target": 0.75, "knobs": STANDARDIZED, "optimizer": "adamw"}


@pytest.mark.parametrize(("settings", "norm"), [({}, "stem.norm"), (DENSE, "1.1")])
def test_two_processes_train_as_one(
    settings: dict[str, Any],
    norm: str,
    tiny_recipe: Callable[..., Recipe],
    train_tiny: Callable[..., Result],
    tmp_path: Path,
) -> None:
    # In a new network zero points are 0, and the sums of dense layers, whole numbers, often equal their mean over a
    # batch: there a rounding would decide the sign. A step of training moves the zero points away.
    train_tiny(tmp_path / "start", epochs=1, **settings)
    settings = {**settings, "epochs": 2, "start": str(tmp_path / "start")}
    train_tiny(tmp_path / "one", **settings)
    train_with_processes(tiny_recipe(**settings), tmp_path / "two", 2)
    # A sum that is rounded otherwise turns a bit of some image, sooner or later.
    for one, two, bound in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), (1e-5, 1e-3), strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=bound)
        assert two["test_loss"] == pytest.approx(one["test_loss"], rel=1e-3, abs=1e-3)  # nearly 0 with these 12 images
    first, second = (read_checkpoint(tmp_path / name).tensors for name in ("one", "two"))
    assert first.keys() == second.keys()
    name = f"model.{norm}.running_var"
    torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-5)
