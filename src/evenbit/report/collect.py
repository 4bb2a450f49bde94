"""Everything that a report says about its runs: measured now, or read from their folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evenbit import plan_file
from evenbit.confidence import calibrated
from evenbit.data import READERS, hold_out, load_dataset
from evenbit.data.dataset import Images, Split
from evenbit.deploy import pack_network
from evenbit.errors import CaptureError, CheckpointError, ExportError, RecipeError
from evenbit.evaluation import Evaluation, evaluate
from evenbit.export.c.size import Memory, memory_of
from evenbit.plan import Plan
from evenbit.printable import printable
from evenbit.report.layers import BinaryLayer, observe_layers
from evenbit.summary import Row, summarize, total
from evenbit.train import Run, load_run, torch_predict
from evenbit.train.augmented import augmented
from evenbit.train.checkpoint import to_float
from evenbit.train.metrics import read_metrics
from evenbit.train.probes import check_number

LAYER_BATCH = 100
SHOWN, SHOWN_TIMES = 6, 4  # training images, and augmented copies of each


@dataclass(frozen=True)
class Packed:
    """A run's network as a Plan.

    Attributes:
        plan: The Plan.
        bytes: Size of its file.
        rows: One for each op.
        sums: Multiply-adds and bytes, 1-bit and float.
        memory: Flash and RAM of the exported C; None if an op has no kernel in C.
    """

    plan: Plan
    bytes: int
    rows: list[Row]
    sums: dict[str, int]
    memory: Memory | None


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        label: What the report calls it.
        folder: Its folder, as the user gave it.
        run: Its network, recipe and origin.
        metrics: What was recorded after each epoch; empty if the folder has no record of them.
        evaluation: Its answers to the measured images, compared with the labels.
        layers: Its binary layers by name.
        packed: Its packed form, or why there is none.
    """

    label: str
    folder: Path
    run: Run
    metrics: list[dict[str, Any]]
    evaluation: Evaluation
    layers: dict[str, BinaryLayer]
    packed: Packed | str


@dataclass(frozen=True)
class Comparison:
    """All runs of a report, on the same images.

    Attributes:
        runs: The runs, in the order in which they were named.
        images: The measured images.
        shown: Some training images as the first run sees them, `[times, N, C, H, W]`.
        part: The part of the data that `images` are: "test" or "validation".
        observed: How many of `images`, from the first on, the layers were observed on.
    """

    runs: list[Measured]
    images: Split
    shown: Images
    part: str
    observed: int


def collect(
    folders: Sequence[Path], *, data_root: str | None, images: int, tell: Callable[[str], object]
) -> Comparison:
    """Reads and measures runs.

    Args:
        folders: Folders of the runs; at least one.
        data_root: Where the files of a named data set are.
        images: How many of the measured images to observe the layers on.
        tell: Called with a line before each run is measured.

    Raises:
        CheckpointError, DataError: If a run or its data cannot be read.
        RecipeError: If no run is named, or one twice, or the runs were not measured on the same images.
    """
    if not folders:
        raise RecipeError("name the folder of at least one run")
    for index, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:index]]:
            raise RecipeError(f"{folder} is named twice")
    check_number(images)
    runs = [load_run(folder) for folder in folders]
    for folder, run in zip(folders[1:], runs[1:], strict=True):
        _check_same_task(folders[0], runs[0], folder, run)
    recipe = runs[0].recipe
    dataset = load_dataset(runs[0].data, root=data_root, size=recipe.image_size)
    if recipe.validation:
        dataset = hold_out(dataset, recipe.validation)
    if (dataset.classes, dataset.shape) != (runs[0].task.classes, _shape(runs[0])):
        raise CheckpointError(f"{recipe.data} has changed since {folders[0]} was trained on it")
    measured = []
    for label, folder, run in zip(_labels(folders), folders, runs, strict=True):
        tell(f"measuring {folder}: {run.recipe.model}, {run.recipe.method}, {run.epoch} of {run.recipe.epochs} epochs")
        measured.append(_measure(label, folder, run, dataset.test, images))
    part = "validation" if recipe.validation else "test"
    shown = augmented(recipe, dataset.train.images[:SHOWN], SHOWN_TIMES)
    return Comparison(measured, dataset.test, shown, part, min(images, len(dataset.test)))


def _measure(label: str, folder: Path, run: Run, split: Split, images: int) -> Measured:
    evaluation = calibrated(evaluate(torch_predict(run.model), split, classes=run.task.classes))
    batches = map(to_float, torch.split(torch.from_numpy(split.images[:images]), LAYER_BATCH))
    try:
        plan = pack_network(run)
        rows = summarize(plan)
        packed: Packed | str = Packed(plan, len(plan_file.to_bytes(plan)), rows, total(rows), _memory(plan))
    except CaptureError as error:
        packed = str(error)
    return Measured(
        label=label,
        folder=folder,
        run=run,
        metrics=read_metrics(folder, run.epoch),
        evaluation=evaluation,
        layers=observe_layers(run.model, batches),
        packed=packed,
    )


def _memory(plan: Plan) -> Memory | None:
    try:
        return memory_of(plan)
    except ExportError:
        return None


def _labels(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parent folders as it takes to tell all apart."""
    paths = [folder.resolve().parts for folder in folders]
    depth = 1
    while len({path[-depth:] for path in paths}) < len(paths):
        depth += 1
    return [printable("/".join(path[-depth:])) for path in paths]


def _check_same_task(first: Path, one: Run, second: Path, other: Run) -> None:
    for key in ("data", "image_size", "validation"):
        here, there = getattr(one.recipe, key), getattr(other.recipe, key)
        same = _place(one) == _place(other) if key == "data" else here == there
        if not same:
            raise RecipeError(
                f"a report compares runs on the same images, but {key} is {here!r} in {first} and {there!r} in {second}"
            )
    if one.task != other.task:
        raise RecipeError(f"{first} and {second} were trained on different data, both named {one.recipe.data}")


def _place(run: Run) -> str | Path:
    """Name of the data set, or the folder however it is spelled."""
    return run.data if run.data in READERS else Path(run.data).resolve()


def _shape(run: Run) -> tuple[int, int, int]:
    return run.task.channels, run.task.height, run.task.width
