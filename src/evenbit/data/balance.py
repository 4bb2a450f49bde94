"""How many images each class of a data set has: an accuracy means little where one class has most of them."""

from __future__ import annotations

import numpy as np

from evenbit.data.dataset import Dataset

UNEQUAL = 3  # times as many images in the largest class as in the smallest one


def are_unequal(dataset: Dataset) -> bool:
    """Whether the largest class has so many times the training images of the smallest that a network may neglect it."""
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    return bool(counts.max() >= UNEQUAL * counts.min())


def describe_classes(dataset: Dataset) -> str:
    """Numbers of images, for people; if classes differ in size, also what naming the largest one always would score."""
    train, test = (np.bincount(split.labels, minlength=len(dataset.classes)) for split in (dataset.train, dataset.test))
    text = f"{len(dataset.classes)} classes, {train.sum()} images to train on, {test.sum()} to test on"
    if train.min() == train.max():
        return f"{text}, {train[0]} of each class to train on"
    least, most = int(train.argmin()), int(train.argmax())
    constant = 100 * test[most] / test.sum()
    return (
        f"{text}; of a class, from {train[least]} ({dataset.classes[least]}) to {train[most]} "
        f"({dataset.classes[most]}) to train on, and naming {dataset.classes[most]} always would score {constant:.1f} %"
    )
