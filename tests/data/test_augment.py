from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from evenbit.data.augment import Augmentation, Share, mix

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


@pytest.mark.parametrize("least", [0.2, 0.6, 0.95])
def test_a_resized_crop_is_a_window_of_the_image_brought_to_its_size(least: float):
    count, size = 2000, 32
    ramp = (torch.arange(size) + 0.5) / size  # what stands at a place is the place
    images = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)]).expand(count, -1, -1, -1)
    result = Augmentation(area=least)(images, generator())
    x, y = result[:, 0], result[:, 1]
    torch.testing.assert_close(x, x[:, :1].expand_as(x))
    torch.testing.assert_close(y, y[:, :, :1].expand_as(y))
    inner = slice(8, 24)  # nothing lies beyond the middle of the first or last pixel
    steps = torch.stack([x[:, 0, inner].diff(dim=1), y[:, inner, 0].diff(dim=1)])
    torch.testing.assert_close(steps, steps[:, :, :1].expand_as(steps), atol=1e-5, rtol=1e-3)
    width, height = steps.mean(2) * size
    middle_x, middle_y = x[:, 0, 15:17].mean(1), y[:, 15:17, 0].mean(1)
    for middle, side in ((middle_x, width), (middle_y, height)):
        assert ((middle - side / 2 > -1e-3) & (middle + side / 2 < 1 + 1e-3)).all()
        assert side.max() <= 1 + 1e-3
    assert (torch.corrcoef(torch.stack([middle_x, middle_y]))[0, 1]).abs() < 0.1
    area, ratio = width * height, width / height
    assert least - 0.01 < area.min() < least + 0.05
    assert 0.9 < area.max() <= 1.01
    slimmest = max(3 / 4, least)
    assert slimmest - 0.01 < ratio.min() < slimmest + 0.05
    assert 1 / slimmest - 0.05 < ratio.max() < 1 / slimmest + 0.01
    assert (ratio.log().mean()).abs() < 0.02


def test_a_resized_crop_of_one_color_keeps_it_and_its_type():
    images = torch.full((9, 3, 5, 5), 201, dtype=torch.uint8)
    assert torch.equal(Augmentation(area=0.1)(images, generator()), images)


def test_a_share_of_a_batch_is_augmented_as_in_the_whole():
    images = torch.randint(256, (12, 2, HEIGHT, HEIGHT), dtype=torch.uint8, generator=generator())
    augmentation = Augmentation(area=0.5, pad=1, flip=True, cutout=2, rotate=20, color=0.5, erase=0.5)
    whole = augmentation(images, generator(1))
    for part in (slice(0, 6), slice(6, 12)):
        assert torch.equal(augmentation(images[part], generator(1), Share(12, part)), whole[part])


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


def test_images_are_turned_both_ways_around_their_middle():
    size, count = 33, 500
    places = torch.linspace(-1, 1, size)
    images = torch.stack([places.expand(size, size), places[:, None].expand(size, size)]).expand(count, -1, -1, -1)
    result = Augmentation(rotate=30)(images, generator())
    middle, right = result[:, :, 16, 16], result[:, :, 16, 24]  # half way to the border
    assert middle.abs().max() < 1e-5
    torch.testing.assert_close(right.norm(dim=1), torch.full((count,), 0.5), atol=1e-4, rtol=0)
    degrees = torch.rad2deg(torch.atan2(right[:, 1], right[:, 0]))
    assert -30.01 < degrees.min() < -28
    assert 28 < degrees.max() < 30.01
    assert degrees.mean().abs() < 3


def test_a_turned_image_that_is_not_square_keeps_its_angles():
    height, width = 21, 41
    images = torch.stack(
        [
            (torch.arange(width) - 20.0).expand(height, width),
            (torch.arange(height) - 10.0)[:, None].expand(height, width),
        ]
    ).expand(50, -1, -1, -1)
    right = Augmentation(rotate=45)(images, generator())[:, :, 10, 25]
    torch.testing.assert_close(right.norm(dim=1), torch.full((50,), 5.0), atol=1e-3, rtol=0)


def test_colors_keep_their_order_in_an_image_and_spread_around_what_they_were():
    images = torch.full((600, 3, 4, 4), 100, dtype=torch.uint8)
    result = Augmentation(color=0.3)(images, generator())
    assert torch.equal(result, result[:, :1, :1, :1].expand_as(result))  # a grey image has brightness alone
    levels = result[:, 0, 0, 0].float()
    assert 70 <= levels.min() < 72
    assert 128 < levels.max() <= 130
    assert (levels.mean() - 100).abs() < 3


def test_saturation_and_contrast_follow_the_formula():
    images = torch.zeros(400, 3, 1, 2)
    images[:, 0] = torch.tensor([[0.6, 0.2]])
    images[:, 1:] = torch.tensor([[0.3, 0.2]])
    result = Augmentation(color=0.2)(images, generator())
    grey = result.mean(1)[:, 0]
    mean = grey.mean(1)  # b times that of the image, 0.3
    contrast = (grey[:, 0] - grey[:, 1]) / (0.2 * mean / 0.3)
    saturation = (result[:, 0, 0, 0] - result[:, 1, 0, 0]) / (0.3 * contrast * mean / 0.3)
    for factor in (mean / 0.3, contrast, saturation):
        assert 0.799 < factor.min() < 0.82
        assert 1.18 < factor.max() < 1.201


def test_a_rectangle_is_erased_in_that_share_of_the_images():
    size = 20
    images = torch.full((2000, 3, size, size), 256.0)
    result = Augmentation(erase=0.25)(images, generator())
    hit = (result != 256).all(1)
    touched = hit.flatten(1).any(1)
    assert 0.2 < touched.float().mean() < 0.3
    rows, columns = hit.any(2).sum(1)[touched], hit.any(1).sum(1)[touched]
    assert torch.equal(rows * columns, hit.sum((1, 2))[touched])
    assert {rows.min().item(), columns.min().item()} <= {2, 3}
    assert {rows.max().item(), columns.max().item()} <= {10}
    filled = result.masked_select(hit[:, None])
    assert 0 <= filled.min() < 0.05
    assert 0.95 < filled.max() <= 1
    of_bytes = Augmentation(erase=1)(torch.zeros(200, 3, size, size, dtype=torch.uint8), generator())
    assert of_bytes.max() > 250


def test_neighbours_are_mixed_with_their_labels_shares():
    images = torch.arange(7.0)[:, None, None, None].expand(-1, 1, 2, 2)
    mixed_images, mixed = mix(images, 1.0, generator())
    assert mixed.partner.tolist() == [1, 0, 3, 2, 5, 4, 6]
    torch.testing.assert_close(
        mixed_images[:, 0, 0, 0], mixed.share * torch.arange(7.0) + (1 - mixed.share) * mixed.partner
    )
    assert torch.equal(mixed.share[0:6:2], mixed.share[1:6:2])
    many = mix(torch.zeros(4000, 1, 1, 1), 0.5, generator())[1].share
    assert 0.45 < (many < 1).float().mean() < 0.55
    assert 0.45 < many[many < 1].mean() < 0.55


def test_a_share_of_a_batch_is_mixed_as_in_the_whole():
    images = torch.randint(256, (12, 2, 3, 3), dtype=torch.uint8, generator=generator())
    whole, _ = mix(images, 0.7, generator(1))
    for part in (slice(0, 6), slice(6, 12)):
        assert torch.equal(mix(images[part], 0.7, generator(1), Share(12, part))[0], whole[part])
