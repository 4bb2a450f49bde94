"""How many images each class of a data set has: accuracy means little if one class has most of them."""

from __future__ import annotations

import numpy as np

from evenbit.data.dataset import Dataset
from evenbit.printable import counted


def describe_classes(dataset: Dataset) -> str:
    """Numbers of images in one line; if classes differ in size, also the accuracy of always answering the largest."""
    train, test = (np.bincount(split.labels, minlength=len(dataset.classes)) for split in (dataset.train, dataset.test))
    images = f"{counted(int(train.sum()), 'image')} to train on, {test.sum():,} to test on"
    text = f"{len(dataset.classes)} classes, {images}"
    if train.min() == train.max():
        return f"{text}, {train[0]:,} of each class to train on"
    least, most = int(train.argmin()), int(train.argmax())
    largest = int(test.argmax())
    constant = 100 * test[largest] / test.sum()
    return (
        f"{text}; per class {train[least]:,} ({dataset.classes[least]}) to {train[most]:,} ({dataset.classes[most]}) "
        f"to train on; always answering {dataset.classes[largest]} would give {constant:.1f} %"
    )
