"""Convolution of bits with bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.bits import pack_bits, unpack_bits, words
from evenbit.errors import PlanError
from evenbit.ops.groups import check_outputs, per_group
from evenbit.ops.names import TensorName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope, check_spare_bits
from evenbit.ops.shape import Array, Kind, Shape
from evenbit.ops.window import Window

MAX_FAN_IN = 2**24  # integers up to this are exact in float32, so a binary accumulator is exact too


@dataclass(frozen=True, kw_only=True)
class BinaryConv(Op):
    """Binary convolution, padded with +1: `v = K - 2 * popcount(x xor w)` with `K = kh * kw * C / groups`, exact.

    Attributes:
        weight: Name of a uint64 tensor `[O, kh, kw, words(C / groups)]`.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
        groups: Number of channel groups; output `o` reads group `o // (O / groups)`.
    """

    kind: ClassVar[str] = "binary_conv"
    reads_kind: ClassVar[Kind] = "bits"
    weight: TensorName
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    def result(self, source: Shape, scope: Scope) -> Shape:
        """One pixel for each position of the window."""
        inputs = per_group(source.channels, self.groups)
        weight = scope.tensor(self.weight, np.uint64, (-1, -1, -1, words(inputs)))
        check_outputs(weight, self.groups)
        if self.fan_in(source, scope.tensors) > MAX_FAN_IN:
            raise PlanError(f"more than {MAX_FAN_IN} inputs an output")
        check_spare_bits(self.weight, weight, inputs)
        return self.window(scope.tensors).slide(source, len(weight))

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        weight, window = known[self.weight], self.window(known)
        padded = window.padded(x)
        inside = window.padded(np.ones((1, *x.shape[1:3], 1), np.bool_))[0, ..., 0]
        padded[:, ~inside] = pack_bits(np.ones(source.channels, np.bool_))
        inputs, outputs = source.channels // self.groups, len(weight) // self.groups
        parts = []
        for group in range(self.groups):
            bits = padded
            if self.groups > 1:
                own = slice(group * inputs, (group + 1) * inputs)
                bits = pack_bits(unpack_bits(padded, source.channels)[..., own])
            filters = weight[group * outputs : (group + 1) * outputs]
            taps = window.taps(bits)
            differing = np.zeros((*taps[0][2].shape[:3], outputs), np.int64)
            for ky, kx, tap in taps:
                for word in range(words(inputs)):
                    differing += np.bitwise_count(tap[..., word, None] ^ filters[:, ky, kx, word])
            parts.append(self.fan_in(source, known) - 2 * differing)
        return np.asarray(np.concatenate(parts, axis=-1), np.float32)

    def fan_in(self, source: Shape, tensors: Mapping[str, Array]) -> int:
        """The inputs of one group at all taps."""
        _, height, width, _ = tensors[self.weight].shape
        return int(height * width * source.channels // self.groups)

    def window(self, tensors: Mapping[str, Array]) -> Window:
        """The window, with the size of the kernel."""
        _, height, width, _ = tensors[self.weight].shape
        return Window((height, width), self.stride, self.padding)
