"""Softmax and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.common import affine, is_computed
from evenbit.deploy.lowering import Floats, Lowering, layout_of, shape_of, spread_out
from evenbit.errors import CaptureError
from evenbit.nn.trace import BATCH, argument, where
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
    mask, causal = argument(node, 3, None), argument(node, 5, False)
    if is_computed(lowering, mask) or argument(node, 4, 0.0):
        raise CaptureError(f"{where(node)}: attention with a computed mask or dropout cannot be packed")
    assert isinstance(query, Node)
    assert isinstance(key, Node)
    builder = lowering.builder
    if shape_of(query)[:-2] != shape_of(key)[:-2]:
        raise CaptureError(f"{where(node)}: attention whose heads share their keys cannot be packed")
    scale = node.kwargs.get("scale")
    scale = shape_of(query)[-1] ** -0.5 if scale is None else scale
    turned = lowering.gathered(key, lowering.value(key), np.swapaxes(lowering.placed(key), -1, -2), -1)
    tail = Tail(scale=builder.tensor(np.full(shape_of(key)[-2], scale)))
    scores = builder.add(MatMul, lowering.stored(query, -1), tail, other=turned)
    shape = (*shape_of(query)[:-1], shape_of(key)[-2])
    if causal:
        scores = _masked(lowering, node, scores, torch.ones(shape[-2:], dtype=torch.bool).tril(), shape)
    elif mask is not None:
        scores = _masked(lowering, node, scores, lowering.evaluate(mask), shape)
    made = builder.add(MatMul, builder.add(Softmax, scores, Tail()), Tail(), other=lowering.stored(value, -1))
    lowering.define(node, made, -1)


def _masked(lowering: Lowering, node: Node, scores: str, mask: torch.Tensor, shape: tuple[int, ...]) -> str:
    """Scores of that shape with a constant added, or with -inf where the constant is False."""
    if mask.dtype == torch.bool and mask.all():
        return scores
    added = torch.where(mask, 0.0, -torch.inf) if mask.dtype == torch.bool else mask
    summand = added.double().cpu().numpy()
    _check_rows(node, summand, -1)
    channels, height, width = layout_of(shape, -1)
    spread = np.empty(BATCH * channels * height * width)
    spread[spread_out(shape, -1).reshape(-1)] = np.broadcast_to(summand, shape).reshape(-1)
    first, second = spread.reshape(BATCH, channels, height, width)
    if not np.array_equal(first, second) or np.isnan(first).any():
        raise CaptureError(f"{where(node)}: a mask that differs between the images of a batch cannot be packed")
    return lowering.builder.add(AddMap, scores, Tail(), map=lowering.builder.tensor(first.transpose(1, 2, 0)))


def _check_rows(node: Node, summand: Floats, axis: int) -> None:
    """Refuses a mask that leaves a softmax along the axis nothing but -inf."""
    if np.isneginf(summand).all(axis).any():
        raise CaptureError(f"{where(node)}: a mask leaves nothing to attend to, which cannot be packed")


def _only_softmax_reads(node: Node) -> bool:
    return all(user.target in SOFTMAX for user in node.users)


def _check_readers(node: Node, summand: Floats) -> None:
    """Refuses a mask that leaves one of the softmaxes which read the sum `node` nothing but -inf."""
    for user in node.users:
        _check_rows(node, np.broadcast_to(summand, shape_of(node)), argument(user, 1))


def summand_of(lowering: Lowering, constant: Any, node: Node) -> Floats:
    """The constant in the sum `node`: finite, except for the -inf in a mask for scores that only softmax reads."""
    masks = _only_softmax_reads(node)
    summand = lowering.array(constant, node, minus_infinity=masks)
    if masks:
        _check_readers(node, summand)
    return summand


def _fill(lowering: Lowering, node: Node) -> None:
    """`scores.masked_fill(mask, value)` or `where(mask, scores, value)`: a mask, since after a softmax e^value is 0."""
    first, second, value = node.args[:3]
    if node.target in WHERE:
        kept, scores = lowering.array(first, node) != 0, second
        if not is_computed(lowering, scores):
            kept, scores, value = ~kept, value, scores
    else:
        kept, scores = lowering.array(second, node) == 0, first
    low = lowering.array(value, node, minus_infinity=True).max() <= MASKED
    if not (low and is_computed(lowering, scores) and _only_softmax_reads(node)):
        text = f"only scores that a softmax reads can be filled, with {MASKED:g} or less"
        raise CaptureError(f"{where(node)}: {node.target} cannot be packed; {text}")
    summand = np.where(kept, 0, -np.inf)
    _check_readers(node, summand)
    affine(lowering, node, scores, bias=summand)


MASKED = -1e4  # scores this low have no share in a softmax
SOFTMAX = (aten.softmax.int, aten._softmax.default)
WHERE = (aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf)

LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.scaled_dot_product_attention.default: _attention,
    **dict.fromkeys(SOFTMAX, _softmax),
    **dict.fromkeys(WHERE, _fill),
    aten.masked_fill.Scalar: _fill,
    aten.masked_fill.Tensor: _fill,
}
