"""Images and labels, without any framework."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenbit.data.image_files import ImageFiles
from evenbit.errors import DataError

Images = npt.NDArray[np.uint8]
ImageSource = Images | ImageFiles
Labels = npt.NDArray[np.int64]
MOST_IN_STATISTICS = 100_000  # images; their mean has an error of about 1/300 of their standard deviation
STATISTICS_BATCH = 1_000


@dataclass(frozen=True, repr=False)
class Split:
    """Images with their labels: a sequence of pairs `(image, label)`, which torch's `DataLoader` takes as it is.

    Attributes:
        images: `[N, C, H, W]`, uint8, in memory or read from files when they are indexed.
        labels: `[N]`, int64, indices into the classes of the data set.
        paths: Files of the images, None if they have none of their own.
    """

    images: ImageSource
    labels: Labels
    paths: tuple[Path, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Images, int]:
        """An image `[C, H, W]`, uint8, and its label; counted from the end if the index is negative."""
        place = range(len(self))[index]  # raises IndexError, which ends a loop over the pairs
        return self.images[place : place + 1][0], int(self.labels[place])

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        return f"<Split: {len(self):,} images of {size} in {len(set(self.labels.tolist()))} classes>"

    def subset(self, index: npt.NDArray[np.int64]) -> Split:
        """The images at some indices; images in files are not read."""
        images = self.images.subset(index) if isinstance(self.images, ImageFiles) else self.images[index]
        paths = None if self.paths is None else tuple(self.paths[i] for i in index)
        return Split(images, self.labels[index], paths)


@dataclass(frozen=True, repr=False)
class Dataset:
    """A classification data set.

    Attributes:
        name: The name or path by which it was loaded.
        classes: Class names in the order of the labels.
        train: Images to train on.
        test: Images to measure on.
        passed_over: Files beside the images of a folder that are not images.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    passed_over: tuple[Path, ...] = field(default=(), kw_only=True)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {len(self.classes)} classes; to train on {self.train}, to test on {self.test}>"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def hold_out(dataset: Dataset, share: float) -> Dataset:
    """The data set with a fixed part of its training images instead of its test images.

    For choosing settings: test images that were used to choose something can no longer measure it fairly.

    Args:
        dataset: A data set.
        share: Share of each class's training images to hold out, rounded; at least one, but not all.

    Raises:
        DataError: If a class has a single training image.
    """
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    if 1 in counts:
        name = dataset.classes[int(np.argmax(counts == 1))]
        raise DataError(f"{dataset.name}: class '{name}' has 1 training image; to hold some out it needs at least 2")
    rest, held = stratified_split(dataset.train.labels, share)
    return dataclasses.replace(dataset, train=dataset.train.subset(rest), test=dataset.train.subset(held))


def channel_statistics(images: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in units of [0, 1].

    They come from the exact integer sums `s` of the `n` levels and `q` of their squares, so they are the same on every
    machine:

        mean = s / (255 n)        std = sqrt(n q - s^2) / (255 n)

    If there are more than 100,000 images, 100,000 evenly spaced ones are used.

    Args:
        images: `[N, C, H, W]`, uint8.

    Returns:
        Means and standard deviations, each with one number per channel.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    taken = np.linspace(0, len(images), min(len(images), MOST_IN_STATISTICS), endpoint=False).astype(np.int64)
    for start in range(0, len(taken), STATISTICS_BATCH):
        for channel, levels in enumerate(images[taken[start : start + STATISTICS_BATCH]].swapaxes(0, 1)):
            counts[channel] += np.bincount(levels.reshape(-1), minlength=256)
    levels = np.arange(256)
    means, deviations = [], []
    for count in counts:
        n, s, q = int(count.sum()), int(count @ levels), int(count @ levels**2)
        means.append(s / (255 * n))
        deviations.append(math.sqrt(n * q - s * s) / (255 * n))  # Python's integers do not overflow
    return tuple(means), tuple(deviations)


def mixed(count: int) -> npt.NDArray[np.int64]:
    """Numbers 0 to `count - 1` in a fixed random order, so that the first images are of all classes."""
    # NumPy keeps the raw numbers of a bit generator the same in all versions, but not its permutations.
    return np.argsort(np.random.PCG64(0).random_raw(count), kind="stable")


def stratified_split(labels: Labels, share: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the two parts of a fixed split that keeps the classes' proportions.

    Args:
        labels: `[N]`.
        share: Part of each class that goes into the second part, rounded; at least one image, but not all of several.

    Returns:
        Sorted indices of the first and of the second part; always the same for the same labels.
    """
    order = mixed(len(labels))
    second = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = min(max(1, round(share * len(members))), max(1, len(members) - 1))
        second.append(members[:count])
    chosen = np.sort(np.concatenate(second))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen
