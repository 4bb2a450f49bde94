from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from evenbit.data import load_dataset
from evenbit.errors import DataError


def test_digits_are_split_within_each_class():
    digits = load_dataset("digits")
    assert digits.shape == (1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    total = np.bincount(load_digits().target)
    assert np.bincount(digits.test.labels).tolist() == [round(0.2 * count) for count in total]
    assert np.bincount(digits.train.labels).tolist() == (total - np.bincount(digits.test.labels)).tolist()


def test_digits_are_the_images_of_scikit_learn_with_16_as_255():
    digits = load_dataset("digits")
    original = load_digits()
    levels = {level: round(level * 255 / 16) for level in range(17)}
    wanted = sorted(
        (int(label), *(levels[int(level)] for level in image.reshape(-1)))
        for label, image in zip(original.target, original.images, strict=True)
    )
    found = sorted(
        (int(label), *image.reshape(-1).tolist())
        for split in (digits.train, digits.test)
        for label, image in zip(split.labels, split.images, strict=True)
    )
    assert found == wanted
    assert digits.train.images.dtype == np.uint8
    assert digits.train.labels.dtype == np.int64


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"pip install 'evenbit\[train\]'"):
        load_dataset("digits")
