"""How each ATen op becomes Plan ops: `LOWERINGS` is the table; each function in it handles one kind of node."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.bits import pack_bits
from evenbit.deploy.lowering import Lowering, chw
from evenbit.errors import CaptureError
from evenbit.nn.conversion.trace import BATCH, argument, where
from evenbit.nn.ops import pair
from evenbit.ops import AvgPool, BinaryConv, Concat, Conv, MaxPool, Multiply, Tail

aten = torch.ops.aten
Floats = np.ndarray[Any, np.dtype[np.float64]]


def _elementwise(lowering: Lowering, node: Node, tail: Tail, source: Any = None) -> None:
    value = lowering.stored(argument(node, 0) if source is None else source)
    if lowering.maps[value] != chw(node):
        raise CaptureError(f"{where(node)}: {node.target} widens its input, which cannot be lowered")
    lowering.define(node, lowering.builder.elementwise(value, tail))


def _alias(lowering: Lowering, node: Node) -> None:
    lowering.values[node] = lowering.value(argument(node, 0))


def _nothing(lowering: Lowering, node: Node) -> None:
    """A check that holds while tracing."""


def _dropout(lowering: Lowering, node: Node) -> None:
    if argument(node, 2):
        raise CaptureError(f"{where(node)}: a dropout that is active in eval mode cannot be lowered")
    _alias(lowering, node)


def _reshape(lowering: Lowering, node: Node) -> None:
    """A map to a vector, or the same numbers with axes of size 1 added or removed at the end."""
    value = lowering.value(argument(node, 0))
    stored = lowering.maps[value]
    shape = tuple(node.meta["val"].shape[1:])
    padded = (*shape, 1, 1)[:3] if len(shape) < 3 else shape
    if node.meta["val"].shape[0] != BATCH or padded not in (stored, (int(np.prod(stored)), 1, 1)):
        raise CaptureError(
            f"{where(node)}: cannot reshape {list(stored)} to {list(shape)}; only flattening is possible"
        )
    lowering.values[node] = value


def _sign(lowering: Lowering, node: Node) -> None:
    value = lowering.value(argument(node, 0))
    lowering.values[node] = lowering.builder.sign(value, lowering.maps[value][0])
    lowering.maps[lowering.values[node]] = lowering.maps[value]


def _window_weight(lowering: Lowering, node: Node, *, dense: bool) -> tuple[str, Floats]:
    """The input and the weights `[O, I, kh, kw]` or `[O, F]` as `[O, kh, kw, I]`.

    A dense layer on a flattened map is a convolution whose kernel is the whole map; `dense` says that stride,
    padding and groups are those of a dense layer.
    """
    weight = lowering.array(argument(node, 1), node)
    source = argument(node, 0)
    if weight.ndim == 2 and len(source.meta["val"].shape) != 2:
        raise CaptureError(f"{where(node)}: a dense layer along the last axis of a map cannot be lowered")
    value = lowering.value(source) if dense or source in lowering.pads else lowering.stored(source)
    stored = lowering.maps[value]
    if weight.ndim == 2 or (stored != chw(source) and source not in lowering.pads):
        weight = weight.reshape(len(weight), *stored)
    return value, weight.transpose(0, 2, 3, 1)


def _conv(lowering: Lowering, node: Node) -> None:
    stride, padding, dilation = (pair(argument(node, 3 + i, default)) for i, default in enumerate((1, 0, 1)))
    _float_window(lowering, node, stride, (padding[0], padding[0], padding[1], padding[1]), dilation)


def _conv_same(lowering: Lowering, node: Node) -> None:
    """The padding "valid" or "same": as many zeros as the kernel is larger than 1, the odd one below and right."""
    kernel, dilation = lowering.evaluate(argument(node, 1)).shape[2:], pair(argument(node, 5, 1))
    padding: tuple[int, ...] = (0, 0, 0, 0)
    if argument(node, 4, "valid") == "same":
        spare = [step * (size - 1) for size, step in zip(kernel, dilation, strict=True)]
        padding = (spare[0] // 2, spare[0] - spare[0] // 2, spare[1] // 2, spare[1] - spare[1] // 2)
    _float_window(lowering, node, pair(argument(node, 3, 1)), padding, dilation)


def _linear(lowering: Lowering, node: Node) -> None:
    _float_window(lowering, node, (1, 1), (0, 0, 0, 0), (1, 1))


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
    amounts = list(argument(node, 1)) + [0] * (2 * len(chw(node)) + 2)
    left, right, above, below, *others = amounts[:8]
    mode, fill = argument(node, 2, "constant"), argument(node, 3, None) or 0.0
    if not any(amounts):
        _alias(lowering, node)
        return
    if mode != "constant" or fill != 0 or any(others) or min(amounts) < 0:
        raise CaptureError(f"{where(node)}: only padding of height and width with zeros can be lowered")
    lowering.pads[node] = (above, below, left, right)
    _alias(lowering, node)
    convolutions = (aten.conv2d.default, aten.conv2d.padding)
    if not all(user.target in convolutions and user.args[0] is node for user in node.users):
        _padded(lowering, node, argument(node, 0), lowering.pads.pop(node))


def _padded(lowering: Lowering, node: Node, source: Any, amounts: tuple[int, int, int, int]) -> None:
    """Defines `node` as `source` with zeros above, below, left and right: a depthwise convolution with 1."""
    value = lowering.stored(source)
    both = (max(amounts[:2]), max(amounts[2:]))
    # The 1 lies as far from the kernel's start as the map from the start of its evenly padded form.
    kernel = np.zeros(
        (lowering.maps[value][0], 2 * both[0] - sum(amounts[:2]) + 1, 2 * both[1] - sum(amounts[2:]) + 1, 1)
    )
    kernel[:, both[0] - amounts[0], both[1] - amounts[2]] = 1
    fields = {"weight": lowering.builder.tensor(kernel), "padding": both, "groups": len(kernel)}
    lowering.define(node, lowering.builder.add(Conv, value, Tail(), **fields))


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
    build = lowering.builder.tensor
    _elementwise(lowering, node, Tail(scale=build(scale), bias=build(bias)))


def _is_computed(lowering: Lowering, node: Any) -> bool:
    return isinstance(node, Node) and node in lowering.values


def _ordered(lowering: Lowering, node: Node) -> tuple[Any, Any]:
    """Both sides of a sum or product: first one that is computed and, where the other is a vector of it, a map."""
    left: Any = node.args[0]
    right: Any = node.args[1]
    if not _is_computed(lowering, left):
        return right, left
    if _is_computed(lowering, right) and chw(left) != chw(node):
        return right, left
    return left, right


def _two_values(lowering: Lowering, node: Node, left: Any, right: Any) -> tuple[str, str]:
    """The values of two computed sides: the first with the shape of the result, the other that or a vector."""
    channels = chw(node)[0]
    if chw(left) != chw(node) or chw(right) not in (chw(node), (channels, 1, 1)):
        raise CaptureError(f"{where(node)}: {node.target} of the shapes {list(chw(left))} and {list(chw(right))}")
    return lowering.stored(left), lowering.stored(right)


def _add(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    left, right = _ordered(lowering, node)
    if _is_computed(lowering, right):
        first, second = _two_values(lowering, node, left, right)
        lowering.define(node, lowering.builder.elementwise(first, Tail(residual=second)))
        return
    bias = lowering.builder.tensor(lowering.per_channel(right, node))
    _elementwise(lowering, node, Tail(bias=bias), left)


def _check_alpha(node: Node) -> None:
    if node.kwargs.get("alpha", 1) != 1:
        raise CaptureError(f"{where(node)}: a sum with alpha cannot be lowered")


def _sub(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    left: Any = node.args[0]
    right: Any = node.args[1]
    if not _is_computed(lowering, right):
        bias = lowering.builder.tensor(-lowering.per_channel(right, node))
        _elementwise(lowering, node, Tail(bias=bias))
        return
    minus = Tail(scale=lowering.builder.tensor(-np.ones(chw(right)[0])))
    if not _is_computed(lowering, left):
        bias = lowering.builder.tensor(lowering.per_channel(left, node))
        _elementwise(lowering, node, Tail(scale=minus.scale, bias=bias), right)
        return
    first, second = _two_values(lowering, node, left, right)
    negative = lowering.builder.elementwise(second, minus)
    lowering.define(node, lowering.builder.elementwise(first, Tail(residual=negative)))


def _rsub(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    bias = lowering.builder.tensor(lowering.per_channel(argument(node, 1), node))
    _elementwise(lowering, node, Tail(scale=lowering.builder.tensor(-np.ones(chw(node)[0])), bias=bias))


def _mul(lowering: Lowering, node: Node) -> None:
    left, right = _ordered(lowering, node)
    if _is_computed(lowering, right):
        first, second = _two_values(lowering, node, left, right)
        lowering.define(node, lowering.builder.add(Multiply, first, Tail(), factor=second))
        return
    scale = lowering.builder.tensor(lowering.per_channel(right, node))
    _elementwise(lowering, node, Tail(scale=scale), left)


def _div(lowering: Lowering, node: Node) -> None:
    if node in lowering.softsigns:
        _elementwise(lowering, node, Tail(activation="softsign"))
        return
    divisor = lowering.per_channel(argument(node, 1), node)
    if not divisor.all():
        raise CaptureError(f"{where(node)}: divides by zero")
    _elementwise(lowering, node, Tail(scale=lowering.builder.tensor(1 / divisor)))


def _cat(lowering: Lowering, node: Node) -> None:
    parts, axis = argument(node, 0), argument(node, 1, 0)
    if axis % len(node.meta["val"].shape) != 1:
        raise CaptureError(f"{where(node)}: only channels can be concatenated")
    if not all(_is_computed(lowering, part) for part in parts):
        raise CaptureError(f"{where(node)}: concatenates a constant, which cannot be lowered")
    chw(node)  # maps or vectors
    first, *others = (lowering.stored(part) for part in parts)
    if not others:
        lowering.values[node] = first
        return
    lowering.define(node, lowering.builder.add(Concat, first, Tail(), others=tuple(others)))


def _leaky(slope: float) -> Callable[[Lowering, Node], None]:
    """`x` where it is at least 0, else `x` times the slope; the node's own argument is another slope."""

    def lower(lowering: Lowering, node: Node) -> None:
        slopes = np.full(chw(node)[0], argument(node, 1, slope))
        _elementwise(lowering, node, Tail(activation="prelu", slope=lowering.builder.tensor(slopes)))

    return lower


def _prelu(lowering: Lowering, node: Node) -> None:
    slope = np.broadcast_to(lowering.array(argument(node, 1), node).reshape(-1), (chw(node)[0],))
    _elementwise(lowering, node, Tail(activation="prelu", slope=lowering.builder.tensor(slope)))


def _clamp(low: Any, high: Any, before: tuple[float, float] | None = None) -> Callable[[Lowering, Node], None]:
    """A clamp between limits that the node's arguments may replace; `before` is a scale and bias that come first."""

    def lower(lowering: Lowering, node: Node) -> None:
        limits = (argument(node, 1, node.kwargs.get("min", low)), argument(node, 2, node.kwargs.get("max", high)))
        if any(isinstance(limit, Node) for limit in limits):
            raise CaptureError(f"{where(node)}: {node.target} with limits that are not numbers")
        _elementwise(lowering, node, _clamp_tail(lowering, chw(node)[0], limits, before))

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
    _elementwise(lowering, node, Tail(activation="sigmoid"))


def _silu(lowering: Lowering, node: Node) -> None:
    _gated(lowering, node, Tail(activation="sigmoid"))


def _hardswish(lowering: Lowering, node: Node) -> None:
    _gated(lowering, node, _clamp_tail(lowering, chw(node)[0], (0, 1), HARD_SIGMOID))


def _gated(lowering: Lowering, node: Node, gate: Tail) -> None:
    """`x * gate(x)`."""
    value = lowering.stored(argument(node, 0))
    factor = lowering.builder.elementwise(value, gate)
    lowering.define(node, lowering.builder.add(Multiply, value, Tail(), factor=factor))


def _mean(lowering: Lowering, node: Node) -> None:
    axes = {axis % 4 for axis in argument(node, 1)}
    if axes != {2, 3} or len(argument(node, 0).meta["val"].shape) != 4:
        raise CaptureError(f"{where(node)}: only the mean over height and width can be lowered")
    lowering.define(node, lowering.builder.mean(lowering.stored(argument(node, 0))))


def _adaptive_mean(lowering: Lowering, node: Node) -> None:
    source = argument(node, 0)
    kernel = _adaptive_kernel(node, chw(source), chw(node))
    value = lowering.stored(source)
    if chw(node)[1:] == (1, 1):
        lowering.define(node, lowering.builder.mean(value))
    else:
        lowering.define(node, lowering.builder.add(AvgPool, value, Tail(), kernel=kernel, stride=kernel))


def _adaptive_max(lowering: Lowering, node: Node) -> None:
    """The node gives a tuple: the values, which `_first` picks, and their places."""
    source = argument(node, 0)
    _, *size = node.meta["val"][0].shape[1:]
    kernel = _adaptive_kernel(node, chw(source), (0, *size))
    value = lowering.builder.add(MaxPool, lowering.stored(source), Tail(), kernel=kernel, stride=kernel)
    lowering.values[node] = value
    lowering.maps[value] = tuple(node.meta["val"][0].shape[1:])


def _first(lowering: Lowering, node: Node) -> None:
    if argument(node, 1) == 0:
        _alias(lowering, node)
    elif node.users:
        raise CaptureError(f"{where(node)}: the places of the largest values cannot be lowered")


def _adaptive_kernel(node: Node, source: tuple[int, ...], result: tuple[int, ...]) -> tuple[int, int]:
    """The window of an adaptive pooling whose windows are all alike."""
    if source[1] % result[1] or source[2] % result[2]:
        sizes = f"from {source[1]}x{source[2]} to {result[1]}x{result[2]} pixels"
        raise CaptureError(f"{where(node)}: an adaptive pooling {sizes} cannot be lowered; the sizes have to divide")
    return source[1] // result[1], source[2] // result[2]


def _max_pool(lowering: Lowering, node: Node) -> None:
    kernel = pair(argument(node, 1))
    stride = pair(argument(node, 2, None) or kernel)
    if pair(argument(node, 4, 1)) != (1, 1) or argument(node, 5, False):
        raise CaptureError(f"{where(node)}: max pooling with dilation or ceil_mode cannot be lowered")
    fields = {"kernel": kernel, "stride": stride, "padding": pair(argument(node, 3, 0))}
    lowering.define(node, lowering.builder.add(MaxPool, lowering.stored(argument(node, 0)), Tail(), **fields))


def _avg_pool(lowering: Lowering, node: Node) -> None:
    kernel = pair(argument(node, 1))
    stride = pair(argument(node, 2, None) or kernel)
    if pair(argument(node, 3, 0)) != (0, 0) or argument(node, 4, False) or argument(node, 6, None):
        raise CaptureError(f"{where(node)}: average pooling with padding, ceil_mode or a divisor cannot be lowered")
    fields = {"kernel": kernel, "stride": stride}
    lowering.define(node, lowering.builder.add(AvgPool, lowering.stored(argument(node, 0)), Tail(), **fields))


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    torch.ops.evenbit.sign.default: _sign,
    torch.ops.evenbit.binary_conv2d.default: _binary_conv,
    aten.conv2d.default: _conv,
    aten.conv2d.padding: _conv_same,
    aten.linear.default: _linear,
    aten.pad.default: _pad,
    aten.batch_norm.default: _batch_norm,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.sub_.Tensor: _sub,
    aten.rsub.Scalar: _rsub,
    aten.mul.Tensor: _mul,
    aten.mul_.Tensor: _mul,
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
    aten.silu.default: _silu,
    aten.silu_.default: _silu,
    aten.hardswish.default: _hardswish,
    aten.hardswish_.default: _hardswish,
    aten.mean.dim: _mean,
    aten.adaptive_avg_pool2d.default: _adaptive_mean,
    aten.adaptive_max_pool2d.default: _adaptive_max,
    operator.getitem: _first,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.flatten.using_ints: _reshape,
    aten.view.default: _reshape,
    aten.reshape.default: _reshape,
    aten.unsqueeze.default: _reshape,
    aten.squeeze.default: _reshape,
    aten.squeeze.dim: _reshape,
    aten.squeeze.dims: _reshape,
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
VIEWS = {target for target, lower in LOWERINGS.items() if lower in (_reshape, _alias, _dropout)}

ACTIVATIONS = "ReLU, ReLU6, LeakyReLU, PReLU, Hardtanh, Sigmoid, Hardsigmoid, SiLU, Hardswish or Softsign"
# What to do instead, by the start of an op's name.
HINTS = {
    ("gelu", "elu", "celu", "selu", "mish", "softplus", "tanh", "exp", "log_sigmoid"): f"use {ACTIVATIONS}",
    ("softmax", "log_softmax", "_softmax"): "pack the network without it; the engine's logits can be normalized after",
    (
        "layer_norm",
        "group_norm",
        "instance_norm",
        "native_",
    ): "use BatchNorm2d or BatchNorm1d, whose statistics are fixed",
    ("matmul", "mm", "addmm", "bmm", "einsum"): "use nn.Linear or nn.Conv2d",
    ("split", "chunk", "slice", "select", "index", "narrow", "unbind"): "channels can be joined, but not taken apart",
    ("permute", "transpose", "movedim", "flip", "roll"): "maps stay batch x channels x height x width",
    ("upsample", "conv_transpose", "pixel"): "maps can shrink, but not grow",
}


def hint(target: Any) -> str:
    """What to do about an op that cannot be lowered."""
    name = str(target).removeprefix("aten.")
    found = (text for starts, text in HINTS.items() if name.startswith(starts))
    return next(found, "the layers around it may have to change")
