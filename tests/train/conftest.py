from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from evenbit.train import Recipe, Result, load_recipe, train

TrainTiny = Callable[..., Result]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images: two classes, 16 images of 8x8 each to train on and 6 to test on."""
    root = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(7)
    for part, count in (("train", 16), ("test", 6)):
        for bright, name in enumerate(("dark", "light")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(80 * bright, 176 + 80 * bright, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def tiny_recipe(pictures: Path) -> Callable[..., Recipe]:
    """A recipe whose epoch takes a moment: four steps of the smallest network, every kind of augmentation on."""

    def make(**changes: Any) -> Recipe:
        settings = {"data": str(pictures), "image_size": 8, "epochs": 4, "batch_size": 8, "pad": 1, "cutout": 2}
        settings |= {"learning_rate": 4e-3, "flip": True}
        return load_recipe(None, {"method": "fd", **settings, **changes})

    return make


@pytest.fixture(scope="session")
def train_tiny(tiny_recipe: Callable[..., Recipe]) -> TrainTiny:
    """Trains the tiny recipe into a folder."""

    def run(out: Path, *, resume: bool = False, **changes: Any) -> Result:
        return train(tiny_recipe(**changes), out, resume=resume, console=Console(quiet=True))

    return run
