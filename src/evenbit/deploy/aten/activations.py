"""Activations: functions that are applied to each number by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.common import unary
from evenbit.deploy.lowering import Floats, Lowering
from evenbit.errors import CaptureError
from evenbit.nn.trace import argument, where
from evenbit.ops import (
    Multiply,
    Tail,
)

aten = torch.ops.aten


def _leaky(slope: float) -> Callable[[Lowering, Node], None]:
    """`x` where it is at least 0, else `x` times the slope; the node's own argument is another slope."""

    def lower(lowering: Lowering, node: Node) -> None:
        unary(lowering, node, lambda channels: _prelu_tail(lowering, np.full(channels, argument(node, 1, slope))))

    return lower


def _prelu_tail(lowering: Lowering, slopes: Floats) -> Tail:
    return Tail(activation="prelu", slope=lowering.builder.tensor(slopes))


def _prelu(lowering: Lowering, node: Node) -> None:
    slopes = lowering.array(argument(node, 1), node).reshape(-1)
    if len(slopes) == 1:
        unary(lowering, node, lambda channels: _prelu_tail(lowering, np.full(channels, slopes[0])))
        return
    value = lowering.stored(argument(node, 0))
    lowering.define(node, lowering.builder.elementwise(value, _prelu_tail(lowering, slopes)))


def _clamp(low: Any, high: Any, before: tuple[float, float] | None = None) -> Callable[[Lowering, Node], None]:
    """A clamp between limits that the node's arguments may replace; `before` is a scale and bias that come first."""

    def lower(lowering: Lowering, node: Node) -> None:
        limits = (argument(node, 1, node.kwargs.get("min", low)), argument(node, 2, node.kwargs.get("max", high)))
        if any(isinstance(limit, Node) for limit in limits):
            raise CaptureError(f"{where(node)}: {node.target} with limits that are not numbers cannot be packed")
        unary(lowering, node, lambda channels: _clamp_tail(lowering, channels, limits, before))

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
    unary(lowering, node, lambda _: Tail(activation="sigmoid"))


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


def _hardswish(lowering: Lowering, node: Node) -> None:
    _gated(lowering, node, lambda channels: _clamp_tail(lowering, channels, (0, 1), HARD_SIGMOID))


def _gated(lowering: Lowering, node: Node, gate: Callable[[int], Tail]) -> None:
    """`x * gate(x)`."""
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    factor = lowering.builder.elementwise(value, gate(lowering.maps[value][0]))
    made = lowering.builder.add(Multiply, value, Tail(), factor=factor)
    lowering.define_alike(node, made, source, value)


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.relu.default: _leaky(0.0),
    aten.relu_.default: _leaky(0.0),
    aten.leaky_relu.default: _leaky(0.01),
    aten.leaky_relu_.default: _leaky(0.01),
    aten.abs.default: _leaky(-1.0),
    aten.abs_.default: _leaky(-1.0),
    aten.prelu.default: _prelu,
    aten.clamp.default: _clamp(None, None),
    aten.clamp_.default: _clamp(None, None),
    aten.clamp_min.default: _clamp(None, None),
    aten.clamp_min_.default: _clamp(None, None),
    aten.hardtanh.default: _clamp(-1.0, 1.0),
    aten.hardtanh_.default: _clamp(-1.0, 1.0),
    aten.relu6.default: _clamp(0.0, 6.0),
    aten.relu6_.default: _clamp(0.0, 6.0),
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
}
