"""Images that stay in their files until they are asked for: a set that memory has no room for, such as ImageNet."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenbit.errors import DataError, InputError
from evenbit.images import decode_image

MEMORY_SHARE = 4  # images are held in memory if they take at most a quarter of it
MOST_NAMED = 10  # of the images that cannot be read, in an error


class ImageFiles:
    """Files of images, read as the array `[N, 3, size, size]` that they would be in memory, with `images[index]`.

    Args:
        paths: The files.
        size: Height and width to which the images are brought.
    """

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths = tuple(paths)
        self.size = size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the array."""
        return len(self.paths), 3, self.size, self.size

    @property
    def nbytes(self) -> int:
        """Size of the array."""
        return len(self.paths) * 3 * self.size**2

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The images at some places.

        Raises:
            DataError: If images cannot be read; names them.
        """
        errors: list[str] = []
        images = self.subset(index).read(errors)
        if errors:
            raise DataError(named(errors))
        return images

    def subset(self, index: slice | npt.NDArray[np.int64]) -> ImageFiles:
        """The files at some places, without reading them."""
        return ImageFiles([self.paths[i] for i in np.arange(len(self))[index]], self.size)

    def read(self, errors: list[str]) -> npt.NDArray[np.uint8]:
        """All images, by as many threads as the machine has use for.

        Args:
            errors: What is wrong with those that cannot be read is added here; they are black.
        """
        images = np.zeros(self.shape, np.uint8)

        def fill(index: int) -> str | None:
            try:
                images[index] = decode_image(self.paths[index], *self.shape[1:])
            except InputError as error:
                return str(error)
            return None

        with ThreadPoolExecutor() as threads:
            errors += filter(None, threads.map(fill, range(len(self))))
        return images


def read_if_it_fits(parts: Sequence[ImageFiles]) -> list[npt.NDArray[np.uint8]] | list[ImageFiles]:
    """The images of all parts in memory or, if they would take more than a quarter of it, the files as they are.

    Raises:
        DataError: If images are read and some cannot be; names them.
    """
    if sum(part.nbytes for part in parts) > _memory() / MEMORY_SHARE:
        return list(parts)
    errors: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage that pillow reads past
        arrays = [part.read(errors) for part in parts]
    if errors:
        raise DataError(named(errors))
    return arrays


def named(errors: Sequence[str]) -> str:
    """Errors in one line: the first ones, and how many more there are."""
    more = f"; and {len(errors) - MOST_NAMED} more" if len(errors) > MOST_NAMED else ""
    return "; ".join(errors[:MOST_NAMED]) + more


def _memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
