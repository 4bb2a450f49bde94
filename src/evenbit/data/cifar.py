"""CIFAR-10 and CIFAR-100 in their official binary layout.

A record is one label byte (CIFAR-10) or a coarse and a fine label byte (CIFAR-100), then 3,072 bytes: red, green and
blue plane, each row by row. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from evenbit.data.dataset import Dataset, Split
from evenbit.data.locate import Source
from evenbit.errors import DataError

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)"
PIXELS = 3 * 32 * 32
TRAIN_FILES = tuple(f"data_batch_{index}.bin" for index in range(1, 6))
CIFAR10 = Source("cifar10", "cifar-10-batches-bin", (*TRAIN_FILES, "test_batch.bin", "batches.meta.txt"), PAGE)
CIFAR100 = Source("cifar100", "cifar-100-binary", ("train.bin", "test.bin", "fine_label_names.txt"), PAGE)


def read_cifar10(root: str | os.PathLike[str] | None) -> Dataset:
    """60,000 images of 32x32 in 10 classes, 10,000 of them for testing.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = CIFAR10.locate(root)
    classes = _names(folder / "batches.meta.txt", 10)
    parts = [_read(folder / file, 10_000, (10,)) for file in TRAIN_FILES]
    joined = Split(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))
    return Dataset("cifar10", classes, joined, _read(folder / "test_batch.bin", 10_000, (10,)))


def read_cifar100(root: str | os.PathLike[str] | None) -> Dataset:
    """60,000 images of 32x32 in 100 classes, 10,000 of them for testing.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = CIFAR100.locate(root)
    classes = _names(folder / "fine_label_names.txt", 100)
    train = _read(folder / "train.bin", 50_000, (20, 100))
    return Dataset("cifar100", classes, train, _read(folder / "test.bin", 10_000, (20, 100)))


def _names(path: Path, count: int) -> tuple[str, ...]:
    names = tuple(path.read_text(encoding="utf-8", errors="replace").split())
    if len(names) != count:
        raise DataError(f"{path} should hold {count} class names, but holds {len(names)}")
    return names


def _read(path: Path, count: int, classes: tuple[int, ...]) -> Split:
    """Records of a file; `classes` is the number of classes of each label byte, and the last byte is the label."""
    size = len(classes) + PIXELS
    if path.stat().st_size != count * size:
        raise DataError(f"{path} should have {count * size} bytes, but has {path.stat().st_size}")
    records = np.fromfile(path, np.uint8).reshape(count, size)
    labels, pixels = records[:, : len(classes)], records[:, len(classes) :]
    for highest, limit in zip(labels.max(0), classes, strict=True):
        if highest >= limit:
            raise DataError(f"{path} holds the label {highest}, but there are {limit} classes")
    return Split(np.ascontiguousarray(pixels).reshape(count, 3, 32, 32), labels[:, -1].astype(np.int64))
