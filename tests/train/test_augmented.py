from __future__ import annotations

import numpy as np

from evenbit.train import load_recipe
from evenbit.train.augmented import LEAVES_ALONE, augmented, describe_augmentation
from evenbit.train.recipe import Recipe

NOTHING = {"pad": 0, "flip": False}
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)


def test_images_that_nothing_is_done_to_are_shown_as_they_are() -> None:
    shown = augmented(load_recipe(None, NOTHING), IMAGES, 2)
    assert np.array_equal(shown, np.stack([IMAGES, IMAGES]))


def test_every_key_that_changes_images_is_seen_in_them() -> None:
    values = {
        "area": 0.5,
        "pad": 2,
        "flip": True,
        "cutout": 4,
        "color": 0.5,
        "rotate": 20.0,
        "erase": 1.0,
        "mixup": 1.0,
    }
    assert values.keys() == LEAVES_ALONE.keys() <= Recipe.model_fields.keys()
    for key, value in values.items():
        recipe = load_recipe(None, {**NOTHING, key: value})
        shown = augmented(recipe, IMAGES, 3)
        assert shown.shape == (3, *IMAGES.shape), key
        assert not np.array_equal(shown[0], IMAGES) or not np.array_equal(shown[1], IMAGES), key
        assert not np.array_equal(shown[0], shown[1]), key
        assert np.array_equal(shown, augmented(recipe, IMAGES, 3)), key


def test_what_is_set_is_told_and_what_else_there_is() -> None:
    assert describe_augmentation(load_recipe(None, {"data": "cifar10", "augment": "strong"})) == (
        "random changes of the images: pad=4, flip=true, color=0.3, rotate=10.0, erase=0.25; "
        "not set: area, cutout, mixup"
    )
    assert describe_augmentation(load_recipe(None, NOTHING)).startswith("random changes of the images: none; not")
