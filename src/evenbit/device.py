"""A network and a size of images that fit a device, chosen before training.

The flash that a network takes depends on the network alone; its RAM depends on the size of the images too. So the
networks are tried from the largest to the smallest, and for each the sizes likewise, until both memories suffice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from evenbit.data import READERS, load_dataset
from evenbit.data.folder import list_folder
from evenbit.deploy import pack
from evenbit.errors import PlanError, RecipeError
from evenbit.export.c.size import Memory, memory_of
from evenbit.plan import Plan
from evenbit.train.checkpoint import Task, build_model
from evenbit.train.recipe import Recipe

SMALLER_MODELS = {
    "evennet_m": ("evennet_s", "resnet20", "resnet8"),
    "resnet20": ("resnet8",),
    "resnet20_wide": ("resnet20", "resnet8"),
}
SIZES = (64, 48, 32, 24, 16)  # pixels


def fit_device(
    recipe: Recipe, given: Collection[str], device: Memory, data_root: str | None
) -> tuple[dict[str, Any], str]:
    """The changes that a recipe needs to fit a device.

    Args:
        recipe: What would be trained without a device.
        given: The keys that the user has set, which do not change. Nor does the image size of a named data set.
        device: Its memory.
        data_root: Where the files of a named data set are.

    Returns:
        The keys that change with their new values, and a line that says what was chosen and what memory it takes.

    Raises:
        RecipeError: If nothing fits; says what the smallest network takes.
        DataError: If the data cannot be read.
    """
    if recipe.data in READERS:
        dataset = load_dataset(recipe.data, data_root)
        channels, size, _ = dataset.shape
        classes, sizes = dataset.classes, [size]
    else:
        classes, channels, sizes = list_folder(Path(recipe.data))[0], 3, [recipe.image_size]
        if "image_size" not in given:
            sizes += [size for size in SIZES if size < recipe.image_size]
    models = [recipe.model, *(() if "model" in given else SMALLER_MODELS.get(recipe.model, ()))]
    larger = ""
    for model in models:
        plan: Plan | None = None  # the last one that was built
        for size in sizes:
            needed = None if plan is None else _at_another_size(plan, size)
            if needed is None or device.holds(needed):
                try:
                    plan = untrained_plan(recipe, model, channels, size, classes)
                except RecipeError:  # the network takes no images as small as these
                    continue
                needed = memory_of(plan)
            if device.holds(needed):
                changed = {"model": model, "image_size": size, "pad": recipe.pad if "pad" in given else size // 8}
                kept = {key: value for key, value in changed.items() if recipe.data not in READERS or key == "model"}
                return kept, f"fits {device}: {model} on {size}x{size} pixels takes about {needed} as C{larger}"
            larger = f"; {model} on {size}x{size} would take {needed}"
            if not Memory(device.flash, None).holds(needed):
                break  # the size of the images does not change that
    smallest = untrained_plan(recipe, models[-1], channels, sizes[-1], classes)
    raise RecipeError(
        f"nothing fits {device}: the smallest that may be chosen, {models[-1]} on {sizes[-1]}x{sizes[-1]} pixels, "
        f"takes about {memory_of(smallest)} as C"
    )


def _at_another_size(plan: Plan, size: int) -> Memory | None:
    """About what a network takes on images of that size, found without building it; None if its ops do not fit them.

    This rules sizes out. The network that is chosen is built, since it may differ: maps of odd and of even sides, for
    example, are made smaller by different ops.
    """
    try:
        return memory_of(dataclasses.replace(plan, height=size, width=size))
    except PlanError:
        return None


def untrained_plan(recipe: Recipe, model: str, channels: int, size: int, classes: tuple[str, ...]) -> Plan:
    """The Plan of an untrained network, as large as after training.

    Names of classes are in flash too. Equal tables of constants are stored once, and many are equal before training; so
    all numbers are made different, and some scales negative.
    """
    with torch.random.fork_rng(devices=[]):
        task = Task(classes, channels, size, size, (0.5,) * channels, (0.25,) * channels)
        network = build_model(recipe.model_copy(update={"model": model}), task)
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.mul_(1 + 0.1 * torch.rand_like(tensor)).add_(0.01 * torch.rand_like(tensor))
            for parameter in network.parameters():
                if parameter.dim() == 1:
                    parameter.mul_(torch.randint(0, 2, parameter.shape) * 2 - 1)
    return pack(network.eval(), torch.zeros(1, channels, size, size), classes=classes)
