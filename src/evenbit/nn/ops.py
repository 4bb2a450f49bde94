"""evenbit's own two ops, which are single nodes in a captured network; all other nodes are standard ATen ops.

Training differentiates through `evenbit.nn.sign` and ordinary convolutions, which a compiler can fuse; under
`torch.export` the modules emit these ops instead, so that deployment finds them in any network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.library.custom_op("evenbit::sign", mutates_args=())
def sign(x: Tensor) -> Tensor:
    """+1 where `x >= 0`, else -1; x may have any shape."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


@sign.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("evenbit::binary_conv2d", mutates_args=())
def binary_conv2d(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    """Convolution of signs with signs, padded with +1.

    Args:
        x: Signs `[N, C, H, W]`.
        weight: Signs `[O, C / groups, kh, kw]`.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
        dilation: Vertical and horizontal step from one tap of the kernel to the next.
        groups: Number of channel groups.

    Returns:
        `[N, O, H', W']`, whole numbers.
    """
    return convolve_padded(x, weight, stride, padding, groups, dilation)


@binary_conv2d.register_fake
def _(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Tensor:
    return convolve_padded(x, weight, stride, padding, groups, dilation)


def is_exporting() -> bool:
    """Whether the graph of a network is being traced (`evenbit.nn.trace`).

    Before torch 2.13, `torch.compiler.is_exporting` is also true while torch.compile traces a network to train it.
    """
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def convolve_padded(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Tensor:
    """`F.conv2d` padded with +1 instead of 0: zeros would be a third value beside +1 and -1.

        conv(x padded with 1)[o, i, j] = conv(x padded with 0)[o, i, j] + sum of the w[o, :, ky, kx] outside of x

    The second term is the same for all images and 0 except at the edges, so it is cheaper than a padded copy.
    """
    y = F.conv2d(x, weight, None, tuple(stride), tuple(padding), tuple(dilation), groups)
    if not any(padding):
        return y
    sides = [(x.shape[i + 2], y.shape[i + 2], weight.shape[i + 2], stride[i], padding[i], dilation[i]) for i in (0, 1)]
    rows, columns = (taps_inside(*side, like=weight) for side in sides)
    with torch.autocast(x.device.type, enabled=False):  # where no tap is outside, the border must be 0
        border = taps_outside(weight.sum(1), rows, columns).to(y.dtype)
    if torch.compiler.is_compiling():
        return y + border
    return _AddAtEdges.apply(y, border, *(_edges(*side) for side in sides))  # type: ignore[no-any-return, no-untyped-call]


def taps_inside(
    size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int = 1, *, like: Tensor
) -> Tensor:
    """Along one axis: 1 where a tap of the kernel lies on the map, 0 where it lies outside.

    Args:
        size: Size of the map.
        outputs: Number of outputs.
        kernel: Number of taps of each output.
        stride: Step from one output to the next.
        padding: Padding before the map.
        dilation: Step from one tap to the next.
        like: A tensor whose type and device the result gets.

    Returns:
        `[outputs, kernel]`.
    """
    start = torch.arange(outputs, device=like.device) * stride - padding
    position = start[:, None] + torch.arange(kernel, device=like.device) * dilation
    return ((position >= 0) & (position < size)).to(like.dtype)


def taps_outside(taps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sum of each filter's taps `[O, kh, kw]` that lie outside of the map, at each output: `[O, H', W']`.

    Args:
        taps: Taps of each filter, summed over the channels.
        rows: `taps_inside` along the height.
        columns: Likewise along the width.
    """
    return taps.sum((1, 2))[:, None, None] - rows @ taps @ columns.T


def gradient_of_taps_outside(edges: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The gradient for the taps of `taps_outside`, `[O, kh, kw]`, from the gradient for its result, `[H', W', O]`."""
    inside = torch.einsum("ijo,iy,jx->oyx", edges, rows, columns)
    return edges.sum((0, 1))[:, None, None] - inside


def _edges(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[int, int]:
    """How many outputs at the start and at the end have taps outside; see `taps_inside`."""
    starts = [index * stride - padding for index in range(outputs)]
    whole = [index for index, start in enumerate(starts) if start >= 0 and start + dilation * (kernel - 1) < size]
    return (whole[0], outputs - 1 - whole[-1]) if whole else (outputs, 0)


class _AddAtEdges(torch.autograd.Function):
    """`y += border`, where the border is not zero: in its first and last rows and columns."""

    @staticmethod
    def forward(ctx, y: Tensor, border: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.mark_dirty(y)
        ctx.parts = _parts(border, rows, columns)
        for part in ctx.parts:
            y[part] += border[part]
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[no-untyped-def]
        border = grad.new_zeros(grad.shape[1:])
        for part in ctx.parts:
            border[part] = grad[part].sum(0)
        return grad, border, None, None


def _parts(border: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> list[tuple[object, slice, slice]]:
    """The four edges as disjoint slices of the last two axes."""
    height, width = border.shape[1:]
    middle = slice(rows[0], height - rows[1])
    slices = (
        (slice(0, rows[0]), slice(None)),
        (slice(height - rows[1], height), slice(None)),
        (middle, slice(0, columns[0])),
        (middle, slice(width - columns[1], width)),
    )
    return [(..., row, column) for row, column in slices]


def pair(value: Any) -> tuple[int, int]:
    """The vertical and horizontal value of a setting that may be one number for both."""
    items = [value] if isinstance(value, int) else list(value)
    return (items[0], items[-1])
