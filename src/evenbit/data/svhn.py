"""Street View House Numbers, the cropped digits, in their MATLAB files.

`X` is the images, [32, 32, 3, N], and `y` the labels, [N, 1], in which 10 stands for the digit 0. Netzer et al.,
Reading digits in natural images with unsupervised feature learning, 2011.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from evenbit.data.dataset import Dataset, Split
from evenbit.data.locate import Source
from evenbit.data.mat import read_mat
from evenbit.errors import DataError

PAGE = "http://ufldl.stanford.edu/housenumbers/ (format 2)"
COUNTS = {"train_32x32.mat": 73_257, "test_32x32.mat": 26_032}
SVHN = Source("svhn", "svhn", tuple(COUNTS), PAGE)


def read_svhn(root: str | os.PathLike[str] | None) -> Dataset:
    """99,289 images of 32x32 in 10 classes, 26,032 of them for testing.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = SVHN.locate(root)
    train, test = (_read(folder / file, count) for file, count in COUNTS.items())
    return Dataset("svhn", tuple("0123456789"), train, test)


def _read(path: Path, count: int) -> Split:
    arrays = read_mat(path, {"X": (32, 32, 3, count), "y": (count, 1)})
    images, labels = arrays["X"], arrays["y"][:, 0].astype(np.int64)
    if labels.min() < 1 or labels.max() > 10:
        raise DataError(f"{path} holds a label that is not from 1 to 10")
    return Split(np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels % 10)
