"""The two ops that a captured network shows as single nodes: everything else in it is standard ATen.

Training differentiates through `evenbit.nn.sign` and ordinary convolutions, which a compiler can fuse; under
`torch.export` the modules emit these ops instead, so that deployment finds them in any network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.library.custom_op("evenbit::sign", mutates_args=())
def sign(x: Tensor) -> Tensor:
    """+1 where `x >= 0`, else -1; any shape."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


@sign.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("evenbit::binary_conv2d", mutates_args=())
def binary_conv2d(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int) -> Tensor:
    """Convolution of signs with signs, padded with +1.

    Args:
        x: Signs `[N, C, H, W]`.
        weight: Signs `[O, C / groups, kh, kw]`.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
        groups: Number of channel groups.

    Returns:
        `[N, O, H', W']`, whole numbers.
    """
    return pad_and_convolve(x, weight, stride, padding, groups)


@binary_conv2d.register_fake
def _(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int) -> Tensor:
    return pad_and_convolve(x, weight, stride, padding, groups)


def pad_and_convolve(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int = 1
) -> Tensor:
    """`F.conv2d` after padding with +1 instead of 0: a border of zeros would be a third value beside +1 and -1."""
    if any(padding):
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]), value=1.0)
    return F.conv2d(x, weight, stride=tuple(stride), groups=groups)
