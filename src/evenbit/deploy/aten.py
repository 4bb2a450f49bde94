"""How each ATen op becomes Plan ops: `LOWERINGS` is the table; each function in it handles one kind of node."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.bits import pack_bits
from evenbit.deploy.lowering import Floats, Lowering, check_images, layout, layout_of, shape_of, spread_out
from evenbit.errors import CaptureError
from evenbit.nn.conversion.moves import MOVES
from evenbit.nn.conversion.trace import BATCH, argument, where
from evenbit.nn.ops import pair
from evenbit.ops import (
    AddMap,
    AvgPool,
    BinaryConv,
    Concat,
    Conv,
    Interpolate,
    LayerNorm,
    MatMul,
    MaxPool,
    Multiply,
    Softmax,
    Tail,
)

aten = torch.ops.aten


def _unary(lowering: Lowering, node: Node, tail: Callable[[int], Tail]) -> None:
    """A function of each number alone; `tail` makes a Tail of it for so many channels."""
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    made = lowering.builder.elementwise(value, tail(lowering.maps[value][0]))
    lowering.define_alike(node, made, source, value)


def _affine(
    lowering: Lowering, node: Node, source: Any, scale: Floats | None = None, bias: Floats | None = None
) -> None:
    """`scale x + bias`, with constants that broadcast to the shape of the node."""
    if shape_of(source) != shape_of(node):
        value = lowering.widened(source, node)
        lowering.define(node, value)
    else:
        value = lowering.worked_on(source)
        lowering.define_alike(node, value, source, value)
    for axis in (None, *range(1, len(shape_of(node)))):
        factor = None if scale is None else lowering.per_channel(scale, node, axis)
        summand = None if bias is None else lowering.per_channel(bias, node, axis)
        if (factor is None) == (scale is None) and (summand is None) == (bias is None):
            value = value if axis is None else lowering.stored(node, axis)
            tail = Tail(
                scale=None if factor is None else lowering.builder.tensor(factor),
                bias=None if summand is None else lowering.builder.tensor(summand),
            )
            made = lowering.builder.elementwise(value, tail)
            if axis is None:
                lowering.values[node], lowering.maps[made] = made, lowering.maps[value]
            else:
                lowering.places.pop(node, None)
                lowering.define(node, made, axis)
            return
    if scale is not None or bias is None:
        raise CaptureError(f"{where(node)}: {node.target} with a constant that is not one number a channel")
    _add_map(lowering, node, bias)


def _add_map(lowering: Lowering, node: Node, constant: Floats) -> None:
    """Adds a constant that broadcasts to the shape of a node which is defined as what it is added to."""
    shape, value = shape_of(node), lowering.values[node]
    channels, height, width = lowering.maps[value]
    spread = np.empty(BATCH * channels * height * width)
    spread[lowering.placed(node).reshape(-1)] = np.broadcast_to(constant, shape).reshape(-1)
    first, second = spread.reshape(BATCH, channels, height, width)
    if not np.array_equal(first, second):
        raise CaptureError(f"{where(node)}: {node.target} with a constant that differs between the images of a batch")
    made = lowering.builder.add(AddMap, value, Tail(), map=lowering.builder.tensor(first.transpose(1, 2, 0)))
    lowering.values[node], lowering.maps[made] = made, lowering.maps[value]


def _alias(lowering: Lowering, node: Node) -> None:
    source: Any = argument(node, 0)
    value = lowering.value(source)
    lowering.define_alike(node, value, source, value)


def _nothing(lowering: Lowering, node: Node) -> None:
    """A check that holds while tracing."""


def _dropout(lowering: Lowering, node: Node) -> None:
    if argument(node, 2):
        raise CaptureError(f"{where(node)}: a dropout that is active in eval mode cannot be lowered")
    _alias(lowering, node)


def _move(lowering: Lowering, node: Node) -> None:
    """Numbers that change places, are left out or repeated: what is done to them is done to their places."""
    source: Any = argument(node, 0)
    value = lowering.value(source)
    places = torch.from_numpy(lowering.placed(source)).double()  # an op of floats may move them
    move: Any = aten.reshape.default if node.target == aten.view.default else node.target  # whatever their strides
    moved = move(places, *node.args[1:], **node.kwargs)
    if isinstance(moved, torch.Tensor):
        lowering.define_moved(node, value, moved.long().numpy())
        if node.target == aten.roll.default:  # what is cut after it would not be sums of rows, columns and channels
            axis = -1 if lowering.is_map(source, -1) else 1
            rolled = lowering.stored(node, axis)
            lowering.places.pop(node)
            lowering.define(node, rolled, axis)
    else:
        lowering.parts[node] = [(value, part.long().numpy()) for part in moved]


def _pick(lowering: Lowering, node: Node) -> None:
    """One of several tensors; of a pooling, the values and not their places."""
    source: Any = argument(node, 0)
    index = argument(node, 1)
    if source in lowering.parts:
        lowering.define_moved(node, *lowering.parts[source][index])
    elif index == 0:
        _alias(lowering, node)
    elif node.users:
        raise CaptureError(f"{where(node)}: the places of the largest values cannot be lowered")


def _sign(lowering: Lowering, node: Node) -> None:
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    lowering.define_alike(node, lowering.sign(value), source, value)


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


def _window_weight(lowering: Lowering, node: Node, *, dense: bool) -> tuple[str, Floats]:
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


def _pair(node: Node, setting: Any, of_rows: int) -> tuple[int, int]:
    """Vertical and horizontal of a setting; sequences have but one row, for which it is `of_rows`."""
    return (of_rows, pair(setting)[0]) if len(shape_of(node)) == 3 else pair(setting)


def _conv(lowering: Lowering, node: Node) -> None:
    defaults = ((1, 1), (0, 0), (1, 1))
    stride, padding, dilation = (_pair(node, argument(node, 3 + i, d[0]), d[0]) for i, d in enumerate(defaults))
    _float_window(lowering, node, stride, (padding[0], padding[0], padding[1], padding[1]), dilation)


def _conv_same(lowering: Lowering, node: Node) -> None:
    """The padding "valid" or "same": as many zeros as the kernel is larger than 1, the odd one below and right."""
    kernel = (1, *lowering.evaluate(argument(node, 1)).shape[2:])[-2:]
    dilation = _pair(node, argument(node, 5, 1), 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    if argument(node, 4, "valid") == "same":
        spare = [step * (size - 1) for size, step in zip(kernel, dilation, strict=True)]
        padding = (spare[0] // 2, spare[0] - spare[0] // 2, spare[1] // 2, spare[1] - spare[1] // 2)
    _float_window(lowering, node, _pair(node, argument(node, 3, 1), 1), padding, dilation)


def _linear(lowering: Lowering, node: Node) -> None:
    """Along the last axis, whose numbers are channels then."""
    weight, bias = lowering.array(argument(node, 1), node), argument(node, 2, None)
    _dense_layer(lowering, node, weight, None if bias is None else lowering.array(bias, node))


def _matmul(lowering: Lowering, node: Node) -> None:
    right: Any = argument(node, 1)
    left: Any = argument(node, 0)
    if _is_computed(lowering, left) and _is_computed(lowering, right):
        if shape_of(left)[:-2] == shape_of(right)[:-2] and len(shape_of(left)) > 2:
            value = lowering.builder.add(MatMul, lowering.stored(left, -1), Tail(), other=lowering.stored(right, -1))
            lowering.define(node, value, -1)
            return
    elif _is_computed(lowering, left) and (weight := lowering.array(right, node)).ndim == 2:
        _dense_layer(lowering, node, weight.T, None)
        return
    raise CaptureError(f"{where(node)}: this product of matrices cannot be lowered; use nn.Linear or nn.Conv2d")


def _dense_layer(lowering: Lowering, node: Node, weight: Floats, bias: Floats | None) -> None:
    """Weights `[O, F]` along the last axis of the first argument."""
    source: Any = argument(node, 0)
    tail = Tail() if bias is None else Tail(bias=lowering.builder.tensor(bias))
    found = _dense(lowering, source, weight) if len(shape_of(source)) == 2 else None
    value, kernel = found or (lowering.stored(source, -1), weight[:, :, None, None])
    fields = {"weight": lowering.builder.tensor(kernel.transpose(0, 2, 3, 1))}
    lowering.define(node, lowering.builder.add(Conv, value, tail, **fields), -1)


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
    source, weight = _window_weight(lowering, node, dense=dense)
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
    """Zeros around a map, added by the convolutions that read it or else by one that does nothing more."""
    source: Any = argument(node, 0)
    amounts = list(argument(node, 1))
    if len(shape_of(source)) == 3:
        amounts[2:2] = [0, 0]  # above and below a sequence
    amounts += [0] * 8
    left, right, above, below, *others = amounts[:8]
    mode, fill = argument(node, 2, "constant"), argument(node, 3, None) or 0.0
    if not any(amounts):
        _alias(lowering, node)
        return
    if mode != "constant" or fill != 0 or any(others) or min(amounts) < 0:
        raise CaptureError(f"{where(node)}: only padding of height and width with zeros can be lowered")
    check_images(source)
    lowering.pads[node] = (above, below, left, right)
    lowering.values[node] = lowering.stored(source)
    convolutions = (aten.conv2d.default, aten.conv2d.padding, aten.conv1d.default, aten.conv1d.padding)
    if not all(user.target in convolutions and user.args[0] is node for user in node.users):
        lowering.define(node, _padded(lowering, lowering.values[node], lowering.pads.pop(node)))


def _padded(lowering: Lowering, value: str, amounts: tuple[int, int, int, int]) -> str:
    """A value with zeros above, below, left and right: a depthwise convolution with 1."""
    both = (max(amounts[:2]), max(amounts[2:]))
    # The 1 lies as far from the kernel's start as the map from the start of its evenly padded form.
    kernel = np.zeros(
        (lowering.maps[value][0], 2 * both[0] - sum(amounts[:2]) + 1, 2 * both[1] - sum(amounts[2:]) + 1, 1)
    )
    kernel[:, both[0] - amounts[0], both[1] - amounts[2]] = 1
    fields = {"weight": lowering.builder.tensor(kernel), "padding": both, "groups": len(kernel)}
    made = lowering.builder.add(Conv, value, Tail(), **fields)
    channels, height, width = lowering.maps[value]
    lowering.maps[made] = (channels, height + sum(amounts[:2]), width + sum(amounts[2:]))
    return made


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
        (0, 0) if d is None else _pair(node, argument(node, 3 + i, d[0]), d[0]) for i, d in enumerate(defaults)
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


def _interpolate(lowering: Lowering, node: Node) -> None:
    """Linear interpolation, by the weights that torch itself uses."""
    source: Any = argument(node, 0)
    check_images(source)
    value = lowering.stored(source)
    _, height, width = lowering.maps[value]
    axes = {"row": (2, height), "column": (3, width)} if len(shape_of(source)) == 4 else {"column": (2, width)}
    fields = {} if len(axes) == 2 else {"rows": np.zeros((1, 2)), "row_weights": np.array([[1.0, 0.0]])}
    for name, (axis, size) in axes.items():
        # A channel for each row or column, which is 1 there and 0 elsewhere.
        sizes = [size if index == axis else length for index, length in enumerate(shape_of(source))]
        ones = torch.eye(size, dtype=torch.float64)
        ones = ones.reshape(1, size, *(size if index == axis else 1 for index in range(2, len(sizes))))
        wide = node.target(ones.expand(1, size, *sizes[2:]), *node.args[1:], **node.kwargs)  # type: ignore[operator]
        weights = np.moveaxis(wide[0].numpy(), axis - 1, 1).reshape(size, -1, wide.numel() // size // wide.shape[axis])
        weights = weights[:, :, 0].T
        order = np.sort(np.argsort(-weights, axis=1, kind="stable")[:, :2], axis=1)
        if size == 1:
            order, weights = np.zeros((len(weights), 2), int), np.pad(weights, ((0, 0), (0, 1)))
            fields |= {f"{name}s": order, f"{name}_weights": weights}
        else:
            fields |= {f"{name}s": order, f"{name}_weights": np.take_along_axis(weights, order, 1)}
    builder = lowering.builder
    stored = {
        name: builder.tensor(array) if name.endswith("weights") else builder.places_tensor(array)
        for name, array in fields.items()
    }
    lowering.define(node, builder.add(Interpolate, value, Tail(), **stored))


def _binary_conv(lowering: Lowering, node: Node) -> None:
    stride, padding, groups = pair(argument(node, 2)), pair(argument(node, 3)), argument(node, 4)
    source, weight = _window_weight(lowering, node, dense=(stride, padding, groups) == ((1, 1), (0, 0), 1))
    if not np.all(np.abs(weight) == 1):
        raise CaptureError(f"{where(node)}: the weights of a binary convolution are not all +1 or -1")
    packed = lowering.builder.bits_tensor(pack_bits(weight > 0))
    fields = {"weight": packed, "stride": stride, "padding": padding, "groups": groups}
    lowering.define(node, lowering.builder.add(BinaryConv, source, Tail(), **fields))


def _batch_norm(lowering: Lowering, node: Node) -> None:
    gamma, beta, mean, var = (None if part is None else lowering.array(part, node) for part in node.args[1:5])
    if mean is None or var is None or argument(node, 5):
        raise CaptureError(f"{where(node)}: a batch normalization without running statistics cannot be lowered")
    scale = (1 if gamma is None else gamma) / np.sqrt(var + argument(node, 7))
    bias = (0 if beta is None else beta) - mean * scale
    channels = (-1, *(1 for _ in shape_of(node)[2:]))
    _affine(lowering, node, argument(node, 0), scale.reshape(channels), bias.reshape(channels))


def _layer_norm(lowering: Lowering, node: Node) -> None:
    """Over the last axis, whose numbers are channels then."""
    source: Any = argument(node, 0)
    if len(argument(node, 1)) != 1:
        raise CaptureError(f"{where(node)}: a layer normalization over {len(argument(node, 1))} axes cannot be lowered")
    parts = {"scale": argument(node, 2, None), "bias": argument(node, 3, None)}
    scale, bias = (None if part is None else lowering.array(part, node) for part in parts.values())
    tail = Tail(
        scale=None if scale is None else lowering.builder.tensor(scale),
        bias=None if bias is None else lowering.builder.tensor(bias),
    )
    epsilon = float(np.float32(argument(node, 4, 1e-5)))
    made = lowering.builder.add(LayerNorm, lowering.stored(source, -1), tail, epsilon=epsilon)
    lowering.define(node, made, -1)


def _group_norm(lowering: Lowering, node: Node) -> None:
    groups, (weight, bias) = argument(node, 1), (argument(node, 2, None), argument(node, 3, None))
    _normalize_groups(lowering, node, groups, weight, bias, argument(node, 4, 1e-5))


def _instance_norm(lowering: Lowering, node: Node) -> None:
    source: Any = argument(node, 0)
    if not argument(node, 5):
        raise CaptureError(f"{where(node)}: an instance normalization with running statistics cannot be lowered")
    _normalize_groups(lowering, node, shape_of(source)[1], argument(node, 1), argument(node, 2), argument(node, 7))


def _normalize_groups(lowering: Lowering, node: Node, groups: int, weight: Any, bias: Any, epsilon: float) -> None:
    """Mean 0 and variance 1 over the pixels of a group of channels (Wu and He, Group normalization, 2018).

    Means of channels become those of groups by dense layers on vectors:

        d = x - mean(x);  y = d / sqrt(mean(d d) + epsilon) * weight + bias
    """
    source: Any = argument(node, 0)
    check_images(source)
    builder, value = lowering.builder, lowering.stored(source)
    channels = lowering.maps[value][0]
    size = channels // groups

    def of_groups(mean: str, factor: float, tail: Tail) -> str:
        if size == 1:
            scale = None if factor == 1 else builder.tensor(np.full(channels, factor))
            return builder.elementwise(mean, dataclasses.replace(tail, scale=scale))
        weights = builder.tensor(np.full((channels, 1, 1, size), factor / size))
        return builder.add(Conv, mean, tail, weight=weights, groups=groups)

    minus_mean = of_groups(builder.mean(value), -1, Tail())
    d = builder.elementwise(value, Tail(residual=minus_mean))
    variance = builder.mean(builder.add(Multiply, d, Tail(), factor=d))
    shift = builder.tensor(np.full(channels, epsilon))
    factor = of_groups(variance, 1, Tail(bias=shift, activation="rsqrt"))
    tail = Tail(
        scale=None if weight is None else builder.tensor(lowering.array(weight, node)),
        bias=None if bias is None else builder.tensor(lowering.array(bias, node)),
    )
    lowering.define(node, builder.add(Multiply, d, tail, factor=factor))


def _is_computed(lowering: Lowering, node: Any) -> bool:
    return isinstance(node, Node) and node in lowering.values


def _computed_first(lowering: Lowering, node: Node) -> tuple[Any, Any]:
    """Both sides of a sum or product, one that is computed first."""
    left: Any = node.args[0]
    right: Any = node.args[1]
    return (left, right) if _is_computed(lowering, left) else (right, left)


def _together(lowering: Lowering, node: Node, combine: Callable[[str, str], str]) -> None:
    """What `combine` makes of two computed sides: maps in the same order, or the second a vector."""
    left: Any = node.args[0]
    right: Any = node.args[1]
    shape = shape_of(node)
    if shape_of(left) == shape_of(right) == shape and lowering.in_one_order(left, right):
        value = lowering.worked_on(left)
        lowering.define_alike(node, combine(value, lowering.worked_on(right)), left, value)
        return
    if shape_of(left) != shape:
        left, right = right, left
    axis = min(range(1, len(shape)), key=lambda axis: lowering.moves(left, axis) + lowering.moves(right, axis))
    first = lowering.stored(left, axis) if shape_of(left) == shape else lowering.widened(left, node, axis)
    others = [size for index, size in enumerate(shape_of(right)) if index not in (0, axis)]
    is_vector = len(shape_of(right)) == len(shape) and shape[0] == BATCH and set(others) <= {1}
    fits = shape_of(right) == shape or (is_vector and shape_of(right)[axis] == shape[axis])
    second = lowering.stored(right, axis) if fits else lowering.widened(right, node, axis)
    lowering.define(node, combine(first, second), axis)


def _add(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    left, right = _computed_first(lowering, node)
    if _is_computed(lowering, right):
        _together(lowering, node, lambda x, y: lowering.builder.elementwise(x, Tail(residual=y)))
    else:
        _affine(lowering, node, left, bias=lowering.array(right, node))


def _check_alpha(node: Node) -> None:
    if node.kwargs.get("alpha", 1) != 1:
        raise CaptureError(f"{where(node)}: a sum with alpha cannot be lowered")


def _sub(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    left: Any = node.args[0]
    right: Any = node.args[1]
    if not _is_computed(lowering, right):
        _affine(lowering, node, left, bias=-lowering.array(right, node))
    elif not _is_computed(lowering, left):
        _affine(lowering, node, right, np.array(-1.0), lowering.array(left, node))
    else:
        _difference(lowering, node, left, right)


def _difference(lowering: Lowering, node: Node, left: Any, right: Any) -> None:
    """The right side is made negative before, or after where it is the map and the left side a vector."""
    builder = lowering.builder

    def negative(value: str) -> str:
        made = builder.elementwise(value, Tail(scale=builder.tensor(-np.ones(lowering.maps[value][0]))))
        lowering.maps[made] = lowering.maps[value]
        return made

    turned = shape_of(left) != shape_of(node)

    def combine(x: str, y: str) -> str:
        x, y = (negative(x), y) if turned else (x, negative(y))
        return builder.elementwise(x, Tail(residual=y))

    _together(lowering, node, combine)


def _rsub(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    _affine(lowering, node, argument(node, 0), np.array(-1.0), lowering.array(argument(node, 1), node))


def _neg(lowering: Lowering, node: Node) -> None:
    _affine(lowering, node, argument(node, 0), np.array(-1.0))


def _mul(lowering: Lowering, node: Node) -> None:
    left, right = _computed_first(lowering, node)
    if _is_computed(lowering, right):
        _together(lowering, node, lambda x, y: lowering.builder.add(Multiply, x, Tail(), factor=y))
    else:
        _affine(lowering, node, left, lowering.array(right, node))


def _square(lowering: Lowering, node: Node) -> None:
    if argument(node, 1, 2) != 2:
        raise CaptureError(f"{where(node)}: a power of {argument(node, 1)} cannot be lowered")
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    made = lowering.builder.add(Multiply, value, Tail(), factor=value)
    lowering.define_alike(node, made, source, value)


def _div(lowering: Lowering, node: Node) -> None:
    if node in lowering.softsigns:
        _unary(lowering, node, lambda _: Tail(activation="softsign"))
        return
    if _is_computed(lowering, argument(node, 1)):
        _quotient(lowering, node)
        return
    divisor = lowering.array(argument(node, 1), node)
    if not divisor.all():
        raise CaptureError(f"{where(node)}: divides by zero")
    _affine(lowering, node, argument(node, 0), 1 / divisor)


def _quotient(lowering: Lowering, node: Node) -> None:
    """`x / y` as `x * (y q q)` with `q = 1 / sqrt(y y)`; y may be the side that is broadcast."""
    x: Any = argument(node, 0)
    if not _is_computed(lowering, x) or shape_of(x) != shape_of(node):
        raise CaptureError(f"{where(node)}: divides what is smaller than the divisor, which cannot be lowered")
    builder = lowering.builder

    def combine(first: str, second: str) -> str:
        q = builder.add(Multiply, second, Tail(activation="rsqrt"), factor=second)
        inverse = builder.add(Multiply, builder.add(Multiply, q, Tail(), factor=q), Tail(), factor=second)
        return builder.add(Multiply, first, Tail(), factor=inverse)

    _together(lowering, node, combine)


def _vector_norm(lowering: Lowering, node: Node) -> None:
    """The root of the sum of squares over all axes but one: `1 / sqrt(q q)` with `q = 1 / sqrt(sum)`."""
    source: Any = argument(node, 0)
    shape, axes = shape_of(source), argument(node, 2, None) or []
    kept = set(range(1, len(shape))) - {axis % len(shape) for axis in axes}
    if argument(node, 1, 2) != 2 or len(kept) != 1 or shape[0] != BATCH or not argument(node, 3, False):
        raise CaptureError(f"{where(node)}: a norm of order {argument(node, 1, 2)} over {axes} cannot be lowered")
    (axis,) = kept
    builder, value = lowering.builder, lowering.stored(source, axis)
    mean = builder.mean(builder.add(Multiply, value, Tail(), factor=value))
    count = builder.tensor(np.full(shape[axis], np.prod(shape[1:]) / shape[axis]))
    q = builder.elementwise(mean, Tail(scale=count, activation="rsqrt"))
    lowering.define(node, builder.add(Multiply, q, Tail(activation="rsqrt"), factor=q), axis)


def _cat(lowering: Lowering, node: Node) -> None:
    """Joined along any axis: its numbers are channels then."""
    parts, axis = argument(node, 0), argument(node, 1, 0) % len(shape_of(node))
    if axis == 0:
        raise CaptureError(f"{where(node)}: images of a batch cannot be concatenated")
    if not all(_is_computed(lowering, part) for part in parts):
        _join_constants(lowering, node, parts, axis)
        return
    first, *others = (lowering.stored(part, axis) for part in parts)
    if others:
        first = lowering.builder.add(Concat, first, Tail(), others=tuple(others))
    lowering.define(node, first, axis)


def _join_constants(lowering: Lowering, node: Node, parts: Any, axis: int) -> None:
    """Constants before and after a tensor, such as the class token: zeros are put there, and a map is added."""
    computed = [index for index, part in enumerate(parts) if _is_computed(lowering, part)]
    shape = shape_of(node)
    others = [index for index in range(1, len(shape)) if index != axis]
    if len(computed) != 1 or shape[0] != BATCH or len(shape) not in (3, 4):
        raise CaptureError(f"{where(node)}: concatenates a constant in a way that cannot be lowered")
    (index,) = computed
    channel_axis = others[-1]
    before = sum(lowering.array(part, node).shape[axis] for part in parts[:index])
    after = sum(lowering.array(part, node).shape[axis] for part in parts[index + 1 :])
    is_row = len(shape) == 4 and axis < others[0]
    amounts = (before, after, 0, 0) if is_row else (0, 0, before, after)
    value = _padded(lowering, lowering.stored(parts[index], channel_axis), amounts)
    lowering.define(node, value, channel_axis)
    zeros = np.zeros(shape_of(parts[index]))
    _add_map(
        lowering,
        node,
        np.concatenate([zeros if i == index else lowering.array(part, node) for i, part in enumerate(parts)], axis),
    )


def _leaky(slope: float) -> Callable[[Lowering, Node], None]:
    """`x` where it is at least 0, else `x` times the slope; the node's own argument is another slope."""

    def lower(lowering: Lowering, node: Node) -> None:
        _unary(lowering, node, lambda channels: _prelu_tail(lowering, np.full(channels, argument(node, 1, slope))))

    return lower


def _prelu_tail(lowering: Lowering, slopes: Floats) -> Tail:
    return Tail(activation="prelu", slope=lowering.builder.tensor(slopes))


def _prelu(lowering: Lowering, node: Node) -> None:
    slopes = lowering.array(argument(node, 1), node).reshape(-1)
    if len(slopes) == 1:
        _unary(lowering, node, lambda channels: _prelu_tail(lowering, np.full(channels, slopes[0])))
        return
    value = lowering.stored(argument(node, 0))
    lowering.define(node, lowering.builder.elementwise(value, _prelu_tail(lowering, slopes)))


def _clamp(low: Any, high: Any, before: tuple[float, float] | None = None) -> Callable[[Lowering, Node], None]:
    """A clamp between limits that the node's arguments may replace; `before` is a scale and bias that come first."""

    def lower(lowering: Lowering, node: Node) -> None:
        limits = (argument(node, 1, node.kwargs.get("min", low)), argument(node, 2, node.kwargs.get("max", high)))
        if any(isinstance(limit, Node) for limit in limits):
            raise CaptureError(f"{where(node)}: {node.target} with limits that are not numbers")
        _unary(lowering, node, lambda channels: _clamp_tail(lowering, channels, limits, before))

    return lower


def _clamp_tail(
    lowering: Lowering, channels: int, limits: tuple[Any, Any], before: tuple[float, float] | None = None
) -> Tail:
    low, high = (np.inf * sign if limit is None else limit for limit, sign in zip(limits, (-1, 1), strict=True))

    def build(number: float) -> str:
        return lowering.builder.tensor(np.full(channels, number))

    scale, bias = (None, None) if before is None else map(build, before)
    return Tail(scale=scale, bias=bias, activation="clamp", low=build(low), high=build(high))


HARD_SIGMOID = (1 / 6, 0.5)  # clamped to [0, 1]


def _sigmoid(lowering: Lowering, node: Node) -> None:
    _unary(lowering, node, lambda _: Tail(activation="sigmoid"))


def _silu(lowering: Lowering, node: Node) -> None:
    _gated(lowering, node, lambda _: Tail(activation="sigmoid"))


def _gelu(lowering: Lowering, node: Node) -> None:
    """`x * P(X <= x)` for the normal distribution, or about `x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))`."""
    if node.kwargs.get("approximate", "none") == "none":
        _gated(lowering, node, lambda _: Tail(activation="normal_cdf"))
        return
    source: Any = argument(node, 0)
    builder, value = lowering.builder, lowering.worked_on(source)
    channels, factor = lowering.maps[value][0], 2 * np.sqrt(2 / np.pi)
    ends = Tail(
        scale=builder.tensor(np.full(channels, factor * 0.044715)), bias=builder.tensor(np.full(channels, factor))
    )
    inner = builder.add(Multiply, value, ends, factor=value)
    gate = builder.add(Multiply, inner, Tail(activation="sigmoid"), factor=value)
    lowering.define_alike(node, builder.add(Multiply, value, Tail(), factor=gate), source, value)


def _tanh(lowering: Lowering, node: Node) -> None:
    """`2 sigmoid(2 x) - 1`."""
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    twice = lowering.builder.tensor(np.full(lowering.maps[value][0], 2.0))
    minus = lowering.builder.tensor(np.full(lowering.maps[value][0], -1.0))
    made = lowering.builder.elementwise(value, Tail(scale=twice, activation="sigmoid"))
    lowering.define_alike(node, lowering.builder.elementwise(made, Tail(scale=twice, bias=minus)), source, value)


def _softmax(lowering: Lowering, node: Node) -> None:
    axis = argument(node, 1)
    made = lowering.builder.add(Softmax, lowering.stored(argument(node, 0), axis), Tail())
    lowering.define(node, made, axis)


def _attention(lowering: Lowering, node: Node) -> None:
    """`softmax(q k^T / sqrt(d) + mask) v` for each head (Vaswani et al., Attention is all you need, 2017)."""
    query, key, value = (node.args[index] for index in range(3))
    mask = argument(node, 3, None)
    if _is_computed(lowering, mask) or argument(node, 4, 0.0) or argument(node, 5, False):
        raise CaptureError(f"{where(node)}: attention that is causal, or with a computed mask or dropout")
    assert isinstance(query, Node)
    assert isinstance(key, Node)
    builder = lowering.builder
    if shape_of(query)[:-2] != shape_of(key)[:-2]:
        raise CaptureError(f"{where(node)}: attention whose heads share their keys cannot be lowered")
    scale = node.kwargs.get("scale") or shape_of(query)[-1] ** -0.5
    turned = lowering.gathered(key, lowering.value(key), np.swapaxes(lowering.placed(key), -1, -2), -1)
    tail = Tail(scale=builder.tensor(np.full(shape_of(key)[-2], scale)))
    scores = builder.add(MatMul, lowering.stored(query, -1), tail, other=turned)
    if mask is not None:
        scores = _masked(lowering, node, scores, lowering.evaluate(mask), (*shape_of(query)[:-1], shape_of(key)[-2]))
    made = builder.add(MatMul, builder.add(Softmax, scores, Tail()), Tail(), other=lowering.stored(value, -1))
    lowering.define(node, made, -1)


def _masked(lowering: Lowering, node: Node, scores: str, mask: torch.Tensor, shape: tuple[int, ...]) -> str:
    """Scores of that shape with a constant added, or with -inf where the constant is False."""
    if mask.dtype == torch.bool and mask.all():
        return scores
    summand = torch.where(mask, 0.0, -torch.inf) if mask.dtype == torch.bool else mask
    channels, height, width = layout_of(shape, -1)
    spread = np.empty(BATCH * channels * height * width)
    spread[spread_out(shape, -1).reshape(-1)] = np.broadcast_to(summand.double().numpy(), shape).reshape(-1)
    first, second = spread.reshape(BATCH, channels, height, width)
    if not np.array_equal(first, second) or np.isnan(first).any():
        raise CaptureError(f"{where(node)}: attention with a mask that differs between the images of a batch")
    return lowering.builder.add(AddMap, scores, Tail(), map=lowering.builder.tensor(first.transpose(1, 2, 0)))


def _hardswish(lowering: Lowering, node: Node) -> None:
    _gated(lowering, node, lambda channels: _clamp_tail(lowering, channels, (0, 1), HARD_SIGMOID))


def _gated(lowering: Lowering, node: Node, gate: Callable[[int], Tail]) -> None:
    """`x * gate(x)`."""
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    factor = lowering.builder.elementwise(value, gate(lowering.maps[value][0]))
    made = lowering.builder.add(Multiply, value, Tail(), factor=factor)
    lowering.define_alike(node, made, source, value)


def _mean(lowering: Lowering, node: Node) -> None:
    """Over all axes but one, whose numbers are channels then, or over one axis of a map."""
    source: Any = argument(node, 0)
    shape = shape_of(source)
    axes = {axis % len(shape) for axis in argument(node, 1) or range(len(shape))}
    kept = set(range(1, len(shape))) - axes
    if shape[0] == BATCH and 0 not in axes and len(kept) == 1:
        (axis,) = kept
        value = lowering.builder.mean(lowering.stored(source, axis))
        lowering.define(node, value, axis if argument(node, 2, False) else 1)
    elif shape[0] == BATCH and len(shape) == 4 and 0 not in axes and len(axes) == 1:
        (axis,), (first, second) = axes, sorted(kept)
        kernel = (shape[axis], 1) if axis < second else (1, shape[axis])
        value = lowering.builder.add(AvgPool, lowering.stored(source, first), Tail(), kernel=kernel, stride=kernel)
        lowering.maps[value] = (shape[first], *((1, shape[second]) if axis < second else (shape[second], 1)))
        lowering.define_moved(node, value, np.arange(BATCH * shape[first] * shape[second]).reshape(shape_of(node)))
    else:
        raise CaptureError(f"{where(node)}: a mean over the axes {sorted(axes)} of {list(shape)} cannot be lowered")


def _adaptive_mean(lowering: Lowering, node: Node) -> None:
    source = argument(node, 0)
    kernel = _adaptive_kernel(node, layout(source), layout(node))
    check_images(source)
    value = lowering.stored(source)
    if layout(node)[1:] == (1, 1):
        lowering.define(node, lowering.builder.mean(value))
    else:
        lowering.define(node, lowering.builder.add(AvgPool, value, Tail(), kernel=kernel, stride=kernel))


def _adaptive_max(lowering: Lowering, node: Node) -> None:
    """The node gives a tuple: the values and their places, of which `_pick` takes the first."""
    source = argument(node, 0)
    check_images(source)
    shape = tuple(node.meta["val"][0].shape)
    result = (shape[1], *(1, *shape[2:])[-2:])
    kernel = _adaptive_kernel(node, layout(source), result)
    value = lowering.builder.add(MaxPool, lowering.stored(source), Tail(), kernel=kernel, stride=kernel)
    lowering.values[node] = value
    lowering.maps[value] = result


def _adaptive_kernel(node: Node, source: tuple[int, ...], result: tuple[int, ...]) -> tuple[int, int]:
    """The window of an adaptive pooling whose windows are all alike."""
    if source[1] % result[1] or source[2] % result[2]:
        sizes = f"from {source[1]}x{source[2]} to {result[1]}x{result[2]} pixels"
        raise CaptureError(f"{where(node)}: an adaptive pooling {sizes} cannot be lowered; the sizes have to divide")
    return source[1] // result[1], source[2] // result[2]


def _pool_window(node: Node) -> dict[str, tuple[int, int]]:
    """Kernel, stride and padding, and with ceil_mode how far the last windows hang over the padding."""
    source: Any = argument(node, 0)
    check_images(source)
    kernel = _pair(source, argument(node, 1), 1)
    stride = _pair(source, argument(node, 2, None) or argument(node, 1), 1)
    padding = _pair(source, argument(node, 3, 0), 0)
    sizes = zip(layout(source)[1:], layout(node)[1:], kernel, stride, padding, strict=True)
    over = [max(0, (count - 1) * step + k - size - 2 * pad) for size, count, k, step, pad in sizes]
    return {"kernel": kernel, "stride": stride, "padding": padding, "overhang": (over[0], over[1])}


def _max_pool(lowering: Lowering, node: Node) -> None:
    if set(pair(argument(node, 4, 1))) != {1}:
        raise CaptureError(f"{where(node)}: max pooling with dilation cannot be lowered")
    fields = _pool_window(node)
    lowering.define(node, lowering.builder.add(MaxPool, lowering.stored(argument(node, 0)), Tail(), **fields))


def _avg_pool(lowering: Lowering, node: Node) -> None:
    """Zeros of the padding count as values if torch says so; then they are added before."""
    source: Any = argument(node, 0)
    if argument(node, 6, None):
        raise CaptureError(f"{where(node)}: average pooling with a divisor of its own cannot be lowered")
    fields = _pool_window(node)
    value, (y, x) = lowering.stored(source), fields["padding"]
    if argument(node, 5, True) and (y or x):
        value = _padded(lowering, value, (y, y, x, x))
        fields["padding"] = (0, 0)
    lowering.define(node, lowering.builder.add(AvgPool, value, Tail(), **fields))


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    torch.ops.evenbit.sign.default: _sign,
    torch.ops.evenbit.binary_conv2d.default: _binary_conv,
    aten.conv2d.default: _conv,
    aten.conv2d.padding: _conv_same,
    aten.conv1d.default: _conv,
    aten.conv1d.padding: _conv_same,
    aten.conv_transpose1d.default: _conv_transpose,
    aten.conv_transpose2d.input: _conv_transpose,
    aten.upsample_bilinear2d.vec: _interpolate,
    aten.upsample_linear1d.vec: _interpolate,
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    aten.mm.default: _matmul,
    aten.bmm.default: _matmul,
    aten.scaled_dot_product_attention.default: _attention,
    aten.softmax.int: _softmax,
    aten._softmax.default: _softmax,
    aten.pad.default: _pad,
    aten.batch_norm.default: _batch_norm,
    aten.group_norm.default: _group_norm,
    aten.instance_norm.default: _instance_norm,
    aten.layer_norm.default: _layer_norm,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.sub_.Tensor: _sub,
    aten.rsub.Scalar: _rsub,
    aten.neg.default: _neg,
    aten.mul.Tensor: _mul,
    aten.mul_.Tensor: _mul,
    aten.linalg_vector_norm.default: _vector_norm,
    aten.square.default: _square,
    aten.pow.Tensor_Scalar: _square,
    aten.div.Tensor: _div,
    aten.div_.Tensor: _div,
    aten.cat.default: _cat,
    aten.relu.default: _leaky(0.0),
    aten.relu_.default: _leaky(0.0),
    aten.leaky_relu.default: _leaky(0.01),
    aten.leaky_relu_.default: _leaky(0.01),
    aten.prelu.default: _prelu,
    aten.clamp.default: _clamp(None, None),
    aten.clamp_.default: _clamp(None, None),
    aten.clamp_min.default: _clamp(None, None),
    aten.hardtanh.default: _clamp(-1.0, 1.0),
    aten.hardtanh_.default: _clamp(-1.0, 1.0),
    aten.relu6.default: _clamp(0.0, 6.0),
    aten.hardsigmoid.default: _clamp(0.0, 1.0, HARD_SIGMOID),
    aten.hardsigmoid_.default: _clamp(0.0, 1.0, HARD_SIGMOID),
    aten.sigmoid.default: _sigmoid,
    aten.sigmoid_.default: _sigmoid,
    aten.gelu.default: _gelu,
    aten.tanh.default: _tanh,
    aten.tanh_.default: _tanh,
    aten.silu.default: _silu,
    aten.silu_.default: _silu,
    aten.hardswish.default: _hardswish,
    aten.hardswish_.default: _hardswish,
    aten.mean.dim: _mean,
    aten.adaptive_avg_pool2d.default: _adaptive_mean,
    aten.adaptive_max_pool2d.default: _adaptive_max,
    operator.getitem: _pick,
    aten.max_pool2d.default: _max_pool,
    aten.max_pool1d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.avg_pool1d.default: _avg_pool,
    aten.adaptive_avg_pool1d.default: _adaptive_mean,
    aten.adaptive_max_pool1d.default: _adaptive_max,
    **dict.fromkeys(MOVES, _move),
    aten.dropout.default: _dropout,
    aten.dropout_.default: _dropout,
    aten.feature_dropout.default: _dropout,
    aten.contiguous.default: _alias,
    aten.clone.default: _alias,
    aten.detach.default: _alias,
    aten.to.dtype: _alias,
    aten._assert_tensor_metadata.default: _nothing,
}

# Ops whose result may share memory with their input.
VIEWS = {target for target, lower in LOWERINGS.items() if lower in (_move, _pick, _alias, _dropout)}

ACTIVATIONS = "ReLU, ReLU6, LeakyReLU, PReLU, Hardtanh, Sigmoid, Hardsigmoid, Tanh, SiLU, GELU, Hardswish or Softsign"
# What to do instead, by the start of an op's name.
HINTS = {
    ("elu", "celu", "selu", "mish", "softplus", "exp", "log_sigmoid"): f"use {ACTIVATIONS}",
    ("log_softmax",): "pack the network without it; the engine's logits can be normalized after",
    ("native_", "rms_norm"): "use a normalization of batches, groups or layers",
    ("addmm", "einsum"): "use nn.Linear, nn.Conv2d or matmul",
    ("upsample",): "use nearest or bilinear interpolation",
    ("index", "gather", "where", "masked"): "which numbers are taken must not depend on the images",
}


def hint(target: Any) -> str:
    """What to do about an op that cannot be lowered."""
    name = str(target).removeprefix("aten.")
    found = (text for starts, text in HINTS.items() if name.startswith(starts))
    return next(found, "the layers around it may have to change")
