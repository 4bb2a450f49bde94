"""Fashion-MNIST in IDX files: a magic number, the sizes as big-endian 32-bit integers, then bytes; gzipped.

Xiao et al., Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms, 2017.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenbit.data.dataset import Dataset, Split
from evenbit.data.locate import Source
from evenbit.errors import DataError

PAGE = "https://github.com/zalandoresearch/fashion-mnist"
SYSTEM = ("/usr/share/datasets/fashion-mnist",)  # Debian's package dataset-fashion-mnist
FILES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
FASHION_MNIST = Source("fashion-mnist", "fashion-mnist", FILES, PAGE, SYSTEM)
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_fashion_mnist(root: str | os.PathLike[str] | None) -> Dataset:
    """70,000 grey images of 28x28 in 10 classes, 10,000 of them for testing.

    Raises:
        DataError: If files are missing or damaged.
    """
    folder = FASHION_MNIST.locate(root)
    splits = []
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz", (count, 28, 28))
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", (count,)).astype(np.int64)
        if labels.max() >= len(CLASSES):
            raise DataError(f"{folder}: a label of {part} is {labels.max()}, but there are {len(CLASSES)} classes")
        splits.append(Split(images[:, None], labels))
    return Dataset("fashion-mnist", CLASSES, *splits)


def read_idx(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The bytes of a gzipped IDX file, which must hold exactly an array of that shape.

    Raises:
        DataError: If the file is damaged or holds another shape.
    """
    header = 4 + 4 * len(shape)
    size = header + int(np.prod(shape))
    try:
        with gzip.open(path) as file:
            data = file.read(size + 1)  # one byte more than wanted, but not all of a file that expands without end
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    expected = np.array([0x0800 + len(shape), *shape], ">u4").tobytes()
    if data[:header] != expected or len(data) != size:
        raise DataError(f"{path} is not an IDX file of bytes in the shape {'x'.join(map(str, shape))}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()  # writable, as torch wants it
