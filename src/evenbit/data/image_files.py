"""Images that stay in their files until they are needed: for data sets larger than memory, such as ImageNet."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenbit.errors import DataError, InputError
from evenbit.images import decode_image, open_image

MEMORY_SHARE = 4  # images are held in memory if they take at most a quarter of it
# Of the control group in which a container runs.
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
PHOTO_BYTES = 2**30  # of the largest photo that is read, which pillow holds three times while it is brought to size
QUEUED = 4096  # images at once, since each takes memory while it waits for a thread
MOST_NAMED = 10  # of the images that cannot be read, in an error


class ImageFiles:
    """Image files that are read when they are indexed, like an array `[N, 3, size, size]`.

    Args:
        paths: The files.
        size: Height and width to which the images are resized.
    """

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths = tuple(paths)
        self.size = size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array."""
        return len(self.paths), 3, self.size, self.size

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return len(self.paths) * 3 * self.size**2

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The images at some indices.

        Raises:
            DataError: If images cannot be read; the message names them.
        """
        errors: list[str] = []
        images = self.subset(index).read(errors)
        _refuse(errors)
        return images

    def subset(self, index: slice | npt.NDArray[np.int64]) -> ImageFiles:
        """The files at some indices, without reading them."""
        return ImageFiles([self.paths[i] for i in np.arange(len(self))[index]], self.size)

    def read(self, errors: list[str]) -> npt.NDArray[np.uint8]:
        """Reads all images, in several threads.

        Args:
            errors: For each image that cannot be read, a message is added here; the image becomes black.
        """
        images = np.zeros(self.shape, np.uint8)

        def fill(index: int) -> None:
            images[index] = decode_image(self.paths[index], *self.shape[1:])

        self._each(fill, errors)
        return images

    def look(self, errors: list[str]) -> None:
        """Checks the beginning of each file, which holds format and size.

        Args:
            errors: For each file that is not an image, a message is added here.
        """
        self._each(lambda index: open_image(self.paths[index]).close(), errors)

    def _each(self, work: Callable[[int], object], errors: list[str]) -> None:
        def tried(index: int) -> str | None:
            try:
                work(index)
            except InputError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(_threads()) as threads:
            for start in range(0, len(self), QUEUED):
                errors += filter(None, threads.map(tried, range(start, min(start + QUEUED, len(self)))))


def _threads() -> int:
    """One for each CPU, but no more than have memory for a large photo."""
    return max(1, min(len(os.sched_getaffinity(0)), _memory() // PHOTO_BYTES))


def read_if_it_fits(parts: Sequence[ImageFiles]) -> list[npt.NDArray[np.uint8]] | list[ImageFiles]:
    """The images of all parts in memory or, if they would take more than a quarter of it, the files as they are.

    Raises:
        DataError: If files cannot be read, or do not begin like images; the message names them.
    """
    fits = sum(part.nbytes for part in parts) <= _memory() / MEMORY_SHARE
    errors: list[str] = []
    arrays = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damage that pillow tolerates
        for part in parts:
            if fits:
                arrays.append(part.read(errors))
            else:
                part.look(errors)
    _refuse(errors)
    return arrays if fits else list(parts)


def _refuse(errors: Sequence[str]) -> None:
    """Raises DataError if there are errors, in one line: the first ones, and how many more there are."""
    more = f"; and {len(errors) - MOST_NAMED} more" if len(errors) > MOST_NAMED else ""
    if errors:
        raise DataError("; ".join(errors[:MOST_NAMED]) + more)


def _memory() -> int:
    """Bytes of memory for this process: the machine's or its container's, divided by the processes that train."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in MEMORY_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is no such file, or no limit in it
            sizes.append(int(Path(path).read_text()))
    return min(sizes) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # which accelerate and torchrun set
