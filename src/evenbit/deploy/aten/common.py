"""What several kinds of ops share when they are lowered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.lowering import Floats, Lowering, shape_of
from evenbit.errors import CaptureError
from evenbit.nn.ops import pair
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import (
    AddMap,
    Conv,
    Multiply,
    Tail,
)

aten = torch.ops.aten


def unary(lowering: Lowering, node: Node, tail: Callable[[int], Tail]) -> None:
    """A function that is applied to each number by itself; `tail` makes its Tail for a number of channels."""
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    made = lowering.builder.elementwise(value, tail(lowering.maps[value][0]))
    lowering.define_alike(node, made, source, value)


def affine(
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
                lowering.define(node, made, axis)
            return
    if scale is not None:
        _multiply_map(lowering, node, scale)
    if bias is not None:
        add_map(lowering, node, bias)


def _multiply_map(lowering: Lowering, node: Node, constant: Floats) -> None:
    """Multiplies the value that a node has so far by a constant, which is made of it: the value times 0, plus it."""
    builder, value = lowering.builder, lowering.values[node]
    zero = builder.elementwise(value, Tail(scale=builder.tensor(np.zeros(lowering.maps[value][0]))))
    lowering.values[node], lowering.maps[zero] = zero, lowering.maps[value]
    add_map(lowering, node, constant)
    made = builder.add(Multiply, value, Tail(), factor=lowering.values[node])
    lowering.values[node], lowering.maps[made] = made, lowering.maps[value]


def add_map(lowering: Lowering, node: Node, constant: Floats) -> None:
    """Adds a constant to the value that a node has so far; the constant broadcasts to the shape of the node."""
    shape, value = shape_of(node), lowering.values[node]
    channels, height, width = lowering.maps[value]
    spread = np.empty(BATCH * channels * height * width)
    spread[lowering.placed(node).reshape(-1)] = np.broadcast_to(constant, shape).reshape(-1)
    first, second = spread.reshape(BATCH, channels, height, width)
    if not np.array_equal(first, second):
        raise CaptureError(
            f"{where(node)}: {node.target} with a constant that differs between the images of a batch cannot be packed"
        )
    made = lowering.builder.add(AddMap, value, Tail(), map=lowering.builder.tensor(first.transpose(1, 2, 0)))
    lowering.values[node], lowering.maps[made] = made, lowering.maps[value]


def alias(lowering: Lowering, node: Node) -> None:
    """A node that is its first argument under another name."""
    source: Any = argument(node, 0)
    value = lowering.value(source)
    lowering.define_alike(node, value, source, value)


def pair_for(node: Node, setting: Any, of_rows: int) -> tuple[int, int]:
    """Vertical and horizontal value of a setting; sequences have one row, so `of_rows` is their vertical value."""
    return (of_rows, pair(setting)[0]) if len(shape_of(node)) == 3 else pair(setting)


def padded(lowering: Lowering, value: str, amounts: tuple[int, int, int, int]) -> str:
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


def is_computed(lowering: Lowering, node: Any) -> bool:
    """Whether an argument depends on the images."""
    return isinstance(node, Node) and node in lowering.values


def computed_first(lowering: Lowering, node: Node) -> tuple[Any, Any]:
    """Both sides of a sum or product, one that is computed first."""
    left: Any = node.args[0]
    right: Any = node.args[1]
    return (left, right) if is_computed(lowering, left) else (right, left)


def together(lowering: Lowering, node: Node, combine: Callable[[str, str], str]) -> None:
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
