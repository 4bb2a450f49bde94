"""Training on arrays that you have in memory: they become a data set with a name, and all else is as usual.

python examples/own_arrays.py
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

import evenbit
from evenbit.data import READERS, Dataset, Split
from evenbit.deploy import pack_run
from evenbit.train import load_recipe, train

CLASSES = ("disc", "ring", "square")


def draw(count: int, rng: np.random.Generator) -> Split:
    """Discs, rings and squares of random place, size and grey, in noise: uint8 `[N, C, H, W]` and labels."""
    labels = rng.integers(0, len(CLASSES), count)
    row, column = np.mgrid[:16, :16]
    images = np.empty((count, 1, 16, 16), np.uint8)
    for image, label in zip(images, labels, strict=True):
        y, x = rng.uniform(6, 10, 2)
        size, level = rng.uniform(3.5, 5.5), rng.uniform(120, 255)
        distance = np.hypot(row - y, column - x)
        if label == 2:
            shape = np.maximum(abs(row - y), abs(column - x)) <= 0.8 * size
        else:
            shape = (distance <= size) & (distance >= (0 if label == 0 else size - 2))
        image[0] = np.clip(level * shape + rng.normal(40, 20, shape.shape), 0, 255)
    return Split(images, labels.astype(np.int64))


def read_shapes(root: str | os.PathLike[str] | None) -> Dataset:
    """The data set; a reader gets the folder that the user names with `--data-root`, which this one does not need."""
    rng = np.random.default_rng(0)
    return Dataset("shapes", CLASSES, draw(600, rng), draw(300, rng))


def main() -> None:
    READERS["shapes"] = read_shapes
    recipe = load_recipe(
        None,
        {"data": "shapes", "model": "resnet8", "method": "fd", "epochs": 4, "batch_size": 32, "learning_rate": 4e-3},
    )
    result = train(recipe, Path("shapes"))
    evenbit.save(pack_run(result.folder), "shapes.evb")
    test = evenbit.load_dataset("shapes").test
    logits = evenbit.Engine.load("shapes.evb")(test.images)
    print(f"in torch {result.accuracy:.1f} %, packed {100 * np.mean(logits.argmax(1) == test.labels):.1f} %")


if __name__ == "__main__":
    main()
