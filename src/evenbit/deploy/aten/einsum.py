"""Einstein's sums of two computed tensors, as hand-written attention has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from evenbit.deploy.aten.common import is_computed
from evenbit.deploy.lowering import Lowering, layout_of, shape_of, spread_out
from evenbit.errors import CaptureError
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import MatMul, Tail


def _einsum(lowering: Lowering, node: Node) -> None:
    """Products of matrices: one for each index of the axes that both sides and the result have.

    Axes that both sides have and the result has not are summed over; each other axis is one side's and the result's.
    """
    equation, sides = str(node.args[0]).replace(" ", ""), argument(node, 1)
    inputs, _, result = equation.partition("->")
    left, _, right = inputs.partition(",")
    shared = [axis for axis in result if axis in left and axis in right]
    summed = [axis for axis in left if axis in right and axis not in result]
    rows, columns = ([axis for axis in side if axis in result and axis not in shared] for side in (left, right))
    fits = sorted(left) == sorted([*shared, *summed, *rows]) and sorted(right) == sorted([*shared, *summed, *columns])
    computed = len(sides) == 2 and "." not in equation and all(is_computed(lowering, side) for side in sides)
    if not computed or not fits or result[:1] not in shared:
        raise CaptureError(f"{where(node)}: einsum('{equation}') cannot be packed; use nn.Linear, nn.Conv2d or matmul")
    axes = list(zip(left + right, (*shape_of(sides[0]), *shape_of(sides[1])), strict=True))
    sizes = dict(axes)
    if any(sizes[axis] != size for axis, size in axes):
        raise CaptureError(f"{where(node)}: einsum('{equation}') with an axis that is repeated cannot be packed")

    def matrices(side: Node, axes: str, *order: list[str]) -> str:
        places = lowering.placed(side).transpose([axes.index(axis) for part in order for axis in part])
        sides = (int(np.prod([sizes[axis] for axis in part])) for part in order[1:])
        return lowering.gathered(side, lowering.value(side), places.reshape(BATCH, -1, *sides), -1)

    first, second = matrices(sides[0], left, shared, rows, summed), matrices(sides[1], right, shared, summed, columns)
    made = lowering.builder.add(MatMul, first, Tail(), other=second)
    order = [*shared, *rows, *columns]
    spread = [sizes[axis] for axis in order]
    shape = (BATCH, lowering.maps[first][1], lowering.maps[first][2], lowering.maps[second][0])
    lowering.maps[made] = layout_of(shape, -1)
    places = spread_out(shape, -1).reshape(spread).transpose([order.index(axis) for axis in result])
    lowering.define_moved(node, made, places)


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {torch.ops.aten.einsum.default: _einsum}
