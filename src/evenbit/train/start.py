"""Starting from a trained network: its body is kept, and its head too if the classes are the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

from evenbit.errors import RecipeError
from evenbit.files import is_run
from evenbit.pretrained import START
from evenbit.printable import counted
from evenbit.train.checkpoint import Run, Task, load_run, read_checkpoint
from evenbit.train.network import is_own
from evenbit.train.origin import find_path
from evenbit.train.recipe import Recipe

BUNDLED = "bundled"
MOST_NAMED = 4
FEW_IMAGES = 1_000  # fewer gain from a network that has seen many others
OF_IMAGES = ("normalize.mean", "normalize.std")  # these belong to the data and are not learned


def load_start(start: str) -> Run:
    """The run to start from.

    Raises:
        RecipeError: If it is a packed file, which no longer holds the real weights that training needs.
        CheckpointError: If it is not the folder of a run.
    """
    if start == BUNDLED:
        return load_run(START)
    if Path(start).is_file():
        raise RecipeError(
            f"{start} is a file, but training needs real weights, which a packed file does not hold; give the folder "
            "of the run that it was packed from"
        )
    return load_run(start)


def suggest_bundled(recipe: Recipe, task: Task, images: int) -> str:
    """Advice to start from the network that comes with evenbit, if the images are few and fit it; else empty."""
    fits = (recipe.model, recipe.method, recipe.knobs) == ("resnet8", "fd", {}) and task.input == "3x32x32"
    if not fits or images >= FEW_IMAGES or recipe.start is not None or recipe.weights is not None:
        return ""
    return "with so few images, it mostly helps to start from a trained network: --from bundled"


def like_start(start: str) -> dict[str, Any]:
    """The settings that a network shares with the one it starts from; for errors see `load_start`."""
    run = load_start(start)
    recipe = run.recipe
    shared = {key: getattr(recipe, key) for key in ("model", "method", "knobs", "image_size")}
    if recipe.weights is not None:
        shared |= {"weights": find_path(recipe.weights, run.origin), "keep": recipe.keep}
    return shared


def like_weights(weights: str) -> dict[str, Any]:
    """The settings that a network shares with the run whose weights it takes; empty if they are a file's.

    A network of the user's own has to be named again, since naming it allows its code to run.
    """
    if not is_run(weights):
        return {}
    recipe = read_checkpoint(weights).recipe
    model = {} if is_own(recipe.model) else {"model": recipe.model}
    return {**model, "image_size": recipe.image_size}


def take_over(network: nn.Module, recipe: Recipe, task: Task) -> str:
    """Copies into a network the weights of the run that `recipe.start` names, wherever both have them.

    If the classes differ, the head keeps its random initialization. The normalization of the images is not copied: it
    belongs to the data.

    Args:
        network: The recipe's network for the task; it is changed.
        recipe: Its `start` is set.
        task: What is to be classified.

    Returns:
        A line that says what was copied and what is new.

    Raises:
        RecipeError, CheckpointError: If the run cannot be read, or its model or its size of images is another one.
    """
    assert recipe.start is not None
    run = load_start(recipe.start)
    check_model(recipe, run)
    if run.task.input != task.input:
        size = f"; add --set image_size={run.task.height}" if run.task.channels == task.channels else ""
        raise RecipeError(f"{recipe.start} takes images of {run.task.input}, but those here are {task.input}{size}")
    state = network.state_dict()
    last = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1:]
    head = (
        [] if run.task.classes == task.classes else [f"{name}.{part}" for name in last for part in ("weight", "bias")]
    )
    taken = {
        name: tensor
        for name, tensor in run.model.state_dict().items()
        if name in state and name not in (*head, *OF_IMAGES)
    }
    other = [name for name, tensor in taken.items() if tensor.shape != state[name].shape]
    if other:
        raise RecipeError(
            f"{recipe.start} has weights of other sizes than this network: {', '.join(other[:MOST_NAMED])}; "
            f"its method is {run.recipe.method} with knobs {run.recipe.knobs}"
        )
    network.load_state_dict(taken, strict=False)
    left = sorted({_layer(name) for name in state.keys() - taken.keys() - set(OF_IMAGES)})
    fresh = ", ".join(left[:MOST_NAMED]) + (f" and {len(left) - MOST_NAMED} more" if left[MOST_NAMED:] else "")
    classes = f" for {len(task.classes)} classes instead of {len(run.task.classes)}" if head else ""
    trained = f"{counted(run.epoch, 'epoch')} on {run.recipe.data}"
    return (
        f"from {recipe.start} ({run.recipe.model}, {run.recipe.method}, {trained}): "
        f"{sum(tensor.numel() for tensor in taken.values()):,} numbers copied; "
        + (f"new: {fresh}{classes}" if left else "nothing is new")
    )


def check_model(recipe: Recipe, run: Run) -> None:
    """Raises RecipeError if the run to start from has another model than the recipe, or layers of other names.

    Binary layers that were made from a real network's weights have other names than those of a new network.
    """
    there = run.recipe.model
    if there != recipe.model:
        remedy = "start from a run of that network" if is_own(recipe.model) else f"add --model {there}"
        raise RecipeError(f"{recipe.start} is a {there}, not a {recipe.model}; {remedy}")
    if is_own(there) or not (recipe.resolved_method().binary and run.recipe.resolved_method().binary):
        return
    weights = run.recipe.weights
    if weights is not None and recipe.weights is None:
        raise RecipeError(
            f"{recipe.start} was made from the real weights {weights}, and its layers have other names than those of a "
            f"new {there}; add --weights {find_path(weights, run.origin)}"
        )
    if weights is None and recipe.weights is not None:
        raise RecipeError(
            f"{recipe.start} was not made from real weights, and its layers have other names than those of one that "
            "was; leave out --weights"
        )


def _layer(name: str) -> str:
    """The name of the layer that a tensor belongs to."""
    return re.sub(r"\.[^.]*$", "", name)
