"""Data sets as arrays, in memory if they fit; only `evenbit.data.augment` needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from evenbit.data.cifar import CIFAR10, CIFAR100, read_cifar10, read_cifar100
from evenbit.data.dataset import Dataset, Split, channel_statistics, hold_out
from evenbit.data.digits import read_digits
from evenbit.data.folder import read_folder
from evenbit.data.idx import FASHION_MNIST, read_fashion_mnist
from evenbit.data.svhn import SVHN, read_svhn
from evenbit.data.tiny_imagenet import TINY_IMAGENET, read_tiny_imagenet
from evenbit.errors import DataError

READERS: dict[str, Callable[[str | os.PathLike[str] | None], Dataset]] = {
    "digits": lambda root: read_digits(),
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "fashion-mnist": read_fashion_mnist,
    "svhn": read_svhn,
    "tiny-imagenet": read_tiny_imagenet,
}
"""The readers of the named data sets; each takes the folder that the user gives."""

SOURCES = (CIFAR10, CIFAR100, FASHION_MNIST, SVHN, TINY_IMAGENET)


def load_dataset(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None, size: int = 32) -> Dataset:
    """A data set by name, or a folder of images by path.

    Args:
        name: A key of `READERS`, or the path of a folder with one subfolder per class.
        root: Where the files of a named data set are; None to use the variable `EVENBIT_DATA`.
        size: Height and width to which the images of a folder are resized.

    Raises:
        DataError: If the data set is unknown, missing or damaged.
    """
    name = os.fspath(name)
    if name in READERS:
        return READERS[name](root)
    if Path(name).is_dir():
        return read_folder(Path(name), size)
    if name.startswith(":"):
        raise DataError(f"the run's data, {name[1:]}, were passed in a call, so they have to be passed in a call again")
    known = ", ".join(READERS)
    raise DataError(f"unknown data set '{name}': it has to be one of {known}, or the path of a folder of images")


__all__ = ["READERS", "Dataset", "Split", "channel_statistics", "hold_out", "load_dataset"]
