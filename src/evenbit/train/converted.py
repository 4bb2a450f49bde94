"""The start of a run whose network is made from a real one."""

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

IMAGES = 512  # of 32x32 pixels, to fit the start; if they are larger, fewer, so that their maps fit in memory
LEAST_IMAGES = 64
HEAD_IMAGES = 2000  # at most, to fit a new last layer


def begin(
    recipe: Recipe,
    task: Task,
    train: Split,
    given: nn.Module | None,
    known: Source | None,
    tell: Callable[[str], None],
) -> tuple[nn.Module, nn.Module, Source]:
    """Makes the networks of a new or resumed run.

    Args:
        recipe: The settings.
        task: What is classified.
        train: Training images; the start is fitted to the first of them.
        given: The real network, if it was passed in a call.
        known: A resumed run's record of its network; the caller then sets the network's state.
        tell: Called with a line if the last layer is replaced.

    Returns:
        The network to train, the real one, and where they come from.

    Raises:
        RecipeError, CaptureError, BinarizeError: If a network cannot be made, or its weights do not fit.
        CheckpointError: If a resumed run's file or weights have changed.
    """
    source = find_source(recipe.model, known)
    real = real_network(recipe, task, source, given).cpu()  # a copy; training moves it to where it trains
    is_trained = recipe.weights is not None or given is not None
    head = None
    if recipe.weights is not None:
        head = load_weights(real, Path(recipe.weights), len(task.classes))
    if is_trained:
        source = dataclasses.replace(source, weights=digest(real))
    if known is not None and source.weights != known.weights:
        where = recipe.weights or "the network that was passed"
        raise CheckpointError(f"{where} no longer holds the weights that the run started from")
    if head is not None:
        tell(f"the last layer, {head}, is replaced: fitted to the training images, for {len(task.classes)} classes")
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
