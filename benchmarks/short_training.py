"""Short trainings that choose between networks: a few epochs on CIFAR-10, measured on held-out training images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evenbit.train import load_recipe, train

EPOCHS = 4


def held_out_accuracy(settings: dict[str, Any], folder: Path, data_root: str | None) -> float:
    """Trains on nine tenths of the training images, unless that is done, and returns the accuracy on the others.

    An interrupted training goes on.

    Args:
        settings: What the recipe says besides.
        folder: Of the run.
        data_root: Where CIFAR-10's files are.
    """
    metrics = folder / "metrics.jsonl"
    if not metrics.exists() or len(metrics.read_text().splitlines()) < EPOCHS:
        recipe = load_recipe(None, {"data": "cifar10", "epochs": EPOCHS, "validation": 0.1, **settings})
        train(recipe, folder, data_root=data_root, resume=metrics.exists())
    return float(json.loads(metrics.read_text().splitlines()[-1])["validation_accuracy"])
