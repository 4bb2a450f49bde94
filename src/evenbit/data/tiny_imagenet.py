"""Tiny ImageNet as it is unpacked: 200 classes of 500 images of 64x64 to train on, and 10,000 to test on.

train/n01443537/images/*.JPEG            a folder for each class, named by its WordNet number
val/images/*.JPEG                        all together,
val/val_annotations.txt                  which says the class of each: file, tab, WordNet number, tab, ...

The labels of its part `test` were never published, so `val` is used for testing. Le and Yang, Tiny ImageNet visual
recognition challenge, 2015.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from evenbit.data.dataset import Dataset
from evenbit.data.folder import Part, joined, read_parts
from evenbit.data.locate import Source
from evenbit.errors import DataError

PAGE = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
FILES = ("wnids.txt", "val/val_annotations.txt")
SIZE = 64
TINY_IMAGENET = Source("tiny-imagenet", "tiny-imagenet-200", FILES, PAGE)


def read_tiny_imagenet(root: str | os.PathLike[str] | None) -> Dataset:
    """110,000 images of 64x64 in 200 classes, 10,000 of them for testing; classes in the order of `wnids.txt`.

    The training images are in a mixed order.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = TINY_IMAGENET.locate(root)
    classes = tuple((folder / "wnids.txt").read_text(encoding="utf-8", errors="replace").split())
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(f"{folder / 'wnids.txt'} should name at least two different classes")
    for name in classes:
        if not re.fullmatch("n[0-9]{1,16}", name):  # it becomes part of a path
            raise DataError(f"{folder / 'wnids.txt'} names '{name[:40]}', which is not a WordNet number")
    train = joined([sorted((folder / "train" / name / "images").glob("*.JPEG")) for name in classes])
    if len(set(train.labels)) < len(classes):
        raise DataError(f"{folder / 'train'} has no images of some classes of wnids.txt")
    return read_parts("tiny-imagenet", classes, train.mixed(), _annotated(folder / "val", classes), SIZE)


def _annotated(folder: Path, classes: Sequence[str]) -> Part:
    path = folder / "val_annotations.txt"
    labels = {name: label for label, name in enumerate(classes)}
    paths, found = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        file, *rest = line.split("\t")
        if not rest or rest[0] not in labels:
            raise DataError(f"{path}, line {number}, names no class of wnids.txt")
        paths.append(folder / "images" / Path(file).name)
        found.append(labels[rest[0]])
    if not found:
        raise DataError(f"{path} is empty")
    return Part(tuple(paths), tuple(found))
