"""A data set that somebody made of their own arrays, checked before anything is trained on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from evenbit.data.dataset import Dataset, Split
from evenbit.data.image_files import ImageFiles
from evenbit.errors import DataError


def checked(dataset: Dataset, *, measured: bool = True) -> Dataset:
    """The data set with its labels as int64 and its class names as text.

    Args:
        dataset: The data set.
        measured: Whether its test images are used; else they are not looked at.

    Raises:
        DataError: If a part has no image, images are not `[N, C, H, W]` of uint8 or not all of one size, or a label is
            not the number of a class; the message names the part.
    """
    names = class_names(dataset.classes)
    train = _checked(dataset.train, len(names), f"{dataset.name}: the training images")
    if not measured:
        return dataclasses.replace(dataset, classes=names, train=train)
    test = _checked(dataset.test, len(names), f"{dataset.name}: the test images")
    here, there = train.images.shape[1:], test.images.shape[1:]
    if here != there:
        raise DataError(f"{dataset.name}: training images are {_size(here)}, but test images are {_size(there)}")
    return dataclasses.replace(dataset, classes=names, train=train, test=test)


def class_names(classes: Sequence[object]) -> tuple[str, ...]:
    """The names as text.

    Raises:
        DataError: If there are none, or they are one text.
    """
    if isinstance(classes, str):
        raise DataError(f"classes should be a list of names, but is the text '{classes}'")
    if not len(classes):
        raise DataError("there are no classes")
    return tuple(map(str, classes))


def _checked(split: Split, classes: int, part: str) -> Split:
    images, labels = split.images, np.asarray(split.labels)
    if not isinstance(images, ImageFiles) and (not isinstance(images, np.ndarray) or images.dtype != np.uint8):
        found = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{part} should be a numpy array of uint8, with levels from 0 to 255, but are {found}")
    if len(images.shape) != 4:
        raise DataError(f"{part} should have the shape N x C x H x W, but have {_size(images.shape)}")
    if not len(images):
        raise DataError(f"{part}: there are none")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        kind = f"{labels.dtype} of the shape {_size(labels.shape)}"
        raise DataError(f"{part} need a whole number for each of the {len(images)} as labels, but have {kind}")
    for label in (int(labels.min()), int(labels.max())):
        if not 0 <= label < classes:
            raise DataError(f"{part} have the label {label}, but the classes are 0 to {classes - 1}")
    return dataclasses.replace(split, labels=labels.astype(np.int64))


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
