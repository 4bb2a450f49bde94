"""Data sets as arrays in memory; nothing here needs torch but `evenbit.data.augment`."""

from __future__ import annotations

import os
from pathlib import Path

from evenbit.data.cifar import read_cifar10, read_cifar100
from evenbit.data.dataset import Dataset, Split, channel_statistics
from evenbit.data.digits import read_digits
from evenbit.data.folder import read_folder
from evenbit.data.idx import read_fashion_mnist
from evenbit.errors import DataError

NAMES = ("digits", "cifar10", "cifar100", "fashion-mnist")


def load_dataset(name: str, *, root: str | os.PathLike[str] | None = None, size: int = 32) -> Dataset:
    """A data set by name, or a folder of images by path.

    Args:
        name: One of `NAMES`, or the path of a folder with one subfolder a class.
        root: Where the files of a named data set are; None to use the variable `EVENBIT_DATA`.
        size: Height and width to which the images of a folder are brought.

    Raises:
        DataError: If the data set is unknown, missing or damaged.
    """
    match name:
        case "digits":
            return read_digits()
        case "cifar10":
            return read_cifar10(root)
        case "cifar100":
            return read_cifar100(root)
        case "fashion-mnist":
            return read_fashion_mnist(root)
    if Path(name).is_dir():
        return read_folder(Path(name), size)
    raise DataError(f"no data set '{name}': neither one of {', '.join(NAMES)} nor the path of a folder of images")


__all__ = ["NAMES", "Dataset", "Split", "channel_statistics", "load_dataset"]
