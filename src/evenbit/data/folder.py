"""A folder of images, one subfolder per class.

photos/cat/1.jpg  photos/dog/2.png ...                      about a fifth of each class is for testing
photos/train/cat/1.jpg ...  photos/test/cat/2.jpg ...       split as laid out; for other names of the two folders see
                                                            `TRAIN_FOLDERS` and `TEST_FOLDERS`, upper or lower case

If the folder is not laid out in two parts, the SHA-256 digest of an image's file decides: as a fraction in [0, 1), a
digest below `TEST_SHARE` means testing. So an image stays in its part when others are added, removed or renamed, and
copies of an image are in the same part. Only if less than `LEAST_SHARE` of a class or more than `MOST_SHARE`
would be for testing, as happens by chance in small classes, the images whose digests are nearest to the limit change
sides.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenbit.data.dataset import Dataset, Split, mixed
from evenbit.data.image_files import ImageFiles, read_if_it_fits
from evenbit.errors import DataError
from evenbit.images import describe_passed_over, is_image
from evenbit.printable import counted, is_text

TRAIN_FOLDERS = ("train", "training")
TEST_FOLDERS = ("test", "val", "valid", "validation")
TEST_SHARE = 0.2
LEAST_SHARE, MOST_SHARE = 1 / 8, 3 / 10  # of a class, so that small classes are not without a fair test by chance
MOST_NAMED = 3  # of folders, in an error
LEAST_IMAGES = 2  # of a class, so that both parts of the split have one


@dataclass(frozen=True)
class Part:
    """Files of images with their classes.

    Attributes:
        paths: The files.
        labels: For each file the number of its class.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    def mixed(self) -> Part:
        """The same files in a fixed random order, so that the first ones are of all classes."""
        order = mixed(len(self.paths))
        return Part(tuple(self.paths[i] for i in order), tuple(self.labels[i] for i in order))


def read_folder(folder: Path, size: int) -> Dataset:
    """Every image of a folder as RGB of `size` x `size`; classes are sorted by name, images are in a mixed order.

    Raises:
        DataError: If `list_folder` raises it, or images cannot be read; the message names them.
    """
    classes, train, test = list_folder(folder)
    dataset = read_parts(str(folder), classes, train.mixed(), test.mixed(), size)
    return dataclasses.replace(dataset, passed_over=passed_over({path.parent for path in train.paths + test.paths}))


def passed_over(folders: Iterable[Path]) -> tuple[Path, ...]:
    """The files in class folders that are neither images nor hidden."""
    files = sorted(path for folder in folders for path in folder.iterdir() if not path.name.startswith("."))
    return tuple(path for path in files if not is_image(path) and path.is_file())


def read_parts(name: str, classes: tuple[str, ...], train: Part, test: Part, size: int) -> Dataset:
    """The data set of listed files, which are read into memory if they fit.

    Raises:
        DataError: If images cannot be read; the message names them.
    """
    images = read_if_it_fits([ImageFiles(part.paths, size) for part in (train, test)])
    labels = [np.array(part.labels, np.int64) for part in (train, test)]
    return Dataset(name, classes, *map(Split, images, labels, [train.paths, test.paths]))


def list_folder(folder: Path) -> tuple[tuple[str, ...], Part, Part]:
    """The classes of a folder, its images to train on and those to test on.

    Hidden files, files that are not images (`evenbit.images.is_image`), and folders inside a class folder are
    skipped.

    Raises:
        DataError: If there are fewer than two classes, a class has too few images, or the parts differ in their
            classes.
    """
    inside = sorted(item.name for item in folder.iterdir() if item.is_dir())
    laid_out = [[name for name in inside if name.lower() in names] for names in (TRAIN_FOLDERS, TEST_FOLDERS)]
    if all(laid_out):
        train, test = (names[0] for names in laid_out)
        classes = _classes(folder / train, is_part=True)
        if differing := sorted(set(_classes(folder / test, is_part=True)) ^ set(classes)):
            raise DataError(f"{folder}: {', '.join(differing[:MOST_NAMED])} should be in both {train}/ and {test}/")
        both = (joined([_files(folder / part / name, 1) for name in classes]) for part in (train, test))
        return classes, next(both), next(both)
    for name in laid_out[0]:
        if any(item.is_dir() for item in (folder / name).iterdir()):
            others = ", ".join(f"{other}/" for other in TEST_FOLDERS)
            raise DataError(f"{folder} holds {name}/ with folders in it, but none of {others} beside it for testing")
    classes = _classes(folder)
    sides = [_divided(_files(folder / name, LEAST_IMAGES)) for name in classes]
    return classes, joined([train for train, _ in sides]), joined([test for _, test in sides])


def _classes(folder: Path, *, is_part: bool = False) -> tuple[str, ...]:
    """Names of the class folders in a folder: the one that was given, or its part for training or testing."""
    names = _folders_in(folder)
    if len(names) < 2:
        hint = ""
        if any(map(is_image, folder.iterdir())):
            of_part = "sort them into folders of their classes, or give a folder that holds class folders alone"
            hint = f"; it holds images: {of_part if is_part else f'give the folder above it, {folder.parent}'}"
        raise DataError(
            f"{folder} should hold one subfolder for each of at least two classes, but holds {len(names)}{hint}"
        )
    for name in names:
        if not is_text(name):
            raise DataError(f"the name of the class folder {folder / name} is not UTF-8; rename it")
    return names


def _files(folder: Path, least: int) -> list[Path]:
    """The images of a class in order of their names."""
    paths = sorted(path for path in folder.iterdir() if is_image(path) and not path.is_dir())
    if len(paths) < least:
        others = describe_passed_over(passed_over([folder]))
        told = f"class folder {folder} holds {counted(len(paths), 'image')}; it needs at least {least}{_inside(folder)}"
        raise DataError(f"{told}; {others}" if others else told)
    return paths


def _folders_in(folder: Path) -> tuple[str, ...]:
    """Names of the folders in a folder that may be meant as classes, not those that are hidden or added by macOS."""
    names = sorted(item.name for item in folder.iterdir() if item.is_dir())
    return tuple(name for name in names if not name.startswith(".") and name != "__MACOSX")


def _inside(folder: Path) -> str:
    """Advice for a class folder that holds folders, since these may be the classes that were meant."""
    inside = _folders_in(folder)
    if not inside:
        return ""
    named = ", ".join(inside[:MOST_NAMED]) + (", ..." if len(inside) > MOST_NAMED else "")
    return (
        f". It holds folders ({named}), and images in those are not read: if they are the classes, give {folder}, "
        "otherwise move the images up"
    )


def _divided(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The images of a class to train on and those to test on; see the module's docstring."""
    digests = {path: hashlib.sha256(path.read_bytes()).digest() for path in paths}
    limit = int(TEST_SHARE * 2**64).to_bytes(8, "big")
    count = sum(digest < limit for digest in digests.values())
    most = max(1, int(MOST_SHARE * len(paths)))
    count = min(max(count, math.ceil(LEAST_SHARE * len(paths))), most)
    ordered = sorted(paths, key=lambda path: (digests[path], path))
    borders = [at for at in range(1, len(paths)) if digests[ordered[at - 1]] != digests[ordered[at]]]
    if borders:  # between copies there is none, so that they stay together
        count = min(borders, key=lambda at: (at > most, abs(at - count)))
    test = set(ordered[:count])
    return [path for path in paths if path not in test], [path for path in paths if path in test]


def joined(classes: Sequence[Sequence[Path]]) -> Part:
    """Joins lists of files, one for each class, in the order of the labels."""
    return Part(
        tuple(path for paths in classes for path in paths),
        tuple(label for label, paths in enumerate(classes) for _ in paths),
    )
