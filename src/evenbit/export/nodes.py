"""What each op is in ONNX, without its Tail: a function with the op's name returns the name of its map in the graph.

Each function gets the lowering (which holds the graph), the op, and the shape of its result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from evenbit.bits import unpack_bits
from evenbit.export.graph import convolution, window
from evenbit.export.split_weights import exact_digits
from evenbit.ops import (
    AddMap,
    AvgPool,
    BinaryConv,
    Concat,
    Conv,
    Cube,
    Elementwise,
    Flatten,
    Gather,
    Int8Conv,
    Interpolate,
    LayerNorm,
    MatMul,
    MaxPool,
    Multiply,
    Normalize,
    Shape,
    Softmax,
    Threshold,
)
from evenbit.ops.add_map import spread

if TYPE_CHECKING:
    from evenbit.export.lowering import Lowering

BELOW_ONE = 1 - 2.0**-24  # the largest float32 below 1
LEAST = 2.0**-149  # the smallest float32 above 0
LOWEST = float(np.finfo(np.float32).min)


def normalize(to: Lowering, op: Normalize, _: Shape) -> str:
    """The images as they are."""
    return to.values[op.input]


def elementwise(to: Lowering, op: Elementwise, _: Shape) -> str:
    """The input as it is."""
    return to.values[op.input]


def multiply(to: Lowering, op: Multiply, shape: Shape) -> str:
    """`Mul`."""
    return to.step(op, to.dims(shape))("Mul", to.values[op.input], to.values[op.factor])


def cube(to: Lowering, op: Cube, shape: Shape) -> str:
    """`(u u) u` with `u` the affine map."""
    step = to.step(op, to.dims(shape))
    u = step("Add", step("Mul", to.values[op.input], to.vector(op.scale)), to.vector(op.offset))
    # (|u| u) |u| equals (u u) u bit for bit, and no node reads a tensor twice, which would take a copy.
    size = step("Abs", u)
    return step("Mul", step("Mul", size, u), size)


def concat(to: Lowering, op: Concat, shape: Shape) -> str:
    """`Concat` along the channels."""
    names = [to.values[name] for name in (op.input, *op.others)]
    return to.step(op, to.dims(shape))("Concat", *names, axis=1)


def flatten(to: Lowering, op: Flatten, shape: Shape) -> str:
    """`Reshape`, since in NCHW each channel lies row by row already."""
    sizes = to.integers(0, shape.channels, 1, 1)  # 0: the size that there is
    return to.step(op, to.dims(shape))("Reshape", to.values[op.input], sizes)


def gather(to: Lowering, op: Gather, shape: Shape) -> str:
    """`Gather` along each axis whose order changes, where every axis has its own; else of the map as a vector."""
    source, x = to.shapes[op.input], to.values[op.input]
    rows, columns, channels = (to.plan.tensors[name].astype(np.int64) for name in (op.rows, op.columns, op.channels))
    start = rows.min() + columns.min() + channels.min()  # in one of the three, wherever it was
    area, width = source.height * source.width, source.width
    own = {1: (channels - channels.min()) // area, 2: (rows - rows.min()) // width, 3: columns - columns.min()}
    steps = {1: channels - channels.min(), 2: rows - rows.min(), 3: own[3]}
    own = {1: own[1] + start // area, 2: own[2] + start % area // width, 3: own[3] + start % width}
    sizes = {1: source.channels, 2: source.height, 3: width}
    whole = {1: area, 2: width, 3: 1}
    if all(not (steps[axis] % whole[axis]).any() and own[axis].max() < sizes[axis] for axis in own):
        for axis in own:
            if np.array_equal(own[axis], np.arange(sizes[axis])):
                continue
            sizes[axis] = len(own[axis])
            dims = Shape("float", sizes[2], sizes[3], sizes[1])
            x = to.step(op, to.dims(dims))("Gather", x, to.integers(*own[axis].tolist()), axis=axis)
        return x
    flat = to.step(op, (to.graph.batch, area * source.channels))("Reshape", x, to.integers(0, -1))
    numbers = to.graph.constant(f"{op.name}/numbers", rows[:, None] + columns + channels[:, None, None])
    return to.step(op, to.dims(shape))("Gather", flat, numbers, axis=1)


def conv(to: Lowering, op: Conv, shape: Shape) -> str:
    """`Conv`, which pads with zeros too."""
    weight = to.plan.tensors[op.weight].transpose(0, 3, 1, 2)
    stored = to.graph.constant(op.weight, weight)
    fields = convolution(weight.shape[2:], op.stride, op.padding, op.groups)
    return to.graph.node("Conv", [to.values[op.input], stored], to.dims(shape), f"{op.name}/conv", **fields)


def binary_conv(to: Lowering, op: BinaryConv, shape: Shape) -> str:
    """ONNX and QONNX express it in different ways: see `Lowering.binary_conv`."""
    channels = to.shapes[op.input].channels // op.groups
    weight = unpack_bits(to.plan.tensors[op.weight], channels).transpose(0, 3, 1, 2)
    return to.binary_conv(op, weight, to.dims(shape))


def int8_conv(to: Lowering, op: Int8Conv, shape: Shape) -> str:
    """A convolution of rounded numbers for each digit of the weights."""
    source, dims = to.dims(to.shapes[op.input]), to.dims(shape)
    multiplied = to.step(op, source)("Mul", to.values[op.input], to.scalar(op.multiplier))
    rounded = to.int8(op, multiplied, source)
    base, digits = exact_digits(to.plan.tensors[op.weight].transpose(0, 3, 1, 2))
    fields = convolution(digits[0].shape[2:], op.stride, op.padding)
    sums = [to.step(op, dims)("Conv", rounded, to.int8_weight(op, digit), **fields) for digit in digits]
    return to.int8_sum(op, sums, base, dims)


def max_pool(to: Lowering, op: MaxPool, shape: Shape) -> str:
    """`MaxPool`, whose padding never wins."""
    fields = window(op.kernel, op.stride, op.padding, op.overhang)
    return to.graph.node("MaxPool", [to.values[op.input]], to.dims(shape), f"{op.name}/maxpool", **fields)


def avg_pool(to: Lowering, op: AvgPool, shape: Shape) -> str:
    """`AveragePool`, whose padding does not count."""
    fields = window(op.kernel, op.stride, op.padding, op.overhang)
    return to.graph.node("AveragePool", [to.values[op.input]], to.dims(shape), f"{op.name}/avgpool", **fields)


def threshold(to: Lowering, op: Threshold, shape: Shape) -> str:
    """The zero point of the image, computed as in the Plan.

    `nextafter(t, inf)` is the largest of `t / u`, `t u`, `t + m` and the lowest finite number, with u the float below 1
    and m the float above 0. `t / u` is right for positive t and `t u` for negative t: rounded, they move t to the next
    float. `t + m` is right at 0 and near it, where floats lie m apart. The lowest finite number follows -inf. None of
    the four is ever too large.
    """
    dims, e = to.dims(shape), to.values[op.input]
    scale, offset = to.plan.tensors[op.scale], to.plan.tensors[op.offset]
    flip = unpack_bits(to.plan.tensors[op.flip], shape.channels)

    step = to.step(op, dims)
    zero = scale == 0
    divisor = to.vector(op.scale, np.where(zero, np.float32(1), scale), "divisor")
    t = step("Div", step("Sub", to.vector(op.offset, -offset, "negative"), e), divisor)
    if zero.any():
        negative = step("Less", step("Add", to.vector(op.offset), e), to.scalar(0), kind=TensorProto.BOOL)
        constant = step("Where", negative, to.scalar(np.inf), to.scalar(-np.inf))
        t = step("Where", to.vector(op.scale, zero, "zero"), constant, t)
    if flip.any():
        below, lowest = to.scalar(BELOW_ONE), to.scalar(LOWEST)
        t_up = step("Max", step("Div", t, below), step("Mul", t, below), step("Add", t, to.scalar(LEAST)), lowest)
        t = step("Where", to.vector(op.flip, flip, "flip"), t_up, t)
    return t


def add_map(to: Lowering, op: AddMap, shape: Shape) -> str:
    """`Add` of a constant."""
    added = spread(to.plan.tensors[op.map], shape.height, shape.width)
    stored = to.graph.constant(op.map, added.transpose(2, 0, 1)[None])
    return to.step(op, to.dims(shape))("Add", to.values[op.input], stored)


def interpolate(to: Lowering, op: Interpolate, shape: Shape) -> str:
    """Each side gathered and weighted, columns first."""
    x, dims = to.values[op.input], to.shapes[op.input]
    for axis, places, weights in ((3, op.columns, op.column_weights), (2, op.rows, op.row_weights)):
        dims = dims._replace(width=shape.width) if axis == 3 else shape
        step = to.step(op, to.dims(dims))
        sides = []
        for side in (0, 1):
            numbers = to.integers(*to.plan.tensors[places][:, side].astype(int).tolist())
            weight = to.plan.tensors[weights][:, side].reshape((1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1))
            constant = to.constant((weights, f"side{side}"), weight)
            sides.append(step("Mul", step("Gather", x, numbers, axis=axis), constant))
        x = step("Add", *sides)
    return x


def layer_norm(to: Lowering, op: LayerNorm, shape: Shape) -> str:
    """Means over the channels, of the numbers and of the squares of what they differ by."""
    step, mean = to.step(op, to.dims(shape)), to.step(op, to.dims(shape._replace(channels=1)))
    d = step("Sub", to.values[op.input], mean("ReduceMean", to.values[op.input], axes=[1]))
    variance = mean("ReduceMean", step("Mul", d, d), axes=[1])
    deviation = mean("Sqrt", mean("Add", variance, to.scalar(op.epsilon)))
    return step("Mul", d, mean("Div", to.scalar(1), deviation))


def matmul(to: Lowering, op: MatMul, shape: Shape) -> str:
    """`MatMul` of the maps with their channels last."""
    last = []
    for name in (op.input, op.other):
        source = to.shapes[name]
        dims = (to.graph.batch, source.height, source.width, source.channels)
        last.append(to.step(op, dims)("Transpose", to.values[name], perm=[0, 2, 3, 1]))
    product = to.step(op, (to.graph.batch, *shape[1:]))("MatMul", *last)
    return to.step(op, to.dims(shape))("Transpose", product, perm=[0, 3, 1, 2])


def softmax(to: Lowering, op: Softmax, shape: Shape) -> str:
    """`Softmax` over the channels."""
    return to.step(op, to.dims(shape))("Softmax", to.values[op.input], axis=1)


NODES: dict[str, Callable[[Any, Any, Shape], str]] = {
    function.__name__: function
    for function in (
        normalize,
        elementwise,
        multiply,
        cube,
        concat,
        flatten,
        gather,
        conv,
        int8_conv,
        binary_conv,
        max_pool,
        avg_pool,
        threshold,
        add_map,
        interpolate,
        layer_norm,
        matmul,
        softmax,
    )
}
