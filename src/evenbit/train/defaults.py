"""Settings that the data suggest, if no recipe is given.

For a named data set they are those of a recipe that comes with evenbit, if there is one for it. For a folder of images
they follow from how many and how large its images are.

With few images, a network needs many passes over them and small batches, so that it makes enough steps; with many, a
larger network pays off. Every setting chosen here can also be given by a flag, and any flag or recipe overrides it.
"""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbit.data import READERS
from evenbit.data.folder import list_folder
from evenbit.evaluation import Evaluation
from evenbit.images import some_sizes
from evenbit.train.network import is_own
from evenbit.train.recipe import Recipe, good_rate, load_recipe, packaged_recipes

HARDLY = 10.0  # points
UNEQUAL = 3  # times as many images in the largest class as in the smallest one
SMALL, LARGE = 32, 64  # pixels; sizes that images are brought to
LARGE_FROM = 1_000  # images to train on; the large size is chosen if there are so many, and most are as large
PASSES = 100_000  # images that a network sees in its whole training, about, counting every repetition
LEAST_EPOCHS, MOST_EPOCHS = 20, 60
BATCHES = ((500, 16), (2_000, 32), (10_000, 64))  # most images, and the batch size for them
LARGEST_BATCH = 128
RESNET8_IMAGES = 2_000  # at most; for more images the larger network is chosen
SMALLEST = ("resnet8", "resnet20", "resnet18")  # networks of the packaged recipes, smallest first


def fitting_recipe(data: str, given: Mapping[str, Any]) -> str | None:
    """The name of the recipe that comes with evenbit for a data set; None if there is none for it.

    Args:
        data: Name of the data set.
        given: Keys that are already set. A recipe with the given model and method is preferred, then one with that
            model, then one with that method. If neither is given, it is the smallest network with `fd`.
    """
    method, model = given.get("method", "fd"), given.get("model")

    def misses(name: str) -> tuple[bool, bool, int, str]:
        recipe = recipes[name]
        return model not in (None, recipe.model), recipe.method != method, SMALLEST.index(recipe.model), name

    recipes = {name: load_recipe(name, {}) for name in packaged_recipes()}
    return min((name for name in recipes if recipes[name].data == data), key=misses, default=None)


def folder_settings(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe settings for a folder of images, without the keys that are given.

    Args:
        folder: Has one subfolder per class.
        given: Keys that are already set.

    Raises:
        DataError: If the folder is not laid out as it should be.
    """
    _, train, _ = list_folder(folder)
    count = len(train.paths)
    size = LARGE if count >= LARGE_FROM and _are_large(train.paths) else SMALL
    if isinstance(given.get("image_size"), int):  # other types are refused when the recipe is checked
        size = given["image_size"]
    batch = next((batch for images, batch in BATCHES if count <= images), LARGEST_BATCH)
    steps = given["batch_size"] if type(given.get("batch_size")) is int else batch
    chosen = {
        "model": "resnet8" if count <= RESNET8_IMAGES else "evennet_m",
        "epochs": min(max(PASSES // count, LEAST_EPOCHS), MOST_EPOCHS),
        "image_size": size,
        "batch_size": batch,
        "learning_rate": good_rate(str(given.get("method", "fd")), steps),
        "pad": size // 8,
    }
    return {key: value for key, value in chosen.items() if key not in given}


def advice(recipe: Recipe, result: Evaluation) -> list[str]:
    """What may help a network, in sentences, the most promising first.

    It needs help if it may be no better than always giving the same answer: if the interval of its accuracy contains
    that answer's accuracy. It also does if it hardly tells the classes apart: if its balanced accuracy is less than
    `HARDLY` points above that of the same answer. And it does if it neglects small classes: if its balanced accuracy is
    at least `HARDLY` points below its accuracy, and the classes differ a lot in size.
    """
    counts = result.confusion.sum(1)
    counts = counts[counts > 0]
    always = result.interval[0] <= result.constant.accuracy and result.accuracy < 100
    found = []
    chance = 100 / len(counts)
    if always or result.balanced_accuracy - chance < HARDLY:
        ways = ["more photos"]
        if recipe.start is None and recipe.weights is None and recipe.data not in READERS and not is_own(recipe.model):
            ways.append("a start from a trained network (--from bundled)")
        ways.append(f"more epochs (--epochs {max(3 * recipe.epochs, LEAST_EPOCHS)})")
        if always:
            told = "this may be no better than always giving the same answer"
        else:
            told = f"this hardly tells the classes apart, since guessing has a balanced accuracy of {chance:.2g} %"
        found.append(f"{told}; what helps, best first: {', '.join(ways)}")
    neglected = result.accuracy - result.balanced_accuracy >= HARDLY and counts.max() >= UNEQUAL * counts.min()
    if neglected and not recipe.class_weights:
        found.append("small classes are recognized less often than large ones; --set class_weights=true may help them")
    return found


def _are_large(paths: Sequence[Path]) -> bool:
    """Whether most images, of those looked at, have as many pixels as the large size."""
    sides = [min(size) for size in some_sizes(paths)]
    return bool(sides) and statistics.median(sides) >= LARGE


def as_flags(chosen: Mapping[str, Any]) -> str:
    """The settings as flags of `evenbit train`."""
    own = ("data", "model", "method", "epochs", "seed", "teacher")
    knobs = {f"knobs.{name}": value for name, value in chosen.get("knobs", {}).items()}
    settings = {key: value for key, value in chosen.items() if key != "knobs"} | knobs
    flags: list[str] = []
    for key, value in settings.items():
        text = value if isinstance(value, str) else json.dumps(value)  # as TOML writes it, too
        flags += [f"--{key}", text] if key in own else ["--set", f"{key}={text}"]
    return shlex.join(flags)


def describe_run(recipe: Recipe) -> str:
    """The main settings of a run as flags of `evenbit train`."""
    keys = ("data", "model", "method", "epochs", "batch_size", "learning_rate")
    return as_flags({key: getattr(recipe, key) for key in keys})
