"""Convolution of 8-bit integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.errors import PlanError
from evenbit.ops.names import TensorName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape
from evenbit.ops.window import Window

MAX_INT8_FAN_IN = 2**17  # 2^17 products of up to 127 * 127 fit an int32


@dataclass(frozen=True, kw_only=True)
class Int8Conv(Op):
    """Convolution of 8-bit integers, zero-padded, with an exact sum.

        p = x * multiplier                             in float32
        q = rint(min(max(p, -127), 127))               halves to even; a NaN becomes -127
        v = float32(sum over (ky, kx, i) of q * w)     the sum in 32-bit integers

    The Tail's scale brings `v` back to the units of the float network: it is the weights' scale times `1 / multiplier`.

    Attributes:
        weight: Name of an int8 tensor `[O, kh, kw, C]`, each from -127 to 127.
        multiplier: 127 / m, positive; values with |x| above m are clamped.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
    """

    kind: ClassVar[str] = "int8_conv"
    weight: TensorName
    multiplier: float
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def result(self, source: Shape, scope: Scope) -> Shape:
        """One pixel for each position of the window."""
        weight = scope.tensor(self.weight, np.int8, (-1, -1, -1, source.channels))
        if weight[0].size > MAX_INT8_FAN_IN:
            raise PlanError(f"more than {MAX_INT8_FAN_IN} inputs an output")
        if weight.min() < -127:
            raise PlanError(f"tensor '{self.weight}' holds -128; int8 weights go from -127 to 127")
        # Compared as Python floats: numpy would compare a float32 with a float in float32.
        in_range = 0 < self.multiplier <= float(np.finfo(np.float32).max)
        if not in_range or float(np.float32(self.multiplier)) != self.multiplier:
            raise PlanError(f"multiplier {self.multiplier} is not a positive float32")
        return self.window(scope.tensors).slide(source, len(weight))

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        weight, window = known[self.weight], self.window(known)
        p = x * np.float32(self.multiplier)
        p = np.where(p > -127, p, np.float32(-127))
        q = np.rint(np.where(p < 127, p, np.float32(127))).astype(np.int32)
        total = np.zeros((), np.int32)
        for ky, kx, tap in window.taps(window.padded(q)):
            total = total + tap @ weight[:, ky, kx].T.astype(np.int32)
        return total.astype(np.float32)

    def fan_in(self, source: Shape, tensors: Mapping[str, Array]) -> int:
        """All inputs at all taps."""
        return int(tensors[self.weight][0].size)

    def window(self, tensors: Mapping[str, Array]) -> Window:
        """The window, with the size of the kernel."""
        _, height, width, _ = tensors[self.weight].shape
        return Window((height, width), self.stride, self.padding)
