"""Augmentation of whole batches on the device, drawn from an explicit generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random crop after padding, horizontal flip and cutout, in this order, drawn anew for each image.

        crop      y[i, j] = x[i + a - pad, j + b - pad], or 0 outside of x      a, b uniform in 0 .. 2 pad
        flip      y[i, j] = x[i, W - 1 - j] if f, else x[i, j]                  f uniform in {0, 1}
        cutout    y[i, j] = 0 if r <= i < r + s and c <= j < c + s, else x[i, j]
                  s = cutout, r = p - floor(s / 2), c = q - floor(s / 2)        p, q uniform in 0 .. H - 1, 0 .. W - 1

    Attributes:
        pad: Zeros added on each side before a window of the old size is cut out at random; 0 leaves it out.
        flip: Whether half of the images, at random, are mirrored left to right.
        cutout: Side of a square, centred anywhere, that is set to zero (DeVries and Taylor, 2017); 0 leaves it out.
    """

    pad: int = 0
    flip: bool = False
    cutout: int = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augmented copies.

        Args:
            images: `[N, C, H, W]`, any type.
            generator: Source of all randomness; must be on the device of the images.

        Returns:
            The same shape and type.
        """
        count, _, height, width = images.shape
        device = images.device

        def draw(high: int) -> Tensor:
            return torch.randint(high, (count, 1), generator=generator, device=device)

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
        return images


def _covers(size: int, centre: Tensor, side: int) -> Tensor:
    """Which of `size` positions a window of that side covers: `[N, size]`."""
    offset = torch.arange(size, device=centre.device) - (centre - side // 2)
    return (offset >= 0) & (offset < side)
