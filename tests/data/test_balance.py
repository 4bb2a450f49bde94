from __future__ import annotations

import numpy as np

from evenbit.data import Dataset, Split
from evenbit.data.balance import describe_classes


def dataset(train: list[int], test: list[int]) -> Dataset:
    splits = [Split(np.zeros((len(labels), 1, 1, 1), np.uint8), np.array(labels, np.int64)) for labels in (train, test)]
    return Dataset("x", ("cat", "dog", "eel"), *splits)


def test_equal_classes_are_one_number() -> None:
    assert describe_classes(dataset([0, 0, 1, 1, 2, 2], [0, 1, 2])) == (
        "3 classes, 6 images to train on, 3 to test on, 2 of each class to train on"
    )


def test_unequal_classes_name_the_extremes_and_what_a_constant_scores() -> None:
    assert describe_classes(dataset([0] * 5 + [1] * 9 + [2] * 2, [0, 0, 1, 2])) == (
        "3 classes, 16 images to train on, 4 to test on; per class 2 (eel) to 9 (dog) to train on; "
        "always answering cat would give 50.0 %"
    )
