"""The two ops of binary layers: signs, and convolutions of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import Node

import evenbit.nn.ops  # noqa: F401  (registers torch.ops.evenbit)
from evenbit.bits import pack_bits
from evenbit.deploy.aten.common import padded
from evenbit.deploy.aten.layers import window_weight
from evenbit.deploy.lowering import Lowering, shape_of
from evenbit.errors import CaptureError
from evenbit.nn.ops import pair
from evenbit.nn.trace import BATCH, argument, where
from evenbit.ops import BinaryConv, Concat, Tail


def _sign(lowering: Lowering, node: Node) -> None:
    source: Any = argument(node, 0)
    value = lowering.worked_on(source)
    lowering.define_alike(node, lowering.sign(value), source, value)


def _binary_conv(lowering: Lowering, node: Node) -> None:
    stride, padding, dilation = (pair(argument(node, index)) for index in (2, 3, 4))
    groups = argument(node, 5)
    source, weight = window_weight(lowering, node, dense=(stride, padding, groups) == ((1, 1), (0, 0), 1))
    if not np.all(np.abs(weight) == 1):
        raise CaptureError(f"{where(node)}: the weights of a binary convolution are not all +1 or -1")
    fields = {"weight": lowering.builder.bits_tensor(pack_bits(weight > 0)), "groups": groups}
    if dilation == (1, 1):
        fields |= {"stride": stride, "padding": padding}
        lowering.define(node, lowering.builder.add(BinaryConv, source, Tail(), **fields))
    elif stride == (1, 1):
        _dilated(lowering, node, lowering.signs[source], weight.shape[1:3], padding, dilation, fields)
    else:
        raise CaptureError(f"{where(node)}: a dilated binary convolution with a stride cannot be packed")


def _dilated(
    lowering: Lowering,
    node: Node,
    value: str,
    kernel: tuple[int, ...],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    fields: dict[str, Any],
) -> None:
    """A convolution of the signs of `value` whose taps lie apart, by convolutions whose taps do not.

    The pixels whose row and column leave the same remainders by the dilation are a map of their own: taps that begin on
    it stay on it. Where these maps would not be of one size, zeros are put around the whole: their signs are +1, as
    those of padding.
    """
    builder, (channels, *size) = lowering.builder, lowering.maps[value]
    axes = list(zip(size, padding, dilation, strict=True))
    own = [pad // step for _, pad, step in axes]  # padding of each map
    if any(n % step or pad % step for n, pad, step in axes):
        (top, bottom), (left, right) = ((pad, pad + -(n + 2 * pad) % step) for n, pad, step in axes)
        value, own = padded(lowering, value, (top, bottom, left, right)), [0, 0]
    _, *size = lowering.maps[value]
    rows, columns = (n // step for n, step in zip(size, dilation, strict=True))
    pixels = np.arange(BATCH * channels * size[0] * size[1])
    apart = pixels.reshape(BATCH, channels, rows, dilation[0], columns, dilation[1])
    parts = []
    for row, column in np.ndindex(*dilation):
        bits = lowering.sign(lowering.gathered(node, value, apart[:, :, :, row, :, column], 1))
        parts.append(builder.add(BinaryConv, bits, Tail(), padding=tuple(own), **fields))
    joined = builder.add(Concat, parts[0], Tail(), others=tuple(parts[1:]))
    _, outputs, height, width = shape_of(node)
    rows, columns = (n + 2 * pad - taps + 1 for n, pad, taps in zip((rows, columns), own, kernel, strict=True))
    lowering.maps[joined] = (len(parts) * outputs, rows, columns)
    results = np.arange(BATCH * len(parts) * outputs * rows * columns)
    together = results.reshape(BATCH, *dilation, outputs, rows, columns).transpose(0, 3, 4, 1, 5, 2)
    places = together.reshape(BATCH, outputs, rows * dilation[0], columns * dilation[1])
    lowering.define_moved(node, joined, places[:, :, :height, :width])


LOWERINGS: dict[Any, Callable[[Lowering, Node], None]] = {
    torch.ops.evenbit.sign.default: _sign,
    torch.ops.evenbit.binary_conv2d.default: _binary_conv,
}
