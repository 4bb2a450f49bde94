"""A recipe's augmentation of images: as a function, in words, and as sample images."""

from __future__ import annotations

import torch

from evenbit.data.augment import Augmentation, mix
from evenbit.data.dataset import Images
from evenbit.train.recipe import Recipe

LEAVES_ALONE = {"area": 1, "pad": 0, "flip": False, "cutout": 0, "color": 0, "rotate": 0, "erase": 0, "mixup": 0}


def make_augmentation(recipe: Recipe) -> Augmentation:
    """The recipe's augmentation, without mixup."""
    return Augmentation(
        recipe.area, recipe.pad, bool(recipe.flip), recipe.cutout, recipe.rotate, recipe.color, recipe.erase
    )


def describe_augmentation(recipe: Recipe) -> str:
    """Which keys of the recipe change images, and which other keys could, in one line."""
    values = {key: getattr(recipe, key) for key in LEAVES_ALONE}
    on = [f"{key}={str(value).lower()}" for key, value in values.items() if value != LEAVES_ALONE[key]]
    off = [key for key, value in values.items() if value == LEAVES_ALONE[key]]
    return f"random changes of the images: {', '.join(on) or 'none'}; not set: {', '.join(off) or 'none'}"


def augmented(recipe: Recipe, images: Images, times: int) -> Images:
    """Sample images as a network sees them in training.

    Args:
        recipe: Gives the augmentation and the seed.
        images: `[N, C, H, W]`.
        times: Augmented copies of each image.

    Returns:
        `[times, N, C, H, W]`; the same for the same recipe and images.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    source, augmentation = torch.from_numpy(images), make_augmentation(recipe)
    drawn = [mix(augmentation(source, generator), recipe.mixup, generator)[0] for _ in range(times)]
    result: Images = torch.stack(drawn).numpy()
    return result
