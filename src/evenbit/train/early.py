"""What can be found wrong with a run before its images are read, which may take minutes."""

from __future__ import annotations

from pathlib import Path

from evenbit.train.checkpoint import read_checkpoint
from evenbit.train.network import Source, find_function, find_source, is_own, is_run
from evenbit.train.recipe import Recipe
from evenbit.train.start import check_model, load_start
from evenbit.train.weights import read_weights


def check_before_reading(recipe: Recipe, known: Source | None) -> None:
    """Opens everything that a recipe names, except its images.

    Args:
        recipe: The settings.
        known: A resumed run's record of what it is made from; its start has been taken over already.

    Raises:
        RecipeError, CheckpointError: If the network's function, the weights, the start or the teacher cannot be read,
            or the start is another network.
    """
    if is_own(recipe.model) and not recipe.model.startswith(":"):
        find_function(recipe.model, find_source(recipe.model, known))
    if recipe.weights is not None:
        read_weights(Path(recipe.weights))
    if recipe.start is not None and known is None:
        check_model(recipe, load_start(recipe.start))
    if is_run(recipe.teacher):
        read_checkpoint(str(recipe.teacher))
