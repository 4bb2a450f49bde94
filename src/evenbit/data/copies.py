"""Image files of a data set that are equal.

If they are in two classes, one of them is wrong. If one is trained on and the other tested on, the test is no test.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from evenbit.data.dataset import Dataset
from evenbit.printable import counted

BEGINNING = 4096  # bytes; whole files are read only if size and beginning are equal


class _File(NamedTuple):
    path: Path
    label: int
    trained_on: bool


def describe_copies(dataset: Dataset) -> list[str]:
    """A line if files are in several classes, and one if they are both to train and to test on; each names two."""
    files = [
        _File(path, int(label), trained_on)
        for trained_on, split in ((True, dataset.train), (False, dataset.test))
        for path, label in zip(split.paths or (), split.labels, strict=split.paths is not None)
    ]
    mislabelled, on_both_sides = [], []
    for group in _equal(files):
        labels = {file.label: file.path for file in group}
        if len(labels) > 1:
            mislabelled.append(list(labels.values()))
        for _, same in groupby(sorted(group, key=lambda file: file.label), key=lambda file: file.label):
            sides = {file.trained_on: file.path for file in same}
            if len(sides) > 1:
                on_both_sides.append([sides[True], sides[False]])
    told = []
    if mislabelled:
        told.append(f"{_photos(len(mislabelled))} in two classes: {_pair(mislabelled[0])}; remove the wrong one")
    if on_both_sides:
        told.append(f"{_photos(len(on_both_sides))} trained on and tested on: {_pair(on_both_sides[0])}; remove one")
    return told


def _equal(files: list[_File]) -> list[list[_File]]:
    """Groups of files that have the same bytes; files that have vanished are passed over."""
    groups = [files]
    keys: tuple[Callable[[Path], Hashable], ...] = (lambda path: path.stat().st_size, _beginning, _digest)
    for key in keys:
        groups = [part for group in groups for part in _divided(group, key) if len(part) > 1]
    return groups


def _divided(files: Iterable[_File], key: Callable[[Path], Hashable]) -> list[list[_File]]:
    """The files in groups of equal keys."""
    found = defaultdict(list)
    for file in files:
        with contextlib.suppress(OSError):
            found[key(file.path)].append(file)
    return list(found.values())


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BEGINNING)


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _photos(count: int) -> str:
    return f"{counted(count, 'photo')} {'is' if count == 1 else 'are'}"


def _pair(paths: list[Path]) -> str:
    return f"{paths[0]} and {paths[1]} are the same file"
