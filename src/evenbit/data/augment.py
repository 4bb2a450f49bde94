"""Augmentation of whole batches on the device, drawn from an explicit generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ERASED = (0.15, 0.5)  # side of an erased rectangle, in parts of the image's
SLIMMEST = 3 / 4  # width to height of a window, at least; at most the inverse


@dataclass(frozen=True)
class Share:
    """The part of a batch that one of several processes has.

    Attributes:
        batch: Number of images in the whole batch.
        part: The images of this process.
    """

    batch: int
    part: slice


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images, in this order, drawn anew for each image.

        resize    y = the window of height h H and width w W, anywhere in x, resized to H x W bilinearly
                  h = sqrt(a / r), w = sqrt(a r)              a uniform in area .. 1, log r in log 3/4 .. log 4/3,
                                                              then r clamped to a .. 1/a, so that h and w are <= 1
        crop      y[i, j] = x[i + a - pad, j + b - pad], or 0 outside of x      a, b uniform in 0 .. 2 pad
        flip      y[i, j] = x[i, W - 1 - j] if f, else x[i, j]                  f uniform in {0, 1}
        cutout    y[i, j] = 0 if r <= i < r + s and c <= j < c + s, else x[i, j]
                  s = cutout, r = p - floor(s / 2), c = q - floor(s / 2)        p, q uniform in 0 .. H - 1, 0 .. W - 1

        rotate    y(p) = x(R p), R turns around the middle by t degrees, bilinearly, with the border repeated outside
                                                                                t uniform in -rotate .. rotate
        color     y = min(max(g + s (u - g), 0), 255), u = m + c (b x - m)      b, c, s uniform in 1 - color ..
                  m: mean of b x over the image, g: mean of u over a pixel      1 + color
        erase     y[i, j] = v if the pixel is in the rectangle, else x[i, j], in that share of the images
                  v uniform in 0 .. 255 for each channel; height h H and width w W, h and w uniform in 0.15 .. 0.5

    `mix` is separate, since it changes labels too.

    Attributes:
        area: Least share of an image that the window to be resized covers (Szegedy et al., 2015); 1 leaves it out.
        pad: Zeros added on each side before a window of the old size is cut out at random; 0 leaves it out.
        flip: Whether half of the images, at random, are mirrored left to right.
        cutout: Side of a square, centred anywhere, that is set to zero (DeVries and Taylor, 2017); 0 leaves it out.
        rotate: Largest rotation, either way, in degrees; 0 leaves it out.
        color: How far the factors of brightness, contrast and saturation may differ from 1; 0 leaves it out.
        erase: Share of the images in which a rectangle is erased (Zhong et al., 2020); 0 leaves it out.
    """

    area: float = 1
    pad: int = 0
    flip: bool = False
    cutout: int = 0
    rotate: float = 0
    color: float = 0
    erase: float = 0

    def __call__(self, images: Tensor, generator: torch.Generator, share: Share | None = None) -> Tensor:
        """Augmented copies.

        Args:
            images: `[N, C, H, W]`, any type.
            generator: Source of all randomness; must be on the device of the images.
            share: Which part of a larger batch the images are. They are changed as if the whole batch were here, so
                the number of processes makes no difference.

        Returns:
            The same shape and type.
        """
        count, _, height, width = images.shape
        device = images.device
        drawn, part = (count, slice(None)) if share is None else (share.batch, share.part)

        def draw(high: int) -> Tensor:
            return torch.randint(high, (drawn, 1), generator=generator, device=device)[part]

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(drawn, generator=generator, device=device)[part]

        if self.area < 1:
            area = uniform(self.area, 1)
            ratio = uniform(math.log(SLIMMEST), -math.log(SLIMMEST)).exp().clamp(area, 1 / area)
            sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)  # for rounding
            corners = torch.stack([uniform(0, 1), uniform(0, 1)], 1) * (1 - sides)
            images = _windows(images, corners, sides)
        rows = torch.arange(height, device=device).expand(count, -1)
        columns = torch.arange(width, device=device).expand(count, -1)
        if self.pad:
            images = F.pad(images, (self.pad,) * 4)
            rows = rows + draw(2 * self.pad + 1)
            columns = columns + draw(2 * self.pad + 1)
        if self.flip:
            columns = torch.where(draw(2).bool(), columns.flip(1), columns)
        if self.pad or self.flip:
            index = torch.arange(count, device=device)[:, None, None]
            # Indexing with the channels last moves whole pixels.
            images = images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        if self.cutout:
            hit_rows = _covers(height, draw(height), self.cutout)
            hit_columns = _covers(width, draw(width), self.cutout)
            images = images.masked_fill((hit_rows[:, :, None] & hit_columns[:, None, :])[:, None], 0)
        if self.rotate:
            images = _turned(images, torch.deg2rad(uniform(-self.rotate, self.rotate)))
        if self.color:
            images = _recolored(images, *(uniform(1 - self.color, 1 + self.color)[:, None, None, None] for _ in "bcs"))
        if self.erase:
            inside = uniform(0, 1)[:, None] < self.erase
            for axis, size in ((2, height), (3, width)):
                side, place = uniform(*ERASED), uniform(0, 1)
                at = (torch.arange(size, device=device) + 0.5) / size
                start = (place * (1 - side))[:, None]
                hit = (at >= start) & (at < start + side[:, None])
                inside = inside[..., None] & hit[:, None, :] if axis == 3 else inside & hit
            levels = torch.rand(drawn, images.shape[1], generator=generator, device=device)[part]
            levels = (255 * levels).round() if not images.is_floating_point() else levels
            images = torch.where(inside[:, None], levels[:, :, None, None].to(images.dtype), images)
        return images


@dataclass(frozen=True)
class Mixed:
    """How the images of a batch are mixed with each other.

    Attributes:
        share: `[N]`, the weight of each image and of its label.
        partner: `[N]`, index of the image that has the rest of the weight.
    """

    share: Tensor
    partner: Tensor


def mix(images: Tensor, amount: float, generator: torch.Generator, share: Share | None = None) -> tuple[Tensor, Mixed]:
    """Mixes neighbours of a batch, which is in a random order: `y_i = k x_i + (1 - k) x_j` (Zhang et al., mixup, 2018).

    Images 0 and 1 are neighbours, 2 and 3, and so on. k is uniform in 0 .. 1 for the pairs that are mixed; it is 1 for
    the others and for a last image without a neighbour.

    Args:
        images: `[N, C, H, W]`, any type; parts of a larger batch hold whole pairs.
        amount: Share of the pairs that are mixed.
        generator: See `Augmentation`.
        share: See `Augmentation`.
    """
    count, device = len(images), images.device
    drawn, part = (count, slice(None)) if share is None else (share.batch, share.part)
    kept, chosen = torch.rand(2, -(-drawn // 2), generator=generator, device=device)
    kept = torch.where(chosen < amount, kept, 1).repeat_interleave(2)[:drawn][part]
    partner = torch.arange(count, device=device) ^ 1
    if count % 2:
        partner[-1] = count - 1
    weight = kept[:, None, None, None]
    levels = weight * images + (1 - weight) * images[partner]
    return (levels if images.is_floating_point() else levels.round()).to(images.dtype), Mixed(kept, partner)


def _turned(images: Tensor, angles: Tensor) -> Tensor:
    """Images turned around their middles by angles `[N]` in radians."""
    cos, sin = angles.cos(), angles.sin()
    slant = images.shape[2] / images.shape[3]  # coordinates are in -1 .. 1 along both axes
    theta = torch.stack([cos, -sin * slant, 0 * cos, sin / slant, cos, 0 * cos], 1).view(-1, 2, 3)
    return _sampled(images, theta)


def _recolored(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Images with other brightness, contrast and saturation; the factors are `[N, 1, 1, 1]`."""
    x = brightness * images.float()
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + contrast * (x - mean)
    grey = x.mean(1, keepdim=True)
    x = grey + saturation * (x - grey)
    return x.clamp(0, 1).to(images.dtype) if images.is_floating_point() else x.clamp(0, 255).round().to(images.dtype)


def _windows(images: Tensor, corners: Tensor, sides: Tensor) -> Tensor:
    """A window of each image, resized to the image; `corners` and `sides` are `[N, (x, y)]`, as shares of the image."""
    theta = torch.diag_embed(sides)  # from coordinates in a window to those in its image, both in -1 .. 1
    shifts = 2 * corners + sides - 1
    return _sampled(images, torch.cat([theta, shifts[:, :, None]], 2))


def _sampled(images: Tensor, theta: Tensor) -> Tensor:
    """Images sampled at the coordinates to which `theta` `[N, 2, 3]` maps those of the result."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    levels = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return (levels if images.is_floating_point() else levels.round()).to(images.dtype)


def _covers(size: int, centre: Tensor, side: int) -> Tensor:
    """Which of `size` positions a window of that side covers: `[N, size]`."""
    offset = torch.arange(size, device=centre.device) - (centre - side // 2)
    return (offset >= 0) & (offset < side)
