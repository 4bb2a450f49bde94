"""What a run of a network that is made from a real one starts from."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from evenbit.data.dataset import Split
from evenbit.errors import CheckpointError
from evenbit.nn.conversion.fit import fit
from evenbit.train.checkpoint import Task, to_float
from evenbit.train.network import Source, binary_network, find_source, real_network
from evenbit.train.recipe import Recipe
from evenbit.train.weights import digest, fit_head, load_weights

IMAGES = 512  # that the start is fitted to, if they are of 32x32 pixels; fewer larger ones, so that their maps fit
LEAST_IMAGES = 64
HEAD_IMAGES = 2000  # that a new last layer is fitted to, at most


def begin(
    recipe: Recipe,
    task: Task,
    train: Split,
    given: nn.Module | None,
    known: Source | None,
    tell: Callable[[str], None],
) -> tuple[nn.Module, nn.Module, Source]:
    """Makes the networks of a run that is begun or resumed.

    Args:
        recipe: The settings.
        task: What is classified.
        train: Training images; the start is fitted to the first of them.
        given: The real network, if it was handed over in a call.
        known: What a run that is resumed has kept of where its network comes from; its state is to be set then.
        tell: Called with a line about what is not as in the weights.

    Returns:
        The network to train, the real one, and where they come from.

    Raises:
        RecipeError, CaptureError, BinarizeError: If a network cannot be made, or its weights do not fit.
        CheckpointError: If a resumed run's file or weights have changed.
    """
    source = find_source(recipe.model, known)
    real = real_network(recipe, task, source, given)
    is_trained = recipe.weights is not None or given is not None
    head = None
    if recipe.weights is not None:
        head = load_weights(real, Path(recipe.weights), len(task.classes))
    if is_trained:
        source = dataclasses.replace(source, weights=digest(real))
    if known is not None and source.weights != known.weights:
        where = recipe.weights or "the network that was handed over"
        raise CheckpointError(f"the weights that the run began with were others than those of {where} are now")
    if head is not None:
        tell(f"the last layer, {head}, is made anew for {len(task.classes)} classes, from the training images")
        images = torch.from_numpy(train.images[:HEAD_IMAGES])
        fit_head(real, head, images, train.labels[:HEAD_IMAGES])
    if not recipe.resolved_method().binary:
        return binary_network(recipe, task, copy.deepcopy(real)), real, source
    network = binary_network(recipe, task, real)
    if is_trained and known is None:
        pixels = task.height * task.width
        count = max(LEAST_IMAGES, min(IMAGES, IMAGES * 32 * 32 // pixels))
        fit(network, real, to_float(torch.from_numpy(train.images[:count])))
    return network, real, source
