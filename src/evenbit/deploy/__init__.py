"""Deployment: a trained torch network becomes a Plan."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from evenbit.data.dataset import Split
from evenbit.deploy.capture import capture
from evenbit.deploy.passes import PASSES
from evenbit.deploy.quantize import quantize_float_layers
from evenbit.errors import CaptureError, CheckpointError, RecipeError
from evenbit.evaluation import batch_for
from evenbit.models import create_model
from evenbit.nn import freeze_excitation, resolve_method
from evenbit.nn.conversion.trace import image_size
from evenbit.plan import Plan
from evenbit.printable import is_text
from evenbit.progress import Report

if TYPE_CHECKING:
    from evenbit.train import Run

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
        module: Any network in eval mode from images `[N, C, H, W]` in [0, 1] to logits `[N, classes]`, to maps of them
            `[N, classes, H', W']`, or to something that holds them under the name `logits`, as Hugging Face's do.
        example: Images `[N, C, H, W]`, of which only C, H and W count: the Plan takes images of that size. Sequences
            `[N, C, L]` become images of height 1.
        classes: Class names in the order of the logits; their numbers if there are none.
        info: Where the network comes from; kept in the file for people.

    Returns:
        The Plan, checked.

    Raises:
        CaptureError: If the network holds something that cannot be deployed, which names the module, or a class or a
            fact is neither text, a number nor a path.
    """
    if isinstance(classes, str):
        raise CaptureError(f"classes should be a list of names, but is the text '{classes}'")
    names = None if classes is None else tuple(_text("a class", name) for name in classes)
    facts = {_text("a key of info", key): _text(f"info '{key}'", value) for key, value in (info or {}).items()}
    plan = capture(module, image_size(example), names, facts)
    for simplify in PASSES:
        plan = simplify(plan)
        plan.shapes()
    return plan


def _text(what: str, value: object) -> str:
    """A name or fact as text."""
    if isinstance(value, str | int | float | np.integer | np.floating | os.PathLike) and is_text(str(value)):
        return str(value)
    raise CaptureError(f"{what} should be text, but is {value!r}")


def pack_run(folder: str | os.PathLike[str], *, freeze_on: Split | None = None, progress: Report | None = None) -> Plan:
    """The Plan of a run's network.

    Args:
        folder: Of the run.
        freeze_on: If given, images over which each excitation is averaged into a constant
            (`evenbit.nn.freeze_excitation`).
        progress: Called before each batch of these with the number of images done and of all.

    Raises:
        CheckpointError: If the folder is not that of a run.
        CaptureError: If its network cannot be deployed.
    """
    from evenbit.train import load_run

    path = Path(folder)
    if not path.is_dir():
        raise CheckpointError(f"{path} is not the folder of a run")
    return pack_network(load_run(path), freeze_on=freeze_on, progress=progress)


def pack_network(run: Run, *, freeze_on: Split | None = None, progress: Report | None = None) -> Plan:
    """The Plan of the network of a run that is loaded; see `pack_run`.

    Raises:
        CaptureError: If the network cannot be deployed.
    """
    from evenbit.train.checkpoint import to_float

    task = run.task
    info = {"model": run.recipe.model, "method": run.recipe.method, "data": run.recipe.data}
    info |= {"epochs": str(run.epoch), "seed": str(run.recipe.seed)}
    example = torch.zeros(1, task.channels, task.height, task.width)
    model = run.model
    if freeze_on is not None:
        model = freeze_excitation(model, map(to_float, _batches(freeze_on, progress)))
    return pack(model, example, classes=task.classes, info=info)


def _batches(split: Split, progress: Report | None) -> Iterator[Tensor]:
    """The images in batches."""
    batch = batch_for(split.images)
    for start in range(0, len(split), batch):
        if progress is not None:
            progress(start, len(split))
        yield torch.from_numpy(split.images[start : start + batch])


def calibration_split(
    folder: str | os.PathLike[str], data_root: str | None = None, images: int = CALIBRATION_IMAGES
) -> Split:
    """The first images that a run was trained on, to calibrate 8-bit layers or freeze excitations with.

    Args:
        folder: Of the run.
        data_root: Where the files of a named data set are.
        images: How many, if there are as many.

    Raises:
        CheckpointError: If the folder is not that of a run.
        DataError: If its data set cannot be read.
    """
    from evenbit.data import hold_out, load_dataset
    from evenbit.train import load_run

    recipe = load_run(Path(folder)).recipe
    dataset = load_dataset(recipe.data, root=data_root, size=recipe.image_size)
    train = hold_out(dataset, recipe.validation).train if recipe.validation else dataset.train
    return Split(train.images[:images], train.labels[:images])


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
    info = {"model": model, "method": method}
    return pack(network.eval(), torch.zeros(1, channels, size, size), info=info)


__all__ = ["calibration_split", "pack", "pack_network", "pack_run", "pack_untrained", "quantize_float_layers"]
