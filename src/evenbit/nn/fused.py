"""Training of binary networks on a CPU: kernels that pass over a map once where torch passes over it many times.

    adjusted_sign    sign(s_nc x + o_nkc)                             s, o from the moments of x; k the cell of the map
    binary_conv      scale (x ⊛ signs), padded with +1               by the engine's kernels: xor and popcount
    norm_rprelu      RPReLU(BN(y) + shortcut)

These are the formulas of `evenbit.nn.activation`, `evenbit.nn.conv` and `evenbit.nn.block`, which other devices,
evaluation and export compute with torch's own operations; `tests/nn/test_fused.py` compares the two. The work on whole
maps is in csrc/training, which states its arithmetic; work on one number per image and channel is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
from torch import Tensor, nn

from evenbit.nn import _training
from evenbit.nn.moments import count_batch, pooled, track
from evenbit.nn.ops import gradient_of_taps_outside, is_exporting, taps_inside
from evenbit.nn.refinement import RPReLU

BLOCK = 16  # channels that the engine's kernels work on at once
MAX_FAN_IN = 2**16 - 1  # of a binary convolution: some kernels count in 16 bits
WINDOWS = ("clip", "polynomial", "identity")  # estimators that the kernels know

# From the means, variances and third central moments [N, C] of each image's channels to the scale [N, C] and the offset
# before the sign, and an extra result through which gradients flow too. The offset is [N, C], or [N, rows, columns, C]
# if each cell of the map (evenbit.nn.refinement) has its own.
Affine = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
Function = TypeVar("Function", bound=Callable[..., Tensor | tuple[Tensor, Tensor]])


def _uncompiled(function: Function) -> Function:
    """A function that torch.compile calls as it is, since it cannot look into the kernels."""
    return torch.compiler.disable(function)  # type: ignore[no-any-return, no-untyped-call]


def fits(*maps: Tensor) -> bool:
    """Whether the kernels that compute statistics can work on these maps.

    They compute the statistics of this process alone, so it must be the only one.
    """
    together = (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    )
    return not together and takes(*maps)


def takes(*maps: Tensor) -> bool:
    """Whether the kernels can work on these maps: on a CPU, channels last, not being exported.

    They read and write maps of float32 and of bfloat16, in which autocast has convolutions give theirs, and compute in
    float32. Of the other types of autocast, they make float32.
    """
    kinds = (torch.float32, _autocast_dtype())
    return not is_exporting() and all(
        x.dtype in kinds
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        for x in maps
    )


def _known(dtype: torch.dtype) -> torch.dtype:
    """The type that the kernels take for maps of a type."""
    return dtype if dtype == torch.bfloat16 else torch.float32


def _autocast_dtype() -> torch.dtype:
    """Type of convolutions on a CPU: autocast's, or float32 if it is off."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


@_uncompiled
def adjusted_sign(
    x: Tensor, window: str, affine: Affine, parameters: Sequence[Tensor], *, moments: int
) -> tuple[Tensor, Tensor]:
    """±1 of `s x + o`, with `s, o, extra = affine(mean, var, third)` of each image's channels.

    Args:
        x: Real map `[N, C, H, W]` for which `fits` holds.
        window: One of `WINDOWS`: the gradient estimator of the sign.
        affine: Differentiable, from moments `[N, C]` to scale, offset and the extra result, see `Affine`.
        parameters: The other tensors that `affine` reads and that get a gradient.
        moments: How many of the three moments `affine` needs: 0, 2 or 3; the others are given as zeros.

    Returns:
        ±1 in the shape and layout of `x`, and the extra result.
    """
    return _AdjustedSign.apply(x.to(_known(x.dtype)), window, affine, moments, *parameters)  # type: ignore[no-any-return, no-untyped-call]


@_uncompiled
def binary_conv(x: Tensor, signs: Tensor, scale: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """`scale (x ⊛ signs)`, padded with +1.

    Args:
        x: ±1 `[N, C, H, W]` for which `takes` holds, C a multiple of `BLOCK`.
        signs: ±1 `[O, C, kh, kw]`, O a multiple of `BLOCK`.
        scale: `[O]`, a constant for the gradient.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.

    Returns:
        `[N, O, H', W']`, channels last; in the type of autocast if that is bfloat16, as of any convolution.
    """
    x = x.to(_known(_autocast_dtype()))
    return _BinaryConv.apply(x, signs, scale, stride, padding)  # type: ignore[no-any-return, no-untyped-call]


@_uncompiled
def norm_rprelu(y: Tensor, shortcut: Tensor | None, norm: nn.BatchNorm2d, activation: RPReLU) -> Tensor:
    """`RPReLU(BN(y) + shortcut)` in training, with batch statistics; updates the running ones.

    Args:
        y: Map `[N, C, H, W]` for which `fits` holds.
        shortcut: A map of the same shape and layout, or None.
        norm: The batch normalization.
        activation: The activation.

    Returns:
        A map in the shape and layout of `y`.
    """
    dtype = _known(y.dtype if shortcut is None else torch.promote_types(y.dtype, shortcut.dtype))
    return _NormRPReLU.apply(  # type: ignore[no-any-return, no-untyped-call]
        y.to(dtype),
        None if shortcut is None else shortcut.to(dtype),
        norm,
        norm.weight,
        norm.bias,
        activation.gamma,
        activation.slope,
        activation.zeta,
    )


class _AdjustedSign(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, window: str, affine: Affine, moments: int, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        mean, var, third = (
            *_moments(x, moments),
            *(torch.zeros(x.shape[:2], dtype=torch.float32) for _ in range(3 - moments)),
        )
        with torch.enable_grad():
            scale, offset, extra = affine(mean.requires_grad_(), var.requires_grad_(), third.requires_grad_())
        y = torch.empty_like(x)
        cells = (*x.shape[2:], *(offset.shape[1:3] if offset.dim() == 4 else (1, 1)))
        _training.sign_forward(_rows(x), _array(scale), _array(offset), _rows(y), cells, torch.get_num_threads())
        ctx.save_for_backward(x)
        ctx.window, ctx.cells, ctx.parameters = window, cells, parameters
        ctx.moments, ctx.scale, ctx.offset, ctx.extra = (mean, var, third), scale, offset, extra
        return y, extra.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, dextra: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        threads = torch.get_num_threads()
        g, rows = _rows(_channels_last(grad)), _rows(x)
        scale, offset = _array(ctx.scale), _array(ctx.offset)
        dscale, doffset = (torch.empty(each.shape, dtype=torch.float32) for each in (ctx.scale, ctx.offset))
        sums = (_array(dscale), _array(doffset))
        _training.sign_backward_sums(ctx.window, g, rows, scale, offset, *sums, ctx.cells, threads)
        results = ((ctx.scale, dscale), (ctx.offset, doffset), (ctx.extra, dextra))
        ends = [(end, gradient) for end, gradient in results if end.requires_grad]
        gradients: Sequence[Tensor | None] = [None] * (3 + len(ctx.parameters))
        if ends:
            starts = [*ctx.moments, *ctx.parameters]
            outputs, of_outputs = zip(*ends, strict=True)
            gradients = torch.autograd.grad(outputs, starts, of_outputs, retain_graph=True, allow_unused=True)
        # mean = sum x / P, var = sum (x - mean)² / P and third = sum (x - mean)³ / P:
        # d/dx = dmean / P + 2 (x - mean) dvar / P + 3 ((x - mean)² - var) dthird / P
        pixels = rows.shape[1]
        mean, var = (moment.detach() for moment in ctx.moments[:2])
        dmean, dvar = (torch.zeros_like(mean) if each is None else each for each in gradients[:2])
        a = dvar * (2 / pixels)
        b = dmean / pixels - a * mean
        centre, d = None, None
        if gradients[2] is not None:
            third = gradients[2] * (3 / pixels)
            b = b - third * var
            centre, d = _array(mean), _array(third)
        dx = torch.empty_like(x)
        powers = (_array(a), _array(b), centre, d)
        _training.sign_backward(ctx.window, g, rows, scale, offset, *powers, _rows(dx), ctx.cells, threads)
        return (dx, None, None, None, *gradients[3:])


class _BinaryConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, signs: Tensor, scale: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        n, _, *size = x.shape
        o, _, *kernel = signs.shape
        height, width = ((size[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1))
        y = torch.empty((n, o, height, width), dtype=x.dtype, memory_format=torch.channels_last)
        steps = (*stride, *padding)
        _training.binary_conv(_pixels(x), _pixels(signs), _array(scale), steps, _pixels(y), torch.get_num_threads())
        ctx.save_for_backward(x, signs, scale)
        ctx.steps = steps
        ctx.dtype = _autocast_dtype()
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, signs, scale = ctx.saved_tensors
        grad = _channels_last(grad)
        factors = scale[:, None, None, None]
        stride, padding = ctx.steps[:2], ctx.steps[2:]
        reads = [*ctx.needs_input_grad[:2], False]
        operands = (each.to(ctx.dtype) for each in (grad, x, signs * factors))
        dx, dvalues, _ = torch.ops.aten.convolution_backward(
            *operands, None, stride, padding, (1, 1), False, (0, 0), 1, reads
        )
        dx = None if dx is None else dx.to(x.dtype)
        if dvalues is None:
            return dx, None, None, None, None
        dvalues = dvalues.to(signs.dtype)
        if any(padding):
            # A tap that lies outside of the map has read +1 of every channel.
            edges = torch.empty(grad.shape[2], grad.shape[3], grad.shape[1], dtype=torch.float32)
            _training.edge_sums(_pixels(x), _pixels(signs), _pixels(grad), ctx.steps, edges.numpy())
            rows, columns = (
                taps_inside(x.shape[i + 2], grad.shape[i + 2], signs.shape[i + 2], stride[i], padding[i], like=edges)
                for i in (0, 1)
            )
            dvalues = dvalues + gradient_of_taps_outside(edges, rows, columns)[:, None]
        return dx, dvalues * factors, None, None, None


class _NormRPReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        shortcut: Tensor | None,
        norm: nn.BatchNorm2d,
        weight: Tensor,
        bias: Tensor,
        gamma: Tensor,
        slope: Tensor,
        zeta: Tensor,
    ) -> Tensor:
        means, variances = _moments(y, 2)
        mean, var = (moment.squeeze(0) for moment in pooled(means, variances))
        count = y.numel() // y.shape[1]
        track(norm, mean, var, count, count_batch(norm))
        inverse = torch.rsqrt(var + norm.eps)
        scale = weight * inverse
        offset = bias - mean * scale - gamma
        z = torch.empty_like(y)
        _training.rprelu_forward(
            _rows(y),
            None if shortcut is None else _rows(shortcut),
            _array(scale),
            _array(offset),
            _array(slope),
            _array(zeta),
            _rows(z),
            torch.get_num_threads(),
        )
        ctx.save_for_backward(y, shortcut, mean, inverse, scale, offset, slope)
        return z

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, shortcut, mean, inverse, scale, offset, slope = ctx.saved_tensors
        threads = torch.get_num_threads()
        du, sums = torch.empty_like(y), torch.empty(len(y), 4, y.shape[1], dtype=torch.float32)
        _training.rprelu_backward(
            _rows(_channels_last(grad)),
            _rows(y),
            None if shortcut is None else _rows(shortcut),
            _array(scale),
            _array(offset),
            _array(slope),
            _rows(du),
            sums.numpy(),
            threads,
        )
        sum_du, sum_duy, sum_below, sum_g = sums.double().sum(0).float()
        # Batch normalization with ŷ = (y - mean) inverse:  dy = scale (du - mean(du) - ŷ mean(du ŷ))
        count = y.numel() // y.shape[1]
        dweight = (sum_duy - mean * sum_du) * inverse
        a = -scale * inverse * dweight / count
        b = -scale * sum_du / count - a * mean
        dy = torch.empty_like(y)
        _training.norm_backward(_rows(du), _rows(y), _array(scale), _array(a), _array(b), _rows(dy), threads)
        dshortcut = None if shortcut is None else du
        return dy, dshortcut, None, dweight, sum_du, -sum_du, sum_below, sum_g


def _moments(x: Tensor, count: int) -> list[Tensor]:
    """Mean, variance and third central moment of each channel of each image, `[N, C]`: none, two or all of them."""
    moments = [torch.empty(x.shape[:2], dtype=torch.float32) for _ in range(count)]
    if moments:
        mean, var, *third = (moment.numpy() for moment in moments)
        _training.moments(_rows(x), mean, var, third[0] if third else None, torch.get_num_threads())
    return moments


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _rows(x: Tensor) -> npt.NDArray[Any]:
    """A channels-last map `[N, C, H, W]` as the `[N, H W, C]` that lies in memory, see `_pixels`."""
    n, c, h, w = x.shape
    return _pixels(x).reshape(n, h * w, c)


def _pixels(x: Tensor) -> npt.NDArray[Any]:
    """`[N, C, H, W]` as a `[N, H, W, C]` in memory; bfloat16, which numpy lacks, as the int16 of its bits."""
    pixels = x.detach().permute(0, 2, 3, 1).contiguous()
    return (pixels.view(torch.int16) if x.dtype == torch.bfloat16 else pixels).numpy()


def _array(x: Tensor) -> npt.NDArray[np.float32]:
    return x.detach().contiguous().numpy()
