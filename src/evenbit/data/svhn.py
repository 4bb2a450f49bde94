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
    from scipy.io import loadmat  # type: ignore[import-untyped]

    try:
        content = loadmat(path, variable_names=("X", "y"))
        images, labels = content["X"], content["y"].ravel().astype(np.int64)
    except Exception as error:  # whatever the parser stumbles over in a damaged file
        raise DataError(f"{path} cannot be read: {error}") from None
    if images.shape != (32, 32, 3, count) or images.dtype != np.uint8 or labels.shape != (count,):
        raise DataError(f"{path} should hold {count} images of 32x32 in bytes, each with a label")
    if labels.min() < 1 or labels.max() > 10:
        raise DataError(f"{path} holds a label that is not from 1 to 10")
    return Split(np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels % 10)
