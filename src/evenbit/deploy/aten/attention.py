"""Softmax and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.common import is_computed
from evenbit.deploy.lowering import Lowering, layout_of, shape_of, spread_out
from evenbit.errors import CaptureError
from evenbit.nn.conversion.trace import BATCH, argument, where
from evenbit.ops import (
    AddMap,
    MatMul,
    Softmax,
    Tail,
)

aten = torch.ops.aten


def _softmax(lowering: Lowering, node: Node) -> None:
    axis = argument(node, 1)
    made = lowering.builder.add(Softmax, lowering.stored(argument(node, 0), axis), Tail())
    lowering.define(node, made, axis)


def _attention(lowering: Lowering, node: Node) -> None:
    """`softmax(q k^T / sqrt(d) + mask) v` for each head (Vaswani et al., Attention is all you need, 2017)."""
    query, key, value = (node.args[index] for index in range(3))
    mask = argument(node, 3, None)
    if is_computed(lowering, mask) or argument(node, 4, 0.0) or argument(node, 5, False):
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


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.scaled_dot_product_attention.default: _attention,
    aten.softmax.int: _softmax,
    aten._softmax.default: _softmax,
}
