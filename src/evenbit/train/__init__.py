"""Training: recipes, the loop, and runs on disk."""

from evenbit.train.checkpoint import Run, load_run, read_checkpoint, torch_predict
from evenbit.train.fine_tuning import finetune
from evenbit.train.loop import Result, train
from evenbit.train.recipe import Recipe, load_recipe

__all__ = [
    "Recipe",
    "Result",
    "Run",
    "finetune",
    "load_recipe",
    "load_run",
    "read_checkpoint",
    "torch_predict",
    "train",
]
