"""Ops that move numbers, or do nothing to them: views, permutations, concatenation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.common import add_map, alias, is_computed, padded
from evenbit.deploy.lowering import Lowering, Places, shape_of
from evenbit.errors import CaptureError
from evenbit.nn.aliases import DROPOUTS
from evenbit.nn.conversion.moves import MOVES
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import (
    Concat,
    Tail,
)

aten = torch.ops.aten


def _nothing(lowering: Lowering, node: Node) -> None:
    """A check that holds while tracing."""


def _dropout(lowering: Lowering, node: Node) -> None:
    if argument(node, 2):
        raise CaptureError(f"{where(node)}: a dropout that is active in eval mode cannot be packed")
    alias(lowering, node)


def move(lowering: Lowering, node: Node) -> None:
    """Numbers that change places, are left out or repeated: what is done to them is done to their places."""
    source: Any = argument(node, 0)
    if any(part is not source and is_computed(lowering, part) for part in node.all_input_nodes):
        raise CaptureError(f"{where(node)}: which elements {node.target} selects must not depend on the images")
    value, moved = _moved(lowering, node, source)
    for axis in (lowering.channel_axis(source), 1):  # at the latest what lies in its own order can be moved
        if all(lowering.can_be_stored(value, part) for part in moved):
            break
        lowering.define(source, lowering.stored(source, axis), axis)
        value, moved = _moved(lowering, node, source)
    if isinstance(node.meta["val"], torch.Tensor):
        lowering.define_moved(node, value, *moved)
    else:
        lowering.parts[node] = [(value, part) for part in moved]


def _moved(lowering: Lowering, node: Node, source: Node) -> tuple[str, list[Places]]:
    """The value of what the node moves, and where the numbers of what it gives lie there."""
    value = lowering.value(source)
    places = torch.from_numpy(lowering.placed(source)).double()  # an op of floats may move them
    by: Any = aten.reshape.default if node.target == aten.view.default else node.target  # whatever their strides
    moved = by(places, *lowering.evaluate(node.args[1:]), **node.kwargs)
    return value, [part.long().numpy() for part in ([moved] if isinstance(moved, torch.Tensor) else moved)]


def pick(lowering: Lowering, node: Node) -> None:
    """One of several tensors; of a pooling, the values and not their indices."""
    source: Any = argument(node, 0)
    index = argument(node, 1)
    if source in lowering.parts:
        lowering.define_moved(node, *lowering.parts[source][index])
    elif index == 0:
        alias(lowering, node)
    elif node.users:
        raise CaptureError(f"{where(node)}: the indices of the largest values cannot be packed")


def _cat(lowering: Lowering, node: Node) -> None:
    """Joined along any axis: its numbers are channels then."""
    axis = argument(node, 1, 0) % len(shape_of(node))
    given: Any = argument(node, 0)
    parts = [part for part in given if part.meta["val"].shape != (0,)]  # torch lets them begin with nothing
    if axis == 0:
        raise CaptureError(f"{where(node)}: images of a batch cannot be concatenated")
    if not all(is_computed(lowering, part) for part in parts):
        _join_constants(lowering, node, parts, axis)
        return
    first, *others = (lowering.stored(part, axis) for part in parts)
    if others:
        first = lowering.builder.add(Concat, first, Tail(), others=tuple(others))
    lowering.define(node, first, axis)


def _join_constants(lowering: Lowering, node: Node, parts: Any, axis: int) -> None:
    """Constants before and after a tensor, such as the class token: zeros are put there, and a map is added."""
    computed = [index for index, part in enumerate(parts) if is_computed(lowering, part)]
    shape = shape_of(node)
    others = [index for index in range(1, len(shape)) if index != axis]
    if len(computed) != 1 or shape[0] != BATCH or len(shape) not in (3, 4):
        raise CaptureError(f"{where(node)}: concatenates a constant in a way that cannot be packed")
    (index,) = computed
    channel_axis = others[-1]
    before = sum(lowering.array(part, node).shape[axis] for part in parts[:index])
    after = sum(lowering.array(part, node).shape[axis] for part in parts[index + 1 :])
    is_row = len(shape) == 4 and axis < others[0]
    amounts = (before, after, 0, 0) if is_row else (0, 0, before, after)
    value = padded(lowering, lowering.stored(parts[index], channel_axis), amounts)
    lowering.define(node, value, channel_axis)
    zeros = np.zeros(shape_of(parts[index]))
    add_map(
        lowering,
        node,
        np.concatenate([zeros if i == index else lowering.array(part, node) for i, part in enumerate(parts)], axis),
    )


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.cat.default: _cat,
    operator.getitem: pick,
    **dict.fromkeys(MOVES, move),
    **dict.fromkeys(DROPOUTS, _dropout),
    aten._assert_tensor_metadata.default: _nothing,
    aten.alias.default: alias,
    aten.contiguous.default: alias,
    aten.clone.default: alias,
    aten.detach.default: alias,
    aten.to.device: alias,
    aten.to.dtype: alias,
    aten.to.dtype_layout: alias,
}
