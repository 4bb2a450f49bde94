"""Einstein's sums of two tensors, as hand-written attention has them, and products of matrices with constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from evenbit.deploy.aten.common import is_computed
from evenbit.deploy.lowering import Floats, Lowering, Places, shape_of, spread_out
from evenbit.errors import CaptureError
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import Conv, MatMul, Tail


def _einsum(lowering: Lowering, node: Node) -> None:
    equation, sides = str(node.args[0]).replace(" ", ""), argument(node, 1)
    inputs, _, result = equation.partition("->")
    axes = inputs.split(",")
    computed = [is_computed(lowering, side) for side in sides]
    refusal = f"{where(node)}: einsum('{equation}') cannot be packed; use nn.Linear, nn.Conv2d or matmul"
    if len(sides) != 2 or not any(computed) or "." in equation or "->" not in equation:
        raise CaptureError(refusal)
    shapes = [side.meta["val"].shape for side in sides]
    pairs = [pair for letters, shape in zip(axes, shapes, strict=True) for pair in zip(letters, shape, strict=True)]
    if any(dict(pairs)[letter] != size for letter, size in pairs) or any(len(set(part)) < len(part) for part in axes):
        raise CaptureError(f"{where(node)}: einsum('{equation}') with an axis that is repeated cannot be packed")
    if all(computed):
        done = _of_computed(lowering, node, sides, axes, result)
    else:
        first = computed.index(True)
        constant = lowering.array(sides[1 - first], node)
        done = by_constant(lowering, node, sides[first], axes[first], constant, axes[1 - first], result)
    if not done:
        raise CaptureError(refusal)


def _of_computed(lowering: Lowering, node: Node, sides: list[Node], axes: list[str], result: str) -> bool:
    """Products of matrices: one for each index of the axes that both sides and the result have.

    Axes that both sides have and the result has not are summed over; each other axis is one side's and the result's.
    """
    left, right = axes
    shared = [axis for axis in result if axis in left and axis in right]
    summed = [axis for axis in left if axis in right and axis not in result]
    rows, columns = ([axis for axis in side if axis in result and axis not in shared] for side in (left, right))
    fits = sorted(left) == sorted([*shared, *summed, *rows]) and sorted(right) == sorted([*shared, *summed, *columns])
    if not fits or result[:1] not in shared:
        return False
    sizes = dict(zip(left + right, (*shape_of(sides[0]), *shape_of(sides[1])), strict=True))

    def matrices(side: Node, axes: str, *order: list[str]) -> str:
        places = lowering.placed(side).transpose([axes.index(axis) for part in order for axis in part])
        sides = (int(np.prod([sizes[axis] for axis in part])) for part in order[1:])
        return lowering.gathered(side, lowering.value(side), places.reshape(BATCH, -1, *sides), -1)

    first, second = matrices(sides[0], left, shared, rows, summed), matrices(sides[1], right, shared, summed, columns)
    made = lowering.builder.add(MatMul, first, Tail(), other=second)
    lowering.maps[made] = (lowering.maps[second][0], *lowering.maps[first][1:])
    shape = (BATCH, *lowering.maps[first][1:], lowering.maps[second][0])
    _define(lowering, node, made, spread_out(shape, -1), [*shared, *rows, *columns], sizes, result)
    return True


def by_constant(
    lowering: Lowering, node: Node, source: Node, axes: str, constant: Floats, of_constant: str, result: str
) -> bool:
    """The sum over the axes that both have and the result has not: a convolution of 1x1 in groups.

    There is a group for each index of the axes that both and the result have, and a pixel for each index of the axes
    that only the source has.

    Args:
        lowering: Its state.
        node: The result.
        source: The computed side.
        axes: A letter for each axis of the source.
        constant: The other side.
        of_constant: A letter for each of its axes.
        result: A letter for each axis of the result.

    Returns:
        Whether it can be done.
    """
    shared = [axis for axis in axes if axis in of_constant and axis in result]
    summed = [axis for axis in axes if axis in of_constant and axis not in result]
    pixels = [axis for axis in axes if axis not in of_constant]
    outputs = [axis for axis in of_constant if axis not in axes]
    if pixels[:1] != [result[0]] or axes[0] != result[0] or sorted(result) != sorted(shared + pixels + outputs):
        return False
    sizes = dict(zip(axes + of_constant, (*shape_of(source), *constant.shape), strict=True))
    groups, inputs, columns = (int(np.prod([sizes[axis] for axis in part])) for part in (shared, summed, pixels[1:]))
    order = [pixels[0], *shared, *summed, *pixels[1:]]
    places = lowering.placed(source).transpose([axes.index(axis) for axis in order])
    value = lowering.gathered(source, lowering.value(source), places.reshape(BATCH, groups * inputs, columns), 1)
    weight = constant.transpose([of_constant.index(axis) for axis in (*shared, *outputs, *summed)])
    weight = weight.reshape(-1, 1, 1, inputs)
    made = lowering.builder.add(Conv, value, Tail(), weight=lowering.builder.tensor(weight), groups=groups)
    lowering.maps[made] = (len(weight), 1, columns)
    spread = np.arange(BATCH * len(weight) * columns)
    _define(lowering, node, made, spread, [pixels[0], *shared, *outputs, *pixels[1:]], sizes, result)
    return True


def _define(
    lowering: Lowering, node: Node, made: str, spread: Places, order: list[str], sizes: dict[str, int], result: str
) -> None:
    """Records that the numbers of the node lie in the Plan value `made` at these places, given with axes in `order`."""
    places = spread.reshape([sizes[axis] for axis in order]).transpose([order.index(axis) for axis in result])
    lowering.define_moved(node, made, places)


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {torch.ops.aten.einsum.default: _einsum}
