"""Normalizations of batches, groups, instances and layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.deploy.aten.common import affine
from evenbit.deploy.lowering import Lowering, check_images, shape_of
from evenbit.errors import CaptureError
from evenbit.nn.trace import argument, where
from evenbit.ops import (
    Conv,
    LayerNorm,
    Multiply,
    Tail,
)

aten = torch.ops.aten


def _batch_norm(lowering: Lowering, node: Node) -> None:
    gamma, beta, mean, var = (None if part is None else lowering.array(part, node) for part in node.args[1:5])
    if mean is None or var is None or argument(node, 5):
        raise CaptureError(f"{where(node)}: a batch normalization without running statistics cannot be packed")
    scale = (1 if gamma is None else gamma) / np.sqrt(var + argument(node, 7))
    bias = (0 if beta is None else beta) - mean * scale
    channels = (-1, *(1 for _ in shape_of(node)[2:]))
    affine(lowering, node, argument(node, 0), scale.reshape(channels), bias.reshape(channels))


def _layer_norm(lowering: Lowering, node: Node) -> None:
    """Over the last axis, whose numbers are channels then."""
    source: Any = argument(node, 0)
    parts = {"scale": argument(node, 2, None), "bias": argument(node, 3, None)}
    scale, bias = (None if part is None else lowering.array(part, node) for part in parts.values())
    tail = Tail(
        scale=None if scale is None else lowering.builder.tensor(scale),
        bias=None if bias is None else lowering.builder.tensor(bias),
    )
    epsilon = float(np.float32(argument(node, 4, 1e-5)))
    made = lowering.builder.add(LayerNorm, lowering.stored(source, -1), tail, epsilon=epsilon)
    lowering.define(node, made, -1)


def _group_norm(lowering: Lowering, node: Node) -> None:
    groups, (weight, bias) = argument(node, 1), (argument(node, 2, None), argument(node, 3, None))
    _normalize_groups(lowering, node, groups, weight, bias, argument(node, 4, 1e-5))


def _instance_norm(lowering: Lowering, node: Node) -> None:
    source: Any = argument(node, 0)
    if not argument(node, 5):
        raise CaptureError(f"{where(node)}: an instance normalization with running statistics cannot be packed")
    _normalize_groups(lowering, node, shape_of(source)[1], argument(node, 1), argument(node, 2), argument(node, 7))


def _normalize_groups(lowering: Lowering, node: Node, groups: int, weight: Any, bias: Any, epsilon: float) -> None:
    """Mean 0 and variance 1 over the pixels of a group of channels (Wu and He, Group normalization, 2018).

    Means of channels become those of groups by dense layers on vectors:

        d = x - mean(x);  y = d / sqrt(mean(d d) + epsilon) * weight + bias
    """
    source: Any = argument(node, 0)
    check_images(source)
    builder, value = lowering.builder, lowering.stored(source)
    channels = lowering.maps[value][0]
    size = channels // groups

    def of_groups(mean: str, factor: float, tail: Tail) -> str:
        if size == 1:
            scale = None if factor == 1 else builder.tensor(np.full(channels, factor))
            return builder.elementwise(mean, dataclasses.replace(tail, scale=scale))
        weights = builder.tensor(np.full((channels, 1, 1, size), factor / size))
        return builder.add(Conv, mean, tail, weight=weights, groups=groups)

    minus_mean = of_groups(builder.mean(value), -1, Tail())
    d = builder.elementwise(value, Tail(residual=minus_mean))
    variance = builder.mean(builder.add(Multiply, d, Tail(), factor=d))
    shift = builder.tensor(np.full(channels, epsilon))
    factor = of_groups(variance, 1, Tail(bias=shift, activation="rsqrt"))
    tail = Tail(
        scale=None if weight is None else builder.tensor(lowering.array(weight, node)),
        bias=None if bias is None else builder.tensor(lowering.array(bias, node)),
    )
    lowering.define(node, builder.add(Multiply, d, tail, factor=factor))


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    aten.batch_norm.default: _batch_norm,
    aten.group_norm.default: _group_norm,
    aten.instance_norm.default: _instance_norm,
    aten.layer_norm.default: _layer_norm,
}
