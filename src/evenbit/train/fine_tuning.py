"""`evenbit.finetune`: from a trained real network to a trained binary one, with the usual training loop."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from evenbit.data import READERS, Dataset
from evenbit.errors import DataError, RecipeError
from evenbit.progress import Report
from evenbit.train.loader import Loader, loader_dataset
from evenbit.train.loop import Given, Result, train
from evenbit.train.network import SELF
from evenbit.train.recipe import load_recipe

LOADER = ":DataLoader"  # instead of a data set's name


def finetune(
    network: nn.Module | Callable[..., nn.Module] | str,
    data: str | Path | Dataset | Iterable[Any],
    *,
    out: str | Path,
    test: Iterable[Any] | None = None,
    classes: Sequence[str] | int | None = None,
    weights: str | Path | None = None,
    teacher: nn.Module | str | Path | None = SELF,
    method: str = "fd",
    keep: Sequence[str] = ("first", "last"),
    recipe: str | Path | None = None,
    data_root: str | None = None,
    resume: bool = False,
    console: Console | None = None,
    progress: Report | None = None,
    **settings: Any,
) -> Result:
    """Makes a binary network from a trained real one and trains it.

    Before training, the binary network is fitted to the real one on a few hundred training images
    (`evenbit.nn.conversion.fit`). The real one is its teacher. The run is a folder like that of any other run.

    Args:
        network: A real network with its trained weights, which takes images `[N, C, H, W]` in [0, 1] and gives logits;
            or a function in a file that makes it, or the function's name: `"my_file.py:make_model"` or
            `"my_module:make_model"`. With a function, the run can be opened from its folder alone. If the function has
            a parameter `classes`, it is given the number of classes.
        data: A data set, its name, a folder of images, or a `DataLoader` of (images, labels) to train on: images
            `[N, C, H, W]`, uint8 or floating point in [0, 1], labels whole numbers.
        out: Folder of the run; must not exist, or be empty, unless the run is resumed.
        test: A `DataLoader` to measure on, if `data` is one.
        classes: Names or number of the classes, if `data` is a `DataLoader`; by default the `classes` of its data set.
        weights: A safetensors file with the real network's weights, or the folder of its run; for a function, and for a
            network whose weights are not set yet. If they were trained for other classes, the last layer is replaced.
        teacher: "self" for the real network; or another network, the folder of a run, or None.
        method: Name of a binarization method.
        keep: Layers that stay real; see `evenbit.binarize`.
        recipe: A recipe file, or the name of one that comes with evenbit, for all other settings.
        data_root: Where the files of a named data set are.
        resume: Continue after the last finished epoch of the run in `out`.
        console: Where each epoch's line is printed.
        progress: Called now and then with the number of steps done and their total.
        **settings: Any other key of a recipe, such as `epochs=10`.

    Returns:
        The run's folder, its accuracy, and the trained network, which `evenbit.pack` takes.

    Raises:
        RecipeError: If a setting, the network, its weights or the teacher cannot be used.
        DataError: If the data cannot be used; the message names the batch.
        CaptureError, BinarizeError: If the network cannot be made binary.
        CheckpointError, TrainingError: See `evenbit.train.train`.
    """
    module = network if isinstance(network, nn.Module) else None
    values: dict[str, Any] = {"model": _name(network), "method": method, "keep": list(keep), **settings}
    if weights is not None:
        values["weights"] = str(weights)
    values["teacher"] = f":{type(teacher).__name__}" if isinstance(teacher, nn.Module) else teacher and str(teacher)
    if isinstance(data, Dataset):
        values["data"] = data.name if data.name in READERS else f":{data.name}"
    else:
        values["data"] = str(data) if isinstance(data, str | Path) else LOADER
    chosen = load_recipe(recipe, values)
    dataset = data if isinstance(data, Dataset) else None
    loader = None
    if not isinstance(data, str | Path | Dataset):
        loader = Loader(data, "DataLoader")
        if chosen.validation:
            raise RecipeError("validation is for data sets; with a DataLoader, pass batches to measure on as `test`")
        if chosen.class_weights:
            raise RecipeError("class weights are for data sets; give the DataLoader a WeightedRandomSampler instead")
        dataset = _dataset(loader, test, classes, chosen.seed)
    if (test is not None or classes is not None) and loader is None:
        raise DataError("`test` and `classes` go with a DataLoader; a data set has its own")
    own_teacher = copy.deepcopy(teacher) if isinstance(teacher, nn.Module) else None
    given = Given(module, own_teacher, dataset, loader)
    return train(chosen, Path(out), data_root=data_root, resume=resume, console=console, progress=progress, given=given)


def _name(network: nn.Module | Callable[..., nn.Module] | str) -> str:
    """The network's name in a recipe."""
    if isinstance(network, str):
        return network
    if isinstance(network, nn.Module):
        return f":{type(network).__name__}"
    name = getattr(network, "__qualname__", "")
    try:
        file = inspect.getsourcefile(network)
    except TypeError:
        file = None
    if not name.isidentifier() or file is None or not Path(file).is_file():
        raise RecipeError(
            "a function that makes a network should be in a Python file, outside other functions; or pass the network "
            "itself"
        )
    return f"{file}:{name}"


def _dataset(loader: Loader, test: Iterable[Any] | None, classes: Sequence[str] | int | None, seed: int) -> Dataset:
    if test is None:
        raise DataError("a DataLoader to train on needs another one to measure on: test=...")
    if classes is None:
        classes = getattr(getattr(loader.batches, "dataset", None), "classes", None)
    if classes is None:
        raise DataError("name the classes, such as classes=('cat', 'dog'), or give their number, such as classes=2")
    return loader_dataset(LOADER, loader, Loader(test, "DataLoader for testing"), classes, seed)
