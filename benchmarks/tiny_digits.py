"""A training that takes a moment, for measuring what happens around it: a small network on a few of the digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from evenbit.data import load_dataset

RECIPE = {"model": "resnet8", "image_size": 8, "batch_size": 32, "pad": 1, "flip": False}
IMAGES_A_CLASS = {"train": 8, "test": 4}


def write_digits(folder: Path) -> None:
    """Some of the digits as a folder of images."""
    digits = load_dataset("digits")
    for part, number in IMAGES_A_CLASS.items():
        split = getattr(digits, part)
        for label, name in enumerate(digits.classes):
            place = folder / part / name
            place.mkdir(parents=True)
            for index in np.flatnonzero(split.labels == label)[:number]:
                Image.fromarray(split.images[index, 0]).save(place / f"{index}.png")


def train_command(data: Path, out: Path, epochs: int, seed: int = 0) -> list[str]:
    """The `evenbit` command that trains on that folder of images."""
    settings = [f"--set={key}={json.dumps(value)}" for key, value in RECIPE.items()]
    return ["train", "--data", str(data), *settings, "--epochs", str(epochs), "--seed", str(seed), "--out", str(out)]


def recipe_toml(data: Path) -> str:
    """The same recipe but for its epochs, in TOML."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in {"data": str(data), **RECIPE}.items())
