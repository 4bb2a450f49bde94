"""Data sets that users make of their own arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evenbit.data import Dataset, Split
from evenbit.data.own import checked
from evenbit.errors import DataError

IMAGES = np.zeros((4, 1, 8, 8), np.uint8)
LABELS = np.array([0, 1, 1, 0])


def test_labels_become_int64_and_names_text() -> None:
    found = checked(Dataset("mine", [0, 1], Split(IMAGES, LABELS.astype(np.uint8)), Split(IMAGES, LABELS.tolist())))
    assert found.classes == ("0", "1")
    assert found.train.labels.dtype == found.test.labels.dtype == np.int64
    assert found.train.images is IMAGES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": IMAGES / 2},
            "the test images should be a numpy array of uint8, with levels .* but are float64",
        ),
        ({"images": IMAGES.tolist()}, "should be a numpy array of uint8.* but are list"),
        ({"images": IMAGES[:, 0]}, "should have the shape N x C x H x W, but have 4 x 8 x 8"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "the test images: there are none"),
        ({"labels": LABELS[:3]}, "need a whole number for each of the 4 as labels, but have int64 of the shape 3"),
        ({"labels": LABELS / 2}, "need a whole number for each of the 4 as labels, but have float64"),
        ({"labels": LABELS + 1}, "have the label 2, but the classes are 0 to 1"),
        ({"labels": LABELS - 1}, "have the label -1, but the classes are 0 to 1"),
        ({"images": IMAGES[..., :5]}, "training images are 1 x 8 x 8, but test images are 1 x 8 x 5"),
        ({"classes": "ab"}, "classes should be a list of names, but is the text 'ab'"),
        ({"classes": ()}, "there are no classes"),
    ],
)
def test_what_cannot_be_trained_on_is_named(changes: dict[str, Any], message: str) -> None:
    values = {"images": IMAGES, "labels": LABELS, "classes": ("a", "b"), **changes}
    test = Split(values["images"], values["labels"])
    with pytest.raises(DataError, match=message):
        checked(Dataset("mine", values["classes"], Split(IMAGES, LABELS), test))
