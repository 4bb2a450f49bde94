"""Deployment: a trained torch network becomes a Plan."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from evenbit.data.dataset import Dataset, Split
from evenbit.deploy.capture import capture
from evenbit.deploy.passes import PASSES
from evenbit.deploy.quantize import quantize_float_layers
from evenbit.errors import CaptureError, CheckpointError, DataError, RecipeError
from evenbit.evaluation import batch_for
from evenbit.models import create_model
from evenbit.nn import freeze_excitation
from evenbit.nn.trace import image_size
from evenbit.ops import MAX_ELEMENTS
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
            `[N, classes, H', W']`, or to something that holds them under the name `logits`, as Hugging Face's networks
            do. A softmax over the classes at the end, or its logarithm, is left out.
        example: Images `[N, C, H, W]`, of which only C, H and W count: the Plan takes images of this size. Sequences
            `[N, C, L]` become images of height 1.
        classes: Class names in the order of the logits; None names the classes by their numbers.
        info: Where the network comes from; kept in the file for people.

    Returns:
        The Plan, checked.

    Raises:
        CaptureError: If the network holds something that cannot be deployed (the message names the module), or a class
            name or a value of `info` is neither text, a number nor a path.
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
        folder: Folder of the run.
        freeze_on: If given, images over which each excitation is averaged into a constant
            (`evenbit.nn.freeze_excitation`).
        progress: Called before each batch of these images, with the number of images done and their total.

    Raises:
        CheckpointError: If the folder holds no run.
        CaptureError: If its network cannot be deployed.
    """
    from evenbit.train import load_run

    path = Path(folder)
    if not path.is_dir():
        raise CheckpointError(f"{path} is not the folder of a run")
    return pack_network(load_run(path), freeze_on=freeze_on, progress=progress)


def pack_network(run: Run, *, freeze_on: Split | None = None, progress: Report | None = None) -> Plan:
    """The Plan of the network of a loaded run; see `pack_run`.

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
    """The first training images of a run, to calibrate 8-bit layers or to freeze excitations.

    Args:
        folder: Folder of the run.
        data_root: Where the files of a named data set are.
        images: How many images, at most.

    Raises:
        CheckpointError: If the folder holds no run.
        DataError: If its data set cannot be read.
    """
    train = run_dataset(folder, data_root).train
    return Split(train.images[:images], train.labels[:images])


def run_dataset(folder: str | os.PathLike[str], data_root: str | None = None) -> Dataset:
    """The data of a run as it was trained on them: with the images held out for validation, if any, in `test`.

    Args:
        folder: Folder of the run.
        data_root: Where the files of a named data set are.

    Raises:
        CheckpointError: If the folder holds no run.
        DataError: If its data set cannot be read or has changed.
    """
    from evenbit.data import hold_out, load_dataset
    from evenbit.train import load_run

    run = load_run(Path(folder))
    dataset = load_dataset(run.data, root=data_root, size=run.recipe.image_size)
    if (dataset.classes, dataset.shape) != (run.task.classes, (run.task.channels, run.task.height, run.task.width)):
        raise DataError(f"{run.data} has changed since {folder} was trained on it")
    return hold_out(dataset, run.recipe.validation) if run.recipe.validation else dataset


def pack_untrained(model: str, method: str = "fd", *, channels: int = 3, size: int = 32, classes: int = 10) -> Plan:
    """The Plan of a network with fresh weights, for benchmarks; its classes are numbers.

    Raises:
        RecipeError: If the model or the method is unknown, or a number is not positive or makes too large a network.
    """
    if min(channels, size, classes) < 1:
        raise RecipeError("channels, size and classes should be at least 1")
    if max(channels * size * size, classes) > MAX_ELEMENTS:
        raise RecipeError(f"a network takes at most {MAX_ELEMENTS:,} numbers and gives at most as many classes")
    shape: dict[str, Any] = {"channels": channels, "classes": classes, "height": size, "width": size}
    with torch.device("meta"):  # so that no memory is needed to see how large it would be
        largest = max(parameter.numel() for parameter in create_model(model, method=method, **shape).parameters())
    if largest > MAX_ELEMENTS:
        raise RecipeError(f"a layer of {model} would have {largest:,} weights, more than {MAX_ELEMENTS:,}")
    torch.manual_seed(0)
    network = create_model(model, method=method, **shape)
    info = {"model": model, "method": method}
    return pack(network.eval(), torch.zeros(1, channels, size, size), info=info)


__all__ = [
    "calibration_split",
    "pack",
    "pack_network",
    "pack_run",
    "pack_untrained",
    "quantize_float_layers",
    "run_dataset",
]
