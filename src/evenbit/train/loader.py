"""The user's own DataLoader as the data of a run.

Its batches are trained on as they come, in its own order and with its own augmentation. Before each pass, every random
generator that it may use is seeded from the recipe's seed and the epoch's number, so that a resumed run sees the same
batches as one that was never stopped.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenbit.data.dataset import Dataset, Split
from evenbit.data.own import class_names
from evenbit.errors import DataError
from evenbit.train.checkpoint import to_float

FIRST = 1000  # training images, at most, that are kept in memory for statistics, for the start and for freezing
RANGE = 1e-3  # how far values may lie outside [0, 1], as some do after resizing


class Loader:
    """Batches of (images, labels), checked as they come.

    Args:
        batches: A `torch.utils.data.DataLoader`, or anything else that has a length and gives batches each time it is
            iterated over. Images are `[N, C, H, W]`, uint8 or floating point in [0, 1]; labels are whole numbers `[N]`.
        name: What errors call it.

    Raises:
        DataError: If it has no length, or is empty.
    """

    def __init__(self, batches: Iterable[Any], name: str) -> None:
        self.batches, self.name = batches, name
        try:
            count = len(batches)  # type: ignore[arg-type]
        except TypeError:
            raise DataError(f"the {name} has no length; give a DataLoader over a data set that has one") from None
        if not count:
            raise DataError(f"the {name} gives no batch")
        self.shape: tuple[int, ...] | None = None
        self.classes: int | None = None

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def read(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: images in [0, 1], float32, channels last, and labels.

        Args:
            seed: For the random numbers of loader, sampler and transforms.

        Raises:
            DataError: If a batch is malformed; the message names it.
        """
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  (the user's transforms may use it)
        torch.manual_seed(seed)
        batch_sampler = getattr(self.batches, "batch_sampler", None)
        samplers = (getattr(self.batches, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
        for owner in (self.batches, *samplers):
            generator = getattr(owner, "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed)
        if getattr(self.batches, "persistent_workers", False):
            self.batches._iterator = None  # type: ignore[attr-defined]  # its workers go on with old random numbers
        for index, batch in enumerate(self.batches):
            yield self._checked(batch, f"batch {index + 1} of the {self.name}")

    def _checked(self, batch: Any, place: str) -> tuple[Tensor, Tensor]:
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not all(isinstance(t, Tensor) for t in batch):
            raise DataError(f"{place} should be two tensors, images and labels")
        images, labels = batch
        if images.dim() != 4 or (self.shape is not None and images.shape[1:] != self.shape):
            expected = "N x C x H x W" if self.shape is None else f"N x {' x '.join(map(str, self.shape))}"
            raise DataError(f"{place} should hold images of the shape {expected}, but has {list(images.shape)}")
        self.shape = tuple(images.shape[1:])
        if images.dtype == torch.uint8:
            images = to_float(images)
        elif not images.is_floating_point():
            raise DataError(f"{place} holds images of the type {images.dtype}; give uint8, or floating point in [0, 1]")
        low, high = images.aminmax()
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise DataError(f"{place} holds an image with a value that is not finite")
        if low < -RANGE or high > 1 + RANGE:
            raise DataError(
                f"{place} holds values from {float(low):.3g} to {float(high):.3g}, but images are in [0, 1]; take "
                "the normalization out of the transforms and put evenbit.models.Normalize before the network"
            )
        if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
            kind = f"{str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}"
            raise DataError(f"{place} should hold a whole number for each of its {len(images)} images, but has {kind}")
        labels = labels.long()
        for label in (int(labels.min()), int(labels.max())):
            if label < 0 or (self.classes is not None and label >= self.classes):
                known = f"; the classes are 0 to {self.classes - 1}" if self.classes is not None else ""
                raise DataError(f"{place} holds the label {label}{known}")
        images = images.float().clamp(0, 1).contiguous(memory_format=torch.channels_last)
        return images, labels

    def collect(self, seed: int, most: int | None) -> Split:
        """The first images of a pass in memory, as uint8; all if `most` is None."""
        images, labels, count = [], [], 0
        for batch, numbers in self.read(seed):
            images.append((batch * 255).round().to(torch.uint8).cpu().contiguous())
            labels.append(numbers.cpu())
            count += len(numbers)
            if most is not None and count >= most:
                break
        return Split(torch.cat(images)[:most].numpy(), torch.cat(labels)[:most].numpy())


def loader_dataset(name: str, train: Loader, test: Loader, classes: Sequence[str] | int, seed: int) -> Dataset:
    """What the training loop keeps in memory of two loaders: all test images and the first training images.

    Args:
        name: Name of the data set.
        train: Batches to train on.
        test: Batches to measure on.
        classes: Their names, or their number.
        seed: Seed for the pass over each loader.

    Raises:
        DataError: If a loader gives a malformed batch, or there are no classes.
    """
    names = class_names(range(classes) if isinstance(classes, int) else classes)
    train.classes = test.classes = len(names)
    first = train.collect(seed, FIRST)
    test.shape = train.shape
    return Dataset(name, names, first, test.collect(seed, None))
