"""A folder of images, one subfolder a class.

photos/cat/1.jpg  photos/dog/2.png ...                      a fixed fifth of each class is for testing
photos/train/cat/1.jpg ...  photos/test/cat/2.jpg ...       as it is laid out; `val` may stand for `test`
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evenbit.data.dataset import Dataset, Split, stratified_split
from evenbit.errors import DataError, InputError
from evenbit.images import SUFFIXES, load_image

TEST_SHARE = 0.2
LEAST_IMAGES = 2  # of a class, so that both parts of the split have one


def read_folder(folder: Path, size: int) -> Dataset:
    """Every image of a folder as RGB of `size` x `size`, classes in the order of their names.

    Hidden files, files whose suffix is not in `SUFFIXES` and folders inside a class folder are passed over.

    Raises:
        DataError: If there are fewer than two classes, a class has too few images, or an image cannot be read.
    """
    for test in ("test", "val"):
        if (folder / "train").is_dir() and (folder / test).is_dir():
            classes = _classes(folder / "train")
            if _classes(folder / test) != classes:
                raise DataError(f"{folder}: the classes in {test}/ differ from those in train/")
            return Dataset(
                str(folder), classes, _read(folder / "train", classes, 1, size), _read(folder / test, classes, 1, size)
            )
    classes = _classes(folder)
    everything = _read(folder, classes, LEAST_IMAGES, size)
    parts = stratified_split(everything.labels, TEST_SHARE)
    train, test_split = (Split(everything.images[part], everything.labels[part]) for part in parts)
    return Dataset(str(folder), classes, train, test_split)


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")))
    if len(names) < 2:
        raise DataError(f"{folder} should hold one subfolder for each of at least two classes, but holds {len(names)}")
    return names


def _read(folder: Path, classes: tuple[str, ...], least: int, size: int) -> Split:
    images, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(
            path
            for path in (folder / name).iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        if len(paths) < least:
            raise DataError(f"class folder {folder / name} holds {len(paths)} images; it needs at least {least}")
        for path in paths:
            try:
                images.append(load_image(path, 3, size, size))
            except InputError as error:
                raise DataError(str(error)) from None
            labels.append(label)
    return Split(np.stack(images), np.array(labels, np.int64))
