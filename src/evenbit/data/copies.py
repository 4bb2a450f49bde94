"""Image files of a data set that are equal.

If they are in two classes, one of them is wrong. If one is trained on and the other tested on, the test is no test.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from evenbit.data.dataset import Dataset
from evenbit.printable import counted


def describe_copies(dataset: Dataset) -> list[str]:
    """A line if files are in several classes, and one if files are both to train and to test on; each names a pair."""
    if dataset.train.paths is None or dataset.test.paths is None:
        return []
    known = [
        (path, int(label), part)
        for part, split in enumerate((dataset.train, dataset.test))
        for path, label in zip(split.paths or (), split.labels, strict=True)
    ]
    classes, parts = [], []
    for group in _equal([path for path, _, _ in known]):
        first = known[group[0]]
        others = [known[index] for index in group[1:]]
        classes += [(first[0], other[0]) for other in others if other[1] != first[1]][:1]
        parts += [(first[0], other[0]) for other in others if other[1] == first[1] and other[2] != first[2]][:1]
    told = []
    if classes:
        told.append(f"{_times(len(classes))} in two classes, as {_pair(classes[0])}; remove the wrong one")
    if parts:
        told.append(f"{_times(len(parts))} both to train and to test on, as {_pair(parts[0])}; remove one")
    return told


def _equal(paths: list[Path]) -> list[list[int]]:
    """Indices of the files that have the same bytes as others, in groups. Only files of the same size are read."""
    sizes = defaultdict(list)
    for index, path in enumerate(paths):
        sizes[path.stat().st_size].append(index)
    groups = []
    for indices in sizes.values():
        digests = defaultdict(list)
        for index in indices if len(indices) > 1 else ():
            digests[hashlib.sha256(paths[index].read_bytes()).digest()].append(index)
        groups += [group for group in digests.values() if len(group) > 1]
    return groups


def _times(count: int) -> str:
    return f"{counted(count, 'photo')} {'is' if count == 1 else 'are'}"


def _pair(pair: tuple[Path, Path]) -> str:
    return f"{pair[0]} and {pair[1]} are the same file"
