"""Sums, products and quotients, of maps and with constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.attention import summand_of
from evenbit.deploy.aten.common import affine, computed_first, is_computed, together, unary
from evenbit.deploy.lowering import Lowering, shape_of
from evenbit.errors import CaptureError
from evenbit.nn.trace import argument, where
from evenbit.ops import (
    Multiply,
    Tail,
)

aten = torch.ops.aten


def _add(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    left, right = computed_first(lowering, node)
    if is_computed(lowering, right):
        together(lowering, node, lambda x, y: lowering.builder.elementwise(x, Tail(residual=y)))
    else:
        affine(lowering, node, left, bias=summand_of(lowering, right, node))


def _check_alpha(node: Node) -> None:
    if node.kwargs.get("alpha", argument(node, 2, 1)) != 1:
        raise CaptureError(f"{where(node)}: a sum with alpha cannot be packed")


def _sub(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    left: Any = node.args[0]
    right: Any = node.args[1]
    if not is_computed(lowering, right):
        affine(lowering, node, left, bias=-lowering.array(right, node))
    elif not is_computed(lowering, left):
        affine(lowering, node, right, np.array(-1.0), lowering.array(left, node))
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

    together(lowering, node, combine)


def _rsub(lowering: Lowering, node: Node) -> None:
    _check_alpha(node)
    affine(lowering, node, argument(node, 0), np.array(-1.0), lowering.array(argument(node, 1), node))


def _neg(lowering: Lowering, node: Node) -> None:
    affine(lowering, node, argument(node, 0), np.array(-1.0))


def _mul(lowering: Lowering, node: Node) -> None:
    left, right = computed_first(lowering, node)
    if is_computed(lowering, right):
        together(lowering, node, lambda x, y: lowering.builder.add(Multiply, x, Tail(), factor=y))
    else:
        affine(lowering, node, left, lowering.array(right, node))


def _any_power(lowering: Lowering, node: Node) -> None:
    _power(argument(node, 1))(lowering, node)


def _power(power: float) -> Callable[[Lowering, Node], None]:
    """A product, or the root or its inverse; `sqrt(x) = 1 / sqrt(q q)` with `q = 1 / sqrt(x)`."""

    def lower(lowering: Lowering, node: Node) -> None:
        if power not in (2, 3, 4, 0.5, -0.5):
            raise CaptureError(f"{where(node)}: a power of {power} cannot be packed; 2, 3, 4, 0.5 and -0.5 can")
        source: Any = argument(node, 0)
        value = made = lowering.worked_on(source)
        builder = lowering.builder
        if power < 1:
            made = builder.elementwise(made, Tail(activation="rsqrt"))
            if power > 0:
                made = builder.add(Multiply, made, Tail(activation="rsqrt"), factor=made)
        for _ in range(int(power) - 1):
            made = builder.add(Multiply, made, Tail(), factor=value)
        lowering.define_alike(node, made, source, value)

    return lower


def _div(lowering: Lowering, node: Node) -> None:
    if node in lowering.softsigns:
        unary(lowering, node, lambda _: Tail(activation="softsign"))
        return
    if is_computed(lowering, argument(node, 1)):
        _quotient(lowering, node)
        return
    divisor = lowering.array(argument(node, 1), node)
    if not divisor.all():
        raise CaptureError(f"{where(node)}: divides by zero")
    affine(lowering, node, argument(node, 0), 1 / divisor)


def _quotient(lowering: Lowering, node: Node) -> None:
    """`x / y` as `x * (1 / y)`; y may be the side that is broadcast."""
    x: Any = argument(node, 0)
    if not is_computed(lowering, x) or shape_of(x) != shape_of(node):
        raise CaptureError(f"{where(node)}: dividing a constant, or a smaller by a larger tensor, cannot be packed")

    def combine(first: str, second: str) -> str:
        return lowering.builder.add(Multiply, first, Tail(), factor=_inverse(lowering, second))

    together(lowering, node, combine)


def _reciprocal(lowering: Lowering, node: Node) -> None:
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    lowering.define_alike(node, _inverse(lowering, value), source, value)


def _inverse(lowering: Lowering, value: str) -> str:
    """`1 / y` as `y q q` with `q = 1 / sqrt(y y)`, whatever the sign of y."""
    builder = lowering.builder
    q = builder.add(Multiply, value, Tail(activation="rsqrt"), factor=value)
    return builder.add(Multiply, builder.add(Multiply, q, Tail(), factor=q), Tail(), factor=value)


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.sub_.Tensor: _sub,
    aten.rsub.Scalar: _rsub,
    aten.neg.default: _neg,
    aten.mul.Tensor: _mul,
    aten.mul_.Tensor: _mul,
    aten.pow.Tensor_Scalar: _any_power,
    aten.reciprocal.default: _reciprocal,
    aten.rsqrt.default: _power(-0.5),
    aten.sqrt.default: _power(0.5),
    aten.square.default: _power(2),
    aten.div.Tensor: _div,
    aten.div_.Tensor: _div,
}
