"""Convolution in floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.ops.groups import check_outputs, per_group
from evenbit.ops.names import TensorName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape
from evenbit.ops.window import Window


@dataclass(frozen=True, kw_only=True)
class Conv(Op):
    """Float convolution, zero-padded: `v = sum over (ky, kx, i), in this order, of x * w`, starting from 0.

    Attributes:
        weight: Name of a float32 tensor `[O, kh, kw, C / groups]`.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
        groups: Number of channel groups; output `o` reads group `o // (O / groups)`.
    """

    kind: ClassVar[str] = "conv"
    weight: TensorName
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    def result(self, source: Shape, scope: Scope) -> Shape:
        """One pixel for each position of the window."""
        inputs = per_group(source.channels, self.groups)
        weight = scope.tensor(self.weight, np.float32, (-1, -1, -1, inputs))
        check_outputs(weight, self.groups)
        return self.window(scope.tensors).slide(source, len(weight))

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        weight, window = known[self.weight], self.window(known)
        taps = window.taps(window.padded(x))
        inputs, outputs = source.channels // self.groups, len(weight) // self.groups
        parts = []
        for group in range(self.groups):
            own = weight[group * outputs : (group + 1) * outputs]
            v = np.zeros((*taps[0][2].shape[:3], outputs), np.float32)
            for ky, kx, tap in taps:
                for i in range(inputs):
                    v = v + tap[..., group * inputs + i, None] * own[:, ky, kx, i]
            parts.append(v)
        return np.concatenate(parts, axis=-1)

    def fan_in(self, source: Shape, tensors: Mapping[str, Array]) -> int:
        """The inputs of one group at all taps."""
        return int(tensors[self.weight][0].size)

    def window(self, tensors: Mapping[str, Array]) -> Window:
        """The window, with the size of the kernel."""
        _, height, width, _ = tensors[self.weight].shape
        return Window((height, width), self.stride, self.padding)
