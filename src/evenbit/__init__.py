"""evenbit: binary neural networks guided by their features.

Train in PyTorch, pack to bits, run the bits on a small C++ engine. Names that need torch are imported on first use, so
that `import evenbit` and running a packed file do not load it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenbit.data import load_dataset
    from evenbit.deploy import pack
    from evenbit.errors import EvenbitError
    from evenbit.models import create_model, register_model
    from evenbit.nn import (
        METHODS,
        BinaryConv2d,
        BinaryLinear,
        Method,
        binarize,
        keep_latent_weights_within_reach,
        latent_weights,
        set_progress,
    )
    from evenbit.plan import Plan
    from evenbit.plan_file import load, save
    from evenbit.runtime.engine import Engine
    from evenbit.train import Recipe, finetune, load_recipe, load_run

_PACKAGES = ("data", "deploy", "export", "models", "nn", "ops", "report", "runtime", "train")

_HOMES = {
    "BinaryConv2d": "evenbit.nn",
    "BinaryLinear": "evenbit.nn",
    "Engine": "evenbit.runtime.engine",
    "EvenbitError": "evenbit.errors",
    "METHODS": "evenbit.nn",
    "Method": "evenbit.nn",
    "Plan": "evenbit.plan",
    "Recipe": "evenbit.train",
    "binarize": "evenbit.nn",
    "create_model": "evenbit.models",
    "finetune": "evenbit.train",
    "keep_latent_weights_within_reach": "evenbit.nn",
    "latent_weights": "evenbit.nn",
    "load": "evenbit.plan_file",
    "load_dataset": "evenbit.data",
    "load_recipe": "evenbit.train",
    "load_run": "evenbit.train",
    "pack": "evenbit.deploy",
    "register_model": "evenbit.models",
    "save": "evenbit.plan_file",
    "set_progress": "evenbit.nn",
}

__all__ = [
    "METHODS",
    "BinaryConv2d",
    "BinaryLinear",
    "Engine",
    "EvenbitError",
    "Method",
    "Plan",
    "Recipe",
    "binarize",
    "create_model",
    "finetune",
    "keep_latent_weights_within_reach",
    "latent_weights",
    "load",
    "load_dataset",
    "load_recipe",
    "load_run",
    "pack",
    "register_model",
    "save",
    "set_progress",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:  # so that `evenbit.train.train` is there without a second import
        return importlib.import_module(f"evenbit.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'evenbit' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
