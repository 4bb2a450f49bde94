"""Settings that the data suggest, where no recipe is given.

For a named data set they are those of a recipe that comes with evenbit, if there is one for it. For a folder of images
they follow from how many and how large its images are.

A network trained on few images needs many passes over them and small batches, so that it makes enough steps; on many,
a larger network pays. What is chosen can be had by flags as well, and any flag or recipe wins over it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from evenbit.data.folder import list_folder
from evenbit.images import FORMATS
from evenbit.train.recipe import Recipe, good_rate, load_recipe, packaged_recipes

LOOKED_AT = 200  # images, at most, whose size is looked at
LARGE = 64  # images whose shorter side has at least so many pixels are brought to this size, smaller ones to half of it
PASSES = 100_000  # about how many images a training sees in all, counted with their repetitions
LEAST_EPOCHS, MOST_EPOCHS = 20, 60
BATCHES = ((500, 16), (2_000, 32), (10_000, 64))  # up to so many images, that batch
LARGEST_BATCH = 128
RESNET8_IMAGES = 2_000  # more take the larger network
SMALLEST = ("resnet8", "resnet20", "resnet18")  # networks of the recipes that come along, smallest first


def fitting_recipe(data: str, given: Mapping[str, Any]) -> str | None:
    """The name of the recipe that comes with evenbit for a data set; None if there is none for it.

    Args:
        data: Name of the data set.
        given: Keys that are set already; a recipe of the given model and method is preferred, then one of that model,
            then one of that method, without any given the smallest network with `fd`.
    """
    method, model = given.get("method", "fd"), given.get("model")

    def misses(name: str) -> tuple[bool, bool, int, str]:
        recipe = recipes[name]
        return model not in (None, recipe.model), recipe.method != method, SMALLEST.index(recipe.model), name

    recipes = {name: load_recipe(name, {}) for name in packaged_recipes()}
    return min((name for name in recipes if recipes[name].data == data), key=misses, default=None)


def folder_settings(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a recipe to train on a folder of images by, without those that are given.

    Args:
        folder: With one subfolder a class.
        given: Keys that are set already.

    Raises:
        DataError: If the folder is not laid out as it should be.
    """
    _, train, _ = list_folder(folder)
    count = len(train.paths)
    sides = [side for path in train.paths[:: -(-count // LOOKED_AT)] if (side := _short_side(path)) is not None]
    size = LARGE if sides and statistics.median(sides) >= LARGE else LARGE // 2
    if isinstance(given.get("image_size"), int):  # anything else is refused with the whole recipe
        size = given["image_size"]
    batch = next((batch for images, batch in BATCHES if count <= images), LARGEST_BATCH)
    steps = given["batch_size"] if type(given.get("batch_size")) is int else batch
    chosen = {
        "model": "resnet8" if count <= RESNET8_IMAGES else "resnet20",
        "epochs": min(max(PASSES // count, LEAST_EPOCHS), MOST_EPOCHS),
        "image_size": size,
        "batch_size": batch,
        "learning_rate": good_rate(str(given.get("method", "fd")), steps),
        "pad": size // 8,
    }
    return {key: value for key, value in chosen.items() if key not in given}


def _short_side(path: Path) -> int | None:
    """Pixels of an image's shorter side, None if it cannot be read, which reading the data will tell."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return min(image.size)
    except Exception:  # whatever pillow's parsers stumble over in a damaged file
        return None


def as_flags(chosen: Mapping[str, Any]) -> str:
    """The settings as flags of `evenbit train`."""
    own = ("data", "model", "method", "epochs", "seed", "teacher")
    flags = [f"--{key} {value}" if key in own else f"--set {key}={value}" for key, value in chosen.items()]
    return " ".join(flags)


def describe_run(recipe: Recipe) -> str:
    """What a run is of, as flags of `evenbit train`."""
    keys = ("data", "model", "method", "epochs", "batch_size", "learning_rate")
    return as_flags({key: getattr(recipe, key) for key in keys})
