"""Deployment: a trained torch network becomes a Plan."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from evenbit.data.dataset import Split
from evenbit.deploy.capture import capture
from evenbit.deploy.passes import PASSES
from evenbit.deploy.quantize import quantize_float_layers
from evenbit.errors import CheckpointError, RecipeError
from evenbit.models import create_model
from evenbit.nn import resolve_method
from evenbit.nn.trace import image_size
from evenbit.plan import Plan

CALIBRATION_IMAGES = 500


def pack(
    module: nn.Module,
    example: Tensor,
    *,
    classes: Sequence[str] | None = None,
    info: Mapping[str, str] | None = None,
) -> Plan:
    """Turns a network into a Plan: captured with `torch.export`, then simplified by `evenbit.deploy.passes.PASSES`.

    Args:
        module: Any network in eval mode from images `[N, C, H, W]` in [0, 1] to logits `[N, classes]`, or to something
            that holds them under the name `logits`, as Hugging Face's networks do.
        example: Images `[N, C, H, W]`, of which only C, H and W count: the Plan takes images of that size.
        classes: Class names in the order of the logits; their numbers if there are none.
        info: Where the network comes from; kept in the file for people.

    Returns:
        The Plan, checked.

    Raises:
        CaptureError: If the network holds something that cannot be deployed; names the module.
    """
    names = None if classes is None else tuple(classes)
    plan = capture(module, *image_size(example), names, info or {})
    for simplify in PASSES:
        plan = simplify(plan)
        plan.shapes()
    return plan


def pack_run(folder: str | os.PathLike[str]) -> Plan:
    """The Plan of a run's network.

    Raises:
        CheckpointError: If the folder is not that of a run.
        CaptureError: If its network cannot be deployed.
    """
    from evenbit.train import load_run

    path = Path(folder)
    if not path.is_dir():
        raise CheckpointError(f"{path} is not the folder of a run")
    run = load_run(path)
    task = run.task
    info = {"model": run.recipe.model, "method": run.recipe.method, "data": run.recipe.data}
    info |= {"epochs": str(run.epoch), "seed": str(run.recipe.seed)}
    example = torch.zeros(1, task.channels, task.height, task.width)
    return pack(run.model, example, classes=task.classes, info=info)


def calibration_split(folder: str | os.PathLike[str], data_root: str | None = None) -> Split:
    """The first images that a run was trained on, to calibrate 8-bit layers with.

    Raises:
        CheckpointError: If the folder is not that of a run.
        DataError: If its data set cannot be read.
    """
    from evenbit.data import load_dataset
    from evenbit.train import load_run

    recipe = load_run(Path(folder)).recipe
    train = load_dataset(recipe.data, root=data_root, size=recipe.image_size).train
    return Split(train.images[:CALIBRATION_IMAGES], train.labels[:CALIBRATION_IMAGES])


def pack_untrained(model: str, method: str, *, channels: int, size: int, classes: int) -> Plan:
    """The Plan of a network with fresh weights, for benchmarks; its classes are numbers.

    Raises:
        RecipeError: If model or method are unknown, or a number is not positive.
    """
    if min(channels, size, classes) < 1:
        raise RecipeError("channels, size and classes should be at least 1")
    torch.manual_seed(0)
    network = create_model(
        model,
        method=resolve_method(method, {}),
        channels=channels,
        classes=classes,
        height=size,
        width=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    info = {"model": model, "method": method, "data": "none"}
    return pack(network.eval(), torch.zeros(1, channels, size, size), info=info)


__all__ = ["calibration_split", "pack", "pack_run", "pack_untrained", "quantize_float_layers"]
