"""Real convolutions and dense layers, padding and matrix products."""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_lowercase
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.common import alias, is_computed, padded, pair_for
from evenbit.deploy.aten.einsum import by_constant
from evenbit.deploy.aten.moves import move
from evenbit.deploy.lowering import Floats, Lowering, check_images, layout, shape_of
from evenbit.errors import CaptureError
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import (
    Conv,
    MatMul,
    Tail,
)

aten = torch.ops.aten


def _dense(lowering: Lowering, source: Any, weight: Floats) -> tuple[str, Floats] | None:
    """A map and weights `[O, C, H, W]` for it, where `source` is a vector that has the numbers of that map once.

    A dense layer on a flattened map is a convolution whose kernel is the whole map.
    """
    shape, value = shape_of(source), lowering.value(source)
    if source not in lowering.places or shape[0] != BATCH or not lowering.is_whole(source):
        return None
    spread = np.empty((len(weight), shape[1]))
    spread[:, lowering.places[source][0].reshape(-1)] = weight.reshape(len(weight), -1)
    return value, spread.reshape(-1, *lowering.maps[value])


def window_weight(lowering: Lowering, node: Node, *, dense: bool) -> tuple[str, Floats]:
    """The input of a convolution and its weights `[O, I, kh, kw]`, as `[O, kh, kw, I]`.

    `dense` says that stride, padding and groups are those of a dense layer. Sequences `[N, C, L]` are maps of one row.
    """
    weight = lowering.array(argument(node, 1), node)
    source: Any = argument(node, 0)
    if weight.ndim == 3:
        weight = weight[:, :, None]
    if source in lowering.pads:
        return lowering.values[source], weight.transpose(0, 2, 3, 1)
    one_pixel = dense and weight.shape[2:] == (1, 1)
    if one_pixel and np.prod(shape_of(source)[2:]) == 1 and (found := _dense(lowering, source, weight)):
        return found[0], found[1].transpose(0, 2, 3, 1)
    if not one_pixel:
        check_images(source)
    return lowering.stored(source), weight.transpose(0, 2, 3, 1)


def _conv(lowering: Lowering, node: Node) -> None:
    defaults = ((1, 1), (0, 0), (1, 1))
    stride, padding, dilation = (pair_for(node, argument(node, 3 + i, d[0]), d[0]) for i, d in enumerate(defaults))
    _float_window(lowering, node, stride, (padding[0], padding[0], padding[1], padding[1]), dilation)


def _conv_same(lowering: Lowering, node: Node) -> None:
    """The padding "valid" or "same": as many zeros as the kernel is larger than 1, the odd one below and right."""
    kernel = (1, *lowering.evaluate(argument(node, 1)).shape[2:])[-2:]
    dilation = pair_for(node, argument(node, 5, 1), 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    if argument(node, 4, "valid") == "same":
        spare = [step * (size - 1) for size, step in zip(kernel, dilation, strict=True)]
        padding = (spare[0] // 2, spare[0] - spare[0] // 2, spare[1] // 2, spare[1] - spare[1] // 2)
    _float_window(lowering, node, pair_for(node, argument(node, 3, 1), 1), padding, dilation)


def _linear(lowering: Lowering, node: Node) -> None:
    """Along the last axis, whose numbers are channels then."""
    weight, bias = lowering.array(argument(node, 1), node), argument(node, 2, None)
    _dense_layer(lowering, node, weight, None if bias is None else lowering.array(bias, node))


def _matmul(lowering: Lowering, node: Node) -> None:
    right: Any = argument(node, 1)
    left: Any = argument(node, 0)
    if is_computed(lowering, left) and is_computed(lowering, right):
        if shape_of(left)[:-2] == shape_of(right)[:-2] and len(shape_of(left)) > 2:
            value = lowering.builder.add(MatMul, lowering.stored(left, -1), Tail(), other=lowering.stored(right, -1))
            lowering.define(node, value, -1)
            return
    elif is_computed(lowering, left) and (weight := lowering.array(right, node)).ndim == 2:
        _dense_layer(lowering, node, weight.T, None)
        return
    elif _matrices_by_constant(lowering, node, left, right):
        return
    raise CaptureError(f"{where(node)}: this product of matrices cannot be packed; use nn.Linear or nn.Conv2d")


def _matrices_by_constant(lowering: Lowering, node: Node, left: Any, right: Any) -> bool:
    """A product with a constant on the left, or with one for each index of other axes; whether it is one."""
    source, other = (left, right) if is_computed(lowering, left) else (right, left)
    constant = lowering.array(other, node)
    rank = max(constant.ndim, len(shape_of(source)))
    if rank != len(shape_of(source)) or constant.ndim < 2:
        return False
    before = ascii_lowercase[: rank - 2]
    axes, of_constant = (f"{before}xy", f"{before}yz") if source is left else (f"{before}yz", f"{before}xy")
    lengths = (1,) * (rank - constant.ndim) + constant.shape[:-2]
    kept = "".join(axis for axis, length in zip(before, lengths, strict=True) if length > 1)
    constant = constant.reshape([length for length in lengths if length > 1] + list(constant.shape[-2:]))
    return by_constant(lowering, node, source, axes, constant, kept + of_constant[-2:], f"{before}xz")


def _dense_layer(lowering: Lowering, node: Node, weight: Floats, bias: Floats | None) -> None:
    """Weights `[O, F]` along the last axis of the first argument."""
    source: Any = argument(node, 0)
    tail = Tail() if bias is None else Tail(bias=lowering.builder.tensor(bias))
    found = _dense(lowering, source, weight) if source.meta["val"].ndim == 2 else None
    value, kernel = found or (lowering.rows(source), weight[:, :, None, None])
    fields = {"weight": lowering.builder.tensor(kernel.transpose(0, 2, 3, 1))}
    lowering.define_rows(node, lowering.builder.add(Conv, value, tail, **fields), source)


def _float_window(
    lowering: Lowering, node: Node, stride: tuple[int, int], padding: tuple[int, ...], dilation: tuple[int, int]
) -> None:
    """A convolution with zeros above, below, left and right of its input.

    A Plan's are the same on both sides; where the network's are not, rows or columns of zeros are added to the kernel.
    They fill the gaps of a dilated kernel too.
    """
    groups = argument(node, 6, 1)
    builder, bias = lowering.builder, argument(node, 2, None)
    tail = Tail() if bias is None else Tail(bias=builder.tensor(lowering.array(bias, node)))
    pads = lowering.pads.get(argument(node, 0), (0, 0, 0, 0))
    total = [sum(sides) for sides in zip(padding, pads, strict=True)]
    both = (max(total[:2]), max(total[2:]))
    dense = (stride, both, groups) == ((1, 1), (0, 0), 1)
    source, weight = window_weight(lowering, node, dense=dense)
    weight = _dilated(weight, dilation)
    missing = (both[0] - total[0], both[0] - total[1]), (both[1] - total[2], both[1] - total[3])
    weight = np.pad(weight, ((0, 0), *missing, (0, 0)))
    fields = {"weight": builder.tensor(weight), "stride": stride, "padding": both, "groups": groups}
    lowering.define(node, builder.add(Conv, source, tail, **fields))


def _dilated(weight: Floats, dilation: tuple[int, int]) -> Floats:
    """Weights `[O, kh, kw, I]` with zeros between their rows and columns."""
    outputs, *size, inputs = weight.shape
    height, width = ((n - 1) * step + 1 for n, step in zip(size, dilation, strict=True))
    spread = np.zeros((outputs, height, width, inputs))
    spread[:, :: dilation[0], :: dilation[1]] = weight
    return spread


def _pad(lowering: Lowering, node: Node) -> None:
    """Zeros around a map, added by the convolutions that read it or else by one that does nothing more.

    Less than none of them cut the map.
    """
    source: Any = argument(node, 0)
    amounts = list(argument(node, 1))
    missing = 4 - len(shape_of(source))  # sequences have no height, vectors no width either
    amounts[2 * (2 - missing) : 2 * (2 - missing)] = [0, 0] * missing
    amounts += [0] * 8
    left, right, above, below, *others = amounts[:8]
    mode, fill = argument(node, 2, "constant"), argument(node, 3, None) or 0.0
    if not any(amounts):
        alias(lowering, node)
        return
    if mode != "constant":
        move(lowering, node)
        return
    if fill != 0 or any(others[2:]) or min(others) < 0 or (any(others) and any(amounts[:4])):
        raise CaptureError(f"{where(node)}: only padding of height and width, or of channels, with zeros can be packed")
    if missing < 0:
        raise CaptureError(f"{where(node)}: padding of {list(shape_of(source))} cannot be packed; give it [N, C, H, W]")
    check_images(source)
    if any(others):
        _pad_channels(lowering, node, others[0], others[1])
        return
    cut = [min(amount, 0) for amount in amounts[: 4 - 2 * missing]]
    places = F.pad(torch.from_numpy(lowering.placed(source)), cut).numpy()
    lowering.pads[node] = (max(above, 0), max(below, 0), max(left, 0), max(right, 0))
    lowering.values[node] = lowering.gathered(node, lowering.value(source), places, 1)
    convolutions = (aten.conv2d.default, aten.conv2d.padding, aten.conv1d.default, aten.conv1d.padding)
    if not all(user.target in convolutions and user.args[0] is node for user in node.users):
        lowering.define(node, padded(lowering, lowering.values[node], lowering.pads.pop(node)))


def _pad_channels(lowering: Lowering, node: Node, before: int, after: int) -> None:
    """Channels of zeros before and after those of a map, as in shortcuts that widen it: channels of it times zero."""
    source: Any = argument(node, 0)
    places = lowering.placed(source)
    wide = [(0, 0) if axis != 1 else (before, after) for axis in range(places.ndim)]
    value = lowering.gathered(node, lowering.value(source), np.pad(places, wide, mode="edge"), 1)
    scale = np.pad(np.ones(places.shape[1]), (before, after))
    lowering.define(node, lowering.builder.elementwise(value, Tail(scale=lowering.builder.tensor(scale))))


def _conv_transpose(lowering: Lowering, node: Node) -> None:
    """A convolution whose result has a channel for each place between the pixels, which are then put there.

    With stride s, result y of the full, not yet cut, height reads input (y - k) / s at tap k. So all y of one remainder
    by s are a convolution with every s-th tap, in reverse: the results of all remainders are channels of one
    convolution, and lie in turn (Shi et al., Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network, CVPR 2016).
    """
    source: Any = argument(node, 0)
    check_images(source)
    weight = lowering.array(argument(node, 1), node)  # [I, O / groups, kh, kw]
    defaults = ((1, 1), (0, 0), (0, 0), None, (1, 1))
    stride, padding, _, _, dilation = (
        (0, 0) if d is None else pair_for(node, argument(node, 3 + i, d[0]), d[0]) for i, d in enumerate(defaults)
    )
    groups = argument(node, 6, 1)
    weight = weight[:, :, None] if weight.ndim == 3 else weight
    inputs, outputs, *_ = weight.shape
    weight = _dilated(weight.transpose(0, 2, 3, 1), dilation).transpose(0, 3, 1, 2)
    value, (_, height, width) = lowering.stored(source), layout(node)
    sizes = lowering.maps[value][1:]
    # Taps of a remainder: enough for the kernel, and for results that lie past what it reaches.
    taps = [
        max(-(-kernel // step), -(-(pad + size) // step) - source_size + 1)
        for kernel, step, pad, size, source_size in zip(
            weight.shape[2:], stride, padding, (height, width), sizes, strict=True
        )
    ]
    spare = [count * step - kernel for count, step, kernel in zip(taps, stride, weight.shape[2:], strict=True)]
    weight = np.pad(weight, ((0, 0), (0, 0), (0, spare[0]), (0, spare[1])))
    split = weight.reshape(groups, inputs // groups, outputs, taps[0], stride[0], taps[1], stride[1])
    # [group, output, remainders][taps in reverse][inputs of the group]
    kernel = split[:, :, :, ::-1, :, ::-1].transpose(0, 2, 4, 6, 3, 5, 1).reshape(-1, *taps, inputs // groups)
    builder, bias = lowering.builder, argument(node, 2, None)
    remainders = stride[0] * stride[1]
    tail = Tail() if bias is None else Tail(bias=builder.tensor(np.repeat(lowering.array(bias, node), remainders)))
    fields = {"weight": builder.tensor(kernel), "padding": (taps[0] - 1, taps[1] - 1), "groups": groups}
    made = builder.add(Conv, value, tail, **fields)
    full = (sizes[0] + taps[0] - 1, sizes[1] + taps[1] - 1)
    lowering.maps[made] = (len(kernel), *full)
    places = np.arange(BATCH * len(kernel) * full[0] * full[1])
    places = places.reshape(BATCH, groups * outputs, *stride, *full).transpose(0, 1, 4, 2, 5, 3)
    places = places.reshape(BATCH, groups * outputs, full[0] * stride[0], full[1] * stride[1])
    places = places[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    lowering.define_moved(node, made, places.reshape(shape_of(node)))


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.conv2d.default: _conv,
    aten.conv2d.padding: _conv_same,
    aten.conv1d.default: _conv,
    aten.conv1d.padding: _conv_same,
    aten.conv_transpose1d.default: _conv_transpose,
    aten.conv_transpose2d.input: _conv_transpose,
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    aten.mm.default: _matmul,
    aten.bmm.default: _matmul,
    aten.pad.default: _pad,
}
