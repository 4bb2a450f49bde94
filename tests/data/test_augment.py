from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from evenbit.data.augment import Augmentation

COUNT, HEIGHT, WIDTH = 600, 4, 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    """Equal images of pixels that all differ and are not 0."""
    image = torch.arange(1, 2 * HEIGHT * WIDTH + 1, dtype=dtype).reshape(2, HEIGHT, WIDTH)
    return image.expand(COUNT, -1, -1, -1).contiguous()


def times_each_occurs(result: torch.Tensor, candidates: list[torch.Tensor]) -> list[int]:
    """How many images equal each candidate, after checking that every image equals exactly one."""
    equal = torch.stack([(result == candidate).flatten(1).all(1) for candidate in candidates])
    assert (equal.sum(0) == 1).all()
    return equal.sum(1).tolist()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_crop_is_any_window_of_the_padded_image(dtype: torch.dtype):
    images = numbered(dtype)
    padded = F.pad(images[0], (1, 1, 1, 1))
    windows = [padded[:, y : y + HEIGHT, x : x + WIDTH] for y in range(3) for x in range(3)]
    counts = times_each_occurs(Augmentation(pad=1)(images, generator()), windows)
    assert min(counts) > COUNT / 9 / 2


def test_a_flip_mirrors_half_of_the_images():
    images = numbered()
    counts = times_each_occurs(Augmentation(flip=True)(images, generator()), [images[0], images[0].flip(2)])
    assert min(counts) > 0.4 * COUNT


@pytest.mark.parametrize("side", [1, 2, 3, 9])
def test_cutout_clears_a_square_around_any_pixel(side: int):
    images = numbered()
    holes = {}
    for y in range(HEIGHT):
        for x in range(WIDTH):
            image = images[0].clone()
            top, left = y - side // 2, x - side // 2
            image[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
            holes[image.numpy().tobytes()] = image
    counts = times_each_occurs(Augmentation(cutout=side)(images, generator()), list(holes.values()))
    assert min(counts) > 0
    assert sum(counts) == COUNT


def test_crop_flip_and_cutout_act_together():
    images = numbered()
    result = Augmentation(pad=1, flip=True, cutout=1)(images, generator())
    padded = F.pad(images[0], (1, 1, 1, 1))
    windows = [padded[:, y : y + HEIGHT, x : x + WIDTH] for y in range(3) for x in range(3)]
    candidates = torch.stack([*windows, *(window.flip(2) for window in windows)])
    differing = (result[:, None] != candidates).any(2).flatten(2).sum(2)  # pixels, for each image and candidate
    assert (differing.min(1).values <= 1).all()  # a hole of one pixel, or none to see where the padding was
    assert (differing.min(1).values == 1).any()
    assert torch.bincount(differing.argmin(1), minlength=18).min() > 0


def test_equal_generators_give_equal_images_and_the_next_call_others():
    images = numbered()
    augmentation = Augmentation(pad=2, flip=True, cutout=2)
    source = generator(5)
    first = augmentation(images, source)
    assert torch.equal(first, augmentation(images, generator(5)))
    assert not torch.equal(first, augmentation(images, source))


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    Augmentation(pad=2, flip=True, cutout=2)(numbered(), generator())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_shape_and_type_stay_and_the_images_are_not_changed(dtype: torch.dtype):
    images = numbered(dtype)
    before = images.clone()
    result = Augmentation(pad=2, flip=True, cutout=2)(images, generator())
    assert result.shape == images.shape
    assert result.dtype == dtype
    assert torch.equal(images, before)


def test_without_parts_nothing_is_drawn_and_nothing_changes():
    source = generator()
    state = source.get_state()
    images = numbered()
    assert torch.equal(Augmentation()(images, source), images)
    assert torch.equal(source.get_state(), state)


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Augmentation().pad = 1  # type: ignore[misc]
